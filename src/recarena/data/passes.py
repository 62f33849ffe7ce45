"""Passes over columns as long as the data: compiled loops, each over a part of the rows, one thread a part.

Nothing here makes a temporary column: memory that a process touches for the first time costs more than the work on it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numba import njit

from recarena.contract.arrays import Ints

Cut = tuple[int, int]  # a part's first row, and the row after its last
Result = TypeVar("Result")

_ALONE = 1 << 17
_MOST = 8  # threads: more wait for memory, and each has tables of its own


def cuts(n: int, alone: int = _ALONE) -> list[Cut]:
    """Cut n rows into equal parts, one for each thread worth having: one that gets ``alone`` rows or more."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    n_parts = max(1, min(cores, _MOST, n // alone))
    return [(n * part // n_parts, n * (part + 1) // n_parts) for part in range(n_parts)]


def group_cuts(stops: Ints) -> list[Cut]:
    """Cut groups, whose rows end at ``stops``, into parts of about as many rows each."""
    n = int(stops[-1]) if len(stops) else 0
    inner = [int(np.searchsorted(stops, stop)) for _, stop in cuts(n)[:-1]]
    edges = [0, *inner, len(stops)]
    return list(itertools.pairwise(edges))


def each(work: Callable[[int, Cut], Result], parts: Sequence[Cut]) -> list[Result]:
    """Call ``work(number, part)`` for every part, at once; the loops it calls must let go of the interpreter's lock."""
    if len(parts) == 1:
        return [work(0, parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, range(len(parts)), parts))


def count(codes: Any, n_codes: int) -> Any:
    """Return how often each code occurs, (n_codes,) int64; ``np.bincount`` would widen the codes first."""
    parts = cuts(len(codes)) if n_codes < len(codes) else [(0, len(codes))]
    found = np.zeros((len(parts), n_codes), np.int64)
    each(lambda number, part: _count(codes, found[number], *part), parts)
    return found.sum(axis=0) if len(parts) > 1 else found[0]


def mark(bits: Ints, rows: Ints, bit: int) -> None:
    """Set a bit of some rows, in place; no row twice."""
    each(lambda _, part: _mark(bits, rows, np.int8(bit), *part), cuts(len(rows)))


def rows_of_parts(part: Any, n_parts: int) -> list[Any]:
    """Return the rows of each part, ascending, int32 where that is enough.

    Args:
        part: (n,) int8 below ``n_parts``.
        n_parts: how many there are.
    """
    length = count(part, n_parts)
    stops = np.cumsum(length)
    rows = np.empty(len(part), np.int32 if len(part) < 1 << 31 else np.int64)
    _rows_of_parts(part, stops - length, rows)
    return [rows[stop - n : stop] for stop, n in zip(stops, length, strict=True)]


@njit(cache=True, nogil=True)
def _count(codes: Any, found: Any, start: int, stop: int) -> None:
    for row in range(start, stop):
        found[codes[row]] += 1


@njit(cache=True, nogil=True)
def _mark(bits: Any, rows: Any, bit: Any, start: int, stop: int) -> None:
    for n in range(start, stop):
        bits[rows[n]] |= bit


@njit(cache=True, nogil=True)
def _rows_of_parts(part: Any, place: Any, rows: Any) -> None:
    for row in range(part.size):
        p = part[row]
        rows[place[p]] = row
        place[p] += 1
