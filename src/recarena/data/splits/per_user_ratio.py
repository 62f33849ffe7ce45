"""Rows at random, each user's apart or all together, drawn as RecBole draws them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.grouping import groups
from recarena.data.passes import count, rows_of_parts
from recarena.data.raw import Raw
from recarena.data.splits.rows import Held, RowSplit

LARGEST = (2**32 - 1) // 20  # from here on torch draws its permutations in another way
_BLOCK = 1 << 20
_AHEAD = 64  # rows whose users are looked up before the first is dealt


def per_user_ratio(raw: Raw, *, ratios: Sequence[float], seed: int) -> list[RowSplit]:
    """Cut each user's rows at random into train, validation and test, row for row as RecBole 1.2.1 does.

    RecBole (``order: RO``, ``split: RS``, ``group_by: user``) shuffles the filtered rows by ``torch.randperm`` after
    seeding torch, and gives each user's first rows in that order to the training, the next to the validation, the rest
    to the test; ``ratio_counts`` says how many.

    At the test a model is given the training rows only, as RecBole's models are; the benchmark's ``exclude`` says
    whether the validation items may be listed.

    Raises:
        DataError: more rows than torch draws in this way.
    """
    if len(raw) >= LARGEST:
        raise DataError(f"split per_user_ratio: {len(raw):,} rows; RecBole's draw is known for less than {LARGEST:,}")
    return _dealt(groups(raw.user), ratios, seed)


def row_ratio(raw: Raw, *, ratios: Sequence[float], seed: int) -> list[RowSplit]:
    """Cut all rows at random into train, validation and test, row for row as RecBole 1.2.1 does with no ``group_by``.

    Raises:
        DataError: more rows than torch draws in this way.
    """
    if len(raw) >= LARGEST:
        raise DataError(f"split row_ratio: {len(raw):,} rows; RecBole's draw is known for less than {LARGEST:,}")
    return _dealt(np.zeros(len(raw), dtype=np.int32), ratios, seed)


def _dealt(user: Ints, ratios: Sequence[float], seed: int) -> list[RowSplit]:
    """Deal the rows, each with its user (n,), in one random order; every user's first rows go to the training."""
    sizes, size = np.unique(count(user, int(user.max()) + 1), return_inverse=True)
    wanted = np.array([ratio_counts(int(n), ratios)[:2] for n in sizes], dtype=np.int32)
    left = wanted[size]  # (n_users, 2) rows that training and validation still want of each user

    # torch's generator is the Mersenne twister with the legacy seeding; a full range gives its words as they come
    words = np.random.RandomState(seed)
    waiting = np.arange(len(user), dtype=np.int32)
    part = np.empty(len(user), dtype=np.int8)
    with ThreadPoolExecutor(1) as dealer:  # deals the rows of one block while the next is drawn
        dealt = []
        for start in range(0, len(user), _BLOCK):
            drawn = words.randint(0, 2**32, size=min(_BLOCK, len(user) - start), dtype=np.uint32)
            _draw(waiting, drawn, start)
            dealt.append(dealer.submit(_deal, waiting[start : start + len(drawn)], user, left, part))
        for block in dealt:
            block.result()
    del waiting
    train, validation, test = rows_of_parts(part, 3)
    return [RowSplit("", train, Held(validation, train), Held(test, train))]


@njit(cache=True, nogil=True)
def _draw(waiting: Any, drawn: Any, start: int) -> None:
    """Go on with the permutation from its place ``start``.

    Place i of ``torch.randperm`` is drawn among the rows still waiting, by one word of the generator modulo their
    number.
    """
    n = waiting.size
    for i in range(start, start + drawn.size):
        other = i + np.int64(drawn[i - start] % np.uint32(n - i))
        row = waiting[other]
        waiting[other] = waiting[i]
        waiting[i] = row


@njit(cache=True, nogil=True)
def _deal(rows: Any, user: Any, left: Any, part: Any) -> None:
    """Put the rows, in their order, into parts: 0 while the user's training wants rows, then 1, then 2."""
    some = np.empty(_AHEAD, np.int64)
    for start in range(0, rows.size, _AHEAD):
        n = min(_AHEAD, rows.size - start)
        for i in range(n):  # users ahead of their use: the processor waits for many of them at once
            some[i] = user[rows[start + i]]
        for i in range(n):
            u = some[i]
            train = left[u, 0] > 0
            validation = (left[u, 1] > 0) & (not train)
            part[rows[start + i]] = 2 - 2 * train - validation
            left[u, 0] -= train
            left[u, 1] -= validation


def ratio_counts(n: int, ratios: Sequence[float]) -> list[int]:
    """Return how many of a user's n rows go to each part, by RecBole 1.2.1's rule.

    Every part but the first is rounded down; then, from the last part on, a part that should have got a fraction
    of a row takes one whole row from the first, as long as the first keeps at least one.
    """
    shares = [ratio / sum(ratios) for ratio in ratios]
    counts = [int(share * n) for share in shares]
    counts[0] = n - sum(counts[1:])
    for part in range(len(shares) - 1, 0, -1):
        if counts[0] <= 1:
            break
        if 0 < shares[part] * n < 1:
            counts[part] += 1
            counts[0] -= 1
    return counts
