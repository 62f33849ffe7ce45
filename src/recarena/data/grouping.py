"""Grouping rows by small integers: counting sorts, which look at every row twice and compare none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from recarena.contract.arrays import Ints
from recarena.data.coding import codes
from recarena.data.passes import count
from recarena.data.raw import Ids


def groups(ids: Ids) -> Ints:
    """Return a small integer for every row, equal where the ids are and ascending as they do; some may be unused.

    Ids that are such integers already come back as they are.
    """
    if ids.dtype.kind == "i" and len(ids) and ids.min() >= 0 and ids.max() < max(len(ids), 1 << 16):
        return ids
    return codes(ids)[1]


def places(counts: Ints) -> tuple[Ints, Ints]:
    """Return where rows go that are put by group, the rows of the first part before those of the next.

    Args:
        counts: (parts, n_groups) how many rows of each part are in each group.

    Returns:
        (parts, n_groups) int64 place of each part's first row in each group; (n_groups,) where each group's rows end.
    """
    ends = np.cumsum(counts.T).reshape(counts.shape[::-1]).T
    return np.ascontiguousarray(ends - counts), np.ascontiguousarray(ends[-1])


def rows_by(group: Ints) -> Ints:
    """Return the row numbers, (n,) int64, by ascending group; ties keep the row order.

    Equal to ``np.argsort(group, kind="stable")``.

    Args:
        group: (n,) integers from 0, such as codes: memory goes with the largest.
    """
    rows = np.empty(len(group), dtype=np.int64)
    if len(group):
        place, _ = places(count(group, int(group.max()) + 1)[None])
        _put(group, place[0], rows)
    return rows


@njit(cache=True, nogil=True)
def _put(group: Any, place: Any, rows: Any) -> None:
    for row in range(group.size):
        rows[place[group[row]]] = row
        place[group[row]] += 1
