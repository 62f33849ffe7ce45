"""Splits: which rows are for learning, which are asked about. Row numbers in, row numbers out; no id is renumbered.

``docs/splits.md`` draws each of them on six users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.raw import Raw


@dataclass(frozen=True, eq=False)
class Held:
    """What is asked, as row numbers into the raw rows.

    Attributes:
        target: the rows to guess; where items are ranked, one query per user that occurs in them.
        history: the rows that are known of those users when they are asked; unused where ratings are guessed.
        known_users: whether the users are among the training users.
    """

    target: Ints
    history: Ints
    known_users: bool = True


@dataclass(frozen=True, eq=False)
class RowSplit:
    """One fold: every row is in ``train``, in a ``Held`` as history or target, or in ``dropped`` with the reason."""

    name: str
    train: Ints
    validation: Held | None
    test: Held
    dropped: Mapping[str, Ints] = field(default_factory=dict)


NOTHING: Ints = np.empty(0, dtype=np.int64)


def official_folds(raw: Raw, *, n_folds: int = 5) -> list[RowSplit]:
    """Cut the file into consecutive blocks: fold k's test rows are the k-th block (MovieLens 100K's u1 to u5).

    Raises:
        DataError: the rows do not divide into ``n_folds`` equal blocks.
    """
    if len(raw) % n_folds:
        raise DataError(
            f"split official_folds: {len(raw):,} rows do not divide into {n_folds} equal blocks; "
            "this split is defined for the unfiltered official file"
        )
    rows = np.arange(len(raw), dtype=np.int64)
    blocks = np.split(rows, n_folds)
    return [
        RowSplit(f"u{k}", np.concatenate(blocks[: k - 1] + blocks[k:]), None, Held(blocks[k - 1], NOTHING))
        for k in range(1, n_folds + 1)
    ]


def kfold(raw: Raw, *, n_folds: int, seed: int, folds: Sequence[int]) -> list[RowSplit]:
    """Shuffle the rows and cut them into folds, row for row as scikit-learn's ``KFold(n_folds, shuffle=True)`` does.

    Args:
        raw: the rows.
        n_folds: how many folds the rows are cut into; the first ``len(raw) % n_folds`` have one row more.
        seed: scikit-learn's ``random_state``.
        folds: which folds to play, numbered from 0.
    """
    shuffled = np.arange(len(raw), dtype=np.int64)
    np.random.RandomState(seed).shuffle(shuffled)  # the published folds come from the legacy stream
    blocks = np.array_split(shuffled, n_folds)
    splits = []
    for fold in folds:
        test = np.zeros(len(raw), dtype=bool)
        test[blocks[fold]] = True
        name = f"fold-{fold}"
        splits.append(RowSplit(name, np.flatnonzero(~test), None, Held(np.flatnonzero(test), NOTHING)))
    return splits


def per_user_ratio(raw: Raw, *, ratios: Sequence[float], seed: int) -> list[RowSplit]:
    """Cut each user's rows at random into train, validation and test; the counts are RecBole's (``ratio_counts``).

    At the test a model is given the training rows only, as RecBole's models are; the benchmark's ``exclude`` says
    whether the validation items may be listed.
    """
    counts = np.unique(raw.user, return_inverse=True)[1]
    n_rows = np.bincount(counts)
    # The key of a row depends on its place in the file alone, never on its item.
    key = np.random.default_rng(seed).random(len(raw))
    rank = _rank_within(counts, key)
    size = np.zeros((n_rows.max() + 1, 3), dtype=np.int64)
    for n in np.unique(n_rows):
        size[n] = ratio_counts(int(n), ratios)
    n_train, n_validation, _ = size[n_rows[counts]].T
    train = np.flatnonzero(rank < n_train)
    validation = np.flatnonzero((rank >= n_train) & (rank < n_train + n_validation))
    test = np.flatnonzero(rank >= n_train + n_validation)
    return [RowSplit("", train, Held(validation, train), Held(test, train))]


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


def leave_last_out(raw: Raw) -> list[RowSplit]:
    """Hold out each user's last row for the test and the one before for validation.

    The history at the test is everything before, the validation row included. Users with fewer than three rows are all
    training and are not asked about.

    Raises:
        DataError: a row has no known place in its user's order.
    """
    user = np.unique(raw.user, return_inverse=True)[1]
    rank = _rank_within(user, raw.places())
    n_rows = np.bincount(user)[user]
    from_end = np.where(n_rows >= 3, n_rows - rank, n_rows + 3)  # 1 = the user's last row
    test, validation = np.flatnonzero(from_end == 1), np.flatnonzero(from_end == 2)
    train = np.flatnonzero(from_end > 2)
    return [RowSplit("", train, Held(validation, train), Held(test, np.flatnonzero(from_end > 1)))]


def held_out_users(
    raw: Raw, *, n_validation: int, n_test: int, target_fraction: float = 0.2, seed: int = 98765
) -> list[RowSplit]:
    """Hold out whole users and show part of their rows (Liang et al. 2018, draw for draw).

    Users in ascending raw id are permuted; the last ``n_test`` are the test users, the ``n_validation`` before them
    the validation users. Items are those of the training users; held-out rows with other items are dropped. Of each
    held-out user with at least five rows left, ``int(target_fraction * n)`` rows drawn without replacement are targets;
    the stream starts again from the seed for the validation and for the test. Users without a target are dropped: the
    original's mean would be NaN.

    Raises:
        DataError: no user is left for training, or none to ask about.
    """
    ids, user = np.unique(raw.user, return_inverse=True)
    n_users = len(ids)
    if n_validation + n_test >= n_users:
        raise DataError(
            f"split held_out_users: {n_validation} + {n_test} users are to be held out of {n_users}; "
            "lower n_validation or n_test in the benchmark's recipe"
        )
    permuted = np.random.RandomState(seed).permutation(n_users)  # the original's legacy stream
    role = np.zeros(n_users, dtype=np.int8)  # 0 train, 1 validation, 2 test
    role[permuted[n_users - n_test - n_validation : n_users - n_test]] = 1
    role[permuted[n_users - n_test :]] = 2
    train = np.flatnonzero(role[user] == 0)
    item = np.unique(raw.item, return_inverse=True)[1]
    known = np.zeros(item.max() + 1, dtype=bool)
    known[item[train]] = True

    held: dict[int, Held] = {}
    without: list[Ints] = []
    for part in (1, 2):
        rows = np.flatnonzero((role[user] == part) & known[item])
        is_target = _draw_targets(user[rows], target_fraction, seed)
        asked = np.zeros(n_users, dtype=bool)
        asked[user[rows[is_target]]] = True
        if not asked.any():
            raise DataError(
                f"split held_out_users: none of the {'validation' if part == 1 else 'test'} users has five rows with "
                "items of the training users; hold out more users, or use a larger dataset"
            )
        without.append(rows[~asked[user[rows]]])
        held[part] = Held(rows[is_target], rows[~is_target & asked[user[rows]]], known_users=False)
    dropped = {
        "rows of held-out users with items no training user has": np.flatnonzero((role[user] > 0) & ~known[item]),
        "rows of held-out users with fewer than five rows, so no target": np.sort(np.concatenate(without)),
    }
    return [RowSplit("", train, held[1], held[2], dropped)]


def _draw_targets(user: Ints, fraction: float, seed: int) -> Ints:
    """Mark each user's targets, (n,) bool; users in ascending id, rows in file order, as the original visits them."""
    stream = np.random.RandomState(seed)  # the original's legacy stream
    by_user = np.argsort(user, kind="stable")
    is_target = np.zeros(len(user), dtype=bool)
    for rows in np.split(by_user, np.flatnonzero(np.diff(user[by_user])) + 1):  # one draw per held-out user: a loop
        if len(rows) >= 5:
            is_target[rows[stream.choice(len(rows), size=int(fraction * len(rows)), replace=False)]] = True
    return is_target


