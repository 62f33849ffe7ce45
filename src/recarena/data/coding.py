"""Integer coding: raw ids -> the distinct ids in ascending order, and each row's place among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numba import njit

from recarena.contract.arrays import Bools, Ints
from recarena.data.passes import cuts, each
from recarena.data.raw import Ids

_SPAN_PER_ROW = 4  # a table this many times longer than the column still beats a sort
_SPAN_ALWAYS = 1 << 20  # a table this long fits in a processor's cache


def codes(ids: Ids) -> tuple[Ids, Ints]:
    """Return the distinct ids, ascending, and every row's place among them.

    Equal to ``np.unique(ids, return_inverse=True)`` but for the codes' width; integers that span a small range need
    no sort.

    Args:
        ids: (n,) integers, or numpy's fixed-width text.

    Returns:
        (m,) ids of the dtype given; (n,) int32 codes, below m.
    """
    if len(ids) == 0:
        return ids[:0], np.empty(0, np.int32)
    if ids.dtype.kind in "iu":
        low, high = int(ids.min()), int(ids.max())
        if high - low < max(_SPAN_PER_ROW * len(ids), _SPAN_ALWAYS):
            return _by_table(ids, low, high)
    elif ids.dtype.kind == "U":
        return _text(ids)
    unique, code = np.unique(ids, return_inverse=True)
    return unique, code.astype(np.int32)


def n_distinct(ids: Ids) -> int:
    """Return how many different ids there are."""
    if len(ids) and ids.dtype.kind in "iu":
        low, high = int(ids.min()), int(ids.max())
        if high - low < max(_SPAN_PER_ROW * len(ids), _SPAN_ALWAYS):
            return int(np.count_nonzero(_seen(ids, low, high)))
    return pl.Series(ids.tolist() if ids.dtype.kind == "U" else ids).n_unique()


def _by_table(ids: Ids, low: int, high: int) -> tuple[Ids, Ints]:
    present = np.flatnonzero(_seen(ids, low, high))
    number = np.zeros(high - low + 1, dtype=np.int32)
    number[present] = np.arange(len(present), dtype=np.int32)
    code = np.empty(len(ids), dtype=np.int32)
    each(lambda _, part: _encode(ids, low, number, code, *part), cuts(len(ids)))
    return (present + low).astype(ids.dtype), code


def _seen(ids: Ids, low: int, high: int) -> Bools:
    """Mark which of the numbers from low to high occur."""
    seen = np.zeros(high - low + 1, dtype=np.bool_)
    each(lambda _, part: _mark(ids, low, seen, *part), cuts(len(ids)))
    return seen


def _text(ids: Ids) -> tuple[Ids, Ints]:
    # UTF-8 sorts as numpy's text does: by code points
    column = pl.Series(ids.tolist(), dtype=pl.String)
    unique = column.unique().sort()
    code = column.cast(pl.Enum(unique)).to_physical()
    return unique.to_numpy().astype(ids.dtype), code.to_numpy().astype(np.int32)


@njit(cache=True, nogil=True)
def _mark(ids: Any, low: int, seen: Any, start: int, stop: int) -> None:
    for row in range(start, stop):
        seen[ids[row] - low] = True


@njit(cache=True, nogil=True)
def _encode(ids: Any, low: int, number: Any, code: Any, start: int, stop: int) -> None:
    for row in range(start, stop):
        code[row] = number[ids[row] - low]
