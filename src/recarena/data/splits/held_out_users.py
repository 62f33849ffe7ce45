"""Whole users held out, as Liang et al. 2018 do: drawn at random, or by how active they are."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Bools, Ints
from recarena.contract.errors import DataError
from recarena.data.coding import codes
from recarena.data.grouping import rows_by
from recarena.data.raw import Raw
from recarena.data.splits.rows import Held, RowSplit

VALIDATION, TEST = 1, 2  # roles of users; 0 is training


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
    ids, user = codes(raw.user)
    n_users = len(ids)
    if n_validation + n_test >= n_users:
        raise DataError(
            f"split held_out_users: {n_validation} + {n_test} users are to be held out of {n_users}; "
            "lower n_validation or n_test in the benchmark's recipe"
        )
    permuted = np.random.RandomState(seed).permutation(n_users)  # the original's legacy stream
    role = np.zeros(n_users, dtype=np.int8)
    role[permuted[n_users - n_test - n_validation : n_users - n_test]] = VALIDATION
    role[permuted[n_users - n_test :]] = TEST
    return [held_by_role(raw, role[user], target_fraction, seed, "", "held_out_users")]


def activity_shift(raw: Raw, *, n_validation: int, target_fraction: float = 0.2, seed: int = 98765) -> list[RowSplit]:
    """Learn from the users of one half by activity, and list items for those of the other half.

    Users go by their number of rows, ties by raw id; the lighter half has one user less where they cannot be halved.
    ``n_validation`` users of the half that is learnt from, drawn at random, are held out for validation: what a model
    may look at is of the kind it has learnt, what it is asked in the end is not. Rows of held-out users are shown and
    drawn as in ``held_out_users``.

    Returns:
        Two folds: "to-light", learnt from the heavier half, and "to-heavy".

    Raises:
        DataError: no user is left for training, or none to ask about.
    """
    ids, user = codes(raw.user)
    by_activity = np.argsort(np.bincount(user), kind="stable")
    light, heavy = by_activity[: len(ids) // 2], by_activity[len(ids) // 2 :]
    folds = []
    for name, known, other in (("to-light", heavy, light), ("to-heavy", light, heavy)):
        if n_validation >= len(known) or len(other) == 0:
            raise DataError(
                f"split activity_shift: {n_validation} users are to be held out of a half of {len(known)}; "
                "lower n_validation in the benchmark's recipe"
            )
        role = np.zeros(len(ids), dtype=np.int8)
        role[np.random.RandomState(seed).permutation(np.sort(known))[-n_validation:]] = VALIDATION
        role[other] = TEST
        folds.append(held_by_role(raw, role[user], target_fraction, seed, name, "activity_shift"))
    return folds


def held_by_role(raw: Raw, row_role: Ints, target_fraction: float, seed: int, name: str, split: str) -> RowSplit:
    """Hold out the users whose rows, (n,), say 1 for validation or 2 for the test; show part of their rows."""
    ids, user = codes(raw.user)
    n_users = len(ids)
    train = np.flatnonzero(row_role == 0)
    item_ids, item = codes(raw.item)
    known = np.zeros(len(item_ids), dtype=bool)
    known[item[train]] = True

    held: dict[int, Held] = {}
    without: list[Ints] = []
    unknown: list[Ints] = []
    for part in (1, 2):
        rows = np.flatnonzero(row_role == part)
        in_vocabulary = known[item[rows]]
        unknown.append(rows[~in_vocabulary])
        rows = rows[in_vocabulary]
        is_target = _draw_targets(user[rows], target_fraction, seed)
        asked = np.zeros(n_users, dtype=bool)
        asked[user[rows[is_target]]] = True
        if not asked.any():
            raise DataError(
                f"split {split}: none of the {'validation' if part == 1 else 'test'} users has five rows with "
                "items of the training users; hold out more users, or use a larger dataset"
            )
        without.append(rows[~asked[user[rows]]])
        held[part] = Held(rows[is_target], rows[~is_target & asked[user[rows]]], known_users=False)
    dropped = {
        "rows of held-out users with items no training user has": np.sort(np.concatenate(unknown)),
        "rows of held-out users with fewer than five rows, so no target": np.sort(np.concatenate(without)),
    }
    return RowSplit(name, train, held[1], held[2], dropped)


def _draw_targets(user: Ints, fraction: float, seed: int) -> Bools:
    """Mark each user's targets, (n,) bool; users in ascending id, rows in file order, as the original visits them."""
    is_target = np.zeros(len(user), dtype=bool)
    stream = np.random.RandomState(seed)  # the original's legacy stream
    by_user = rows_by(user)
    start = 0
    for stop in np.cumsum(np.bincount(user)).tolist():  # one draw per held-out user: a loop
        n = stop - start
        if n >= 5:  # what choice(n, size, replace=False) draws
            is_target[by_user[start + stream.permutation(n)[: int(fraction * n)]]] = True
        start = stop
    return is_target