def _rank_within(group: Ints, key: Any) -> Ints:
    """Return each row's place, from 0, among the rows of its group by ascending key; ties keep the row order."""
    order = np.lexsort((key, group))
    starts = np.cumsum(np.bincount(group)) - np.bincount(group)
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - starts[group[order]]
    return rank


def draw(raw: Raw, split: RowSplit) -> str:
    """Draw a split: one line per user, one mark per row, oldest first where there is an order.

    ``T`` train, ``h`` shown history of a held-out user, ``v`` validation target, ``t`` test target, ``.`` dropped.
    """
    marks = np.full(len(raw), ".", dtype="<U1")
    for held, mark in ((split.validation, "v"), (split.test, "t")):
        if held is not None:
            marks[held.target] = mark
            if not held.known_users:
                marks[held.history] = "h"
    marks[split.train] = "T"
    ids, user = np.unique(raw.user, return_inverse=True)
    key = raw.places() if raw.time is not None or raw.order is not None else np.arange(len(raw))
    width = max(len(str(i)) for i in ids)
    lines = []
    for code, name in enumerate(ids):
        rows = np.flatnonzero(user == code)
        ordered = rows[np.argsort(key[rows], kind="stable")]
        lines.append(f"u{name!s:<{width}}  {' '.join(marks[ordered])}")
    return "\n".join(lines)


SPLITS: Mapping[str, Callable[..., list[RowSplit]]] = {
    "official_folds": official_folds,
    "kfold": kfold,
    "per_user_ratio": per_user_ratio,
    "leave_last_out": leave_last_out,
    "held_out_users": held_out_users,
}
