"""Filters: which raw rows a benchmark keeps, step by step in the recipe's order. Nothing here looks at a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recarena.contract.arrays import Bools, Floats, Ints
from recarena.contract.errors import DataError
from recarena.data.grouping import groups
from recarena.data.raw import Raw
from recarena.data.recipes import KeepFrequent, KeepRows


def keep(raw: Raw, steps: Sequence[KeepRows | KeepFrequent]) -> tuple[Ints, dict[str, int]]:
    """Apply the steps one after the other.

    Returns:
        The rows kept, ascending, and how many rows each step dropped, by a sentence that says why.

    Raises:
        DataError: no row is left, or a step asks for values that the rows do not have.
    """
    alive = np.ones(len(raw), dtype=bool)
    n_alive = len(raw)
    dropped: dict[str, int] = {}
    coded: dict[str, Ints] = {}
    for step in steps:
        if isinstance(step, KeepRows):
            if raw.value is None:
                raise DataError(
                    "a filter looks at the rows' values, but this dataset's source gives none; take that filter out"
                )
            good, why = _by_value(raw.value, step)
            alive &= good
        else:
            for axis in step.keep.split(" and "):
                if axis not in coded:
                    coded[axis] = groups(raw.user if axis == "users" else raw.item)
            alive, why = _by_count([coded[axis] for axis in step.keep.split(" and ")], alive, step)
        before, n_alive = n_alive, int(np.count_nonzero(alive))
        dropped[why] = dropped.get(why, 0) + before - n_alive
        if n_alive == 0:
            raise DataError(f"the filter '{why}' leaves no row at all; lower its threshold in the benchmark's recipe")
    return np.flatnonzero(alive), dropped


def _by_value(value: Floats, step: KeepRows) -> tuple[Bools, str]:
    if step.value_at_least is not None:
        return value >= step.value_at_least, f"value below {step.value_at_least:g}"
    if step.value_above is not None:
        return value > step.value_above, f"value not above {step.value_above:g}"
    assert step.value_not is not None  # noqa: S101 - the recipe's validator says one of the three is given
    return value != step.value_not, f"value equal to {step.value_not:g}"


def _by_count(axes: Sequence[Ints], alive: Bools, step: KeepFrequent) -> tuple[Bools, str]:
    """Mark the rows, (n,), whose users, items or both have enough rows among those alive."""
    alive = alive.copy()
    everything = alive.all()
    counts = [np.bincount(axis if everything else axis[alive], minlength=int(axis.max()) + 1) for axis in axes]
    while True:
        falls = np.zeros(len(alive), dtype=bool)
        for axis, count in zip(axes, counts, strict=True):
            rare = count < step.rows_at_least
            if rare.any():
                falls |= rare[axis]
        falls &= alive
        rows = np.flatnonzero(falls)
        alive[rows] = False
        if not step.repeat or len(rows) == 0:
            often = ", repeated" if step.repeat else ""
            return alive, f"{step.keep} with fewer than {step.rows_at_least} rows{often}"
        for axis, count in zip(axes, counts, strict=True):  # only what fell is counted again
            np.subtract(count, np.bincount(axis[rows], minlength=len(count)), out=count)
