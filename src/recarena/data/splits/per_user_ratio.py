"""Rows at random, each user's apart or all together, drawn as RecBole draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.grouping import groups
from recarena.data.raw import Raw
from recarena.data.splits.rows import Held, RowSplit

LARGEST = (2**32 - 1) // 20  # from here on torch draws its permutations in another way
_BLOCK = 1 << 20


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
    n_rows = np.bincount(user)
    size = np.zeros((n_rows.max() + 1, 3), dtype=np.int64)
    for n in np.flatnonzero(np.bincount(n_rows)):
        size[n] = ratio_counts(int(n), ratios)
    ends = np.cumsum(size[n_rows], axis=1)  # (n_users, 3)

    # torch's generator is the Mersenne twister with the legacy seeding; a full range gives its words as they come
    words = np.random.RandomState(seed)
    waiting = np.arange(len(user), dtype=np.int32)
    part = np.empty(len(user), dtype=np.int8)
    placed = np.zeros(len(n_rows), dtype=np.int64)
    for start in range(0, len(user), _BLOCK):
        drawn = words.randint(0, 2**32, size=min(_BLOCK, len(user) - start), dtype=np.uint32)
        _place(waiting, drawn, start, user, ends, placed, part)
    train, validation, test = (np.flatnonzero(part == p) for p in range(3))
    return [RowSplit("", train, Held(validation, train), Held(test, train))]


@njit(cache=True)
def _place(waiting: Any, drawn: Any, start: int, user: Any, ends: Any, placed: Any, part: Any) -> None:
    """Go on with the permutation from its place ``start``, and put each row that comes out into a part.

    Place i of ``torch.randperm`` is drawn among the rows still waiting, by one word of the generator modulo their
    number.
    """
    n = len(waiting)
    for i in range(start, start + len(drawn)):
        other = i + int(drawn[i - start]) % (n - i)
        row = waiting[other]
        waiting[other] = waiting[i]
        u = user[row]
        part[row] = (placed[u] >= ends[u, 0]) + (placed[u] >= ends[u, 1])
        placed[u] += 1


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
