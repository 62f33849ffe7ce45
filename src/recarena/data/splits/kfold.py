"""Shuffled folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recarena.contract.arrays import Bools, Ints
from recarena.data.raw import Raw
from recarena.data.splits.rows import NOTHING, Held, RowSplit


def kfold(raw: Raw, *, n_folds: int, seed: int, folds: Sequence[int]) -> list[RowSplit]:
    """Shuffle the rows and cut them into folds, row for row as ``KFold(n_folds, shuffle=True)`` does.

    That is scikit-learn's KFold and Surprise's, which draw alike.

    Args:
        raw: the rows.
        n_folds: how many folds the rows are cut into; the first ``len(raw) % n_folds`` have one row more.
        seed: their ``random_state``.
        folds: which folds to play, numbered from 0.
    """
    shuffled = np.arange(len(raw), dtype=np.int64)
    np.random.RandomState(seed).shuffle(shuffled)  # the published folds come from the legacy stream
    blocks = np.array_split(shuffled, n_folds)
    splits = []
    for fold in folds:
        test = np.zeros(len(raw), dtype=bool)
        test[blocks[fold]] = True
        name, (train, target) = f"fold-{fold}", (_rows(~test), _rows(test))
        splits.append(RowSplit(name, train, None, Held(target, NOTHING)))
    return splits


def _rows(marked: Bools) -> Ints:
    """The rows that are marked; half as wide as numpy would have them, since all folds are held at once."""
    return np.flatnonzero(marked).astype(np.int32 if len(marked) < 1 << 31 else np.int64)
