"""Filters: which raw rows a benchmark keeps, step by step in the recipe's order. Nothing here looks at a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recarena.contract.arrays import Bools, Ints
from recarena.contract.errors import DataError
from recarena.data.raw import Raw
from recarena.data.recipes import KeepFrequent, KeepRows


def keep(raw: Raw, steps: Sequence[KeepRows | KeepFrequent]) -> tuple[Ints, dict[str, int]]:
    """Apply the steps one after the other.

    Returns:
        The rows kept, ascending, and how many rows each step dropped, by a sentence that says why.

    Raises:
        DataError: no row is left.
    """
    rows: Ints = np.arange(len(raw), dtype=np.int64)
    dropped: dict[str, int] = {}
    user = np.unique(raw.user, return_inverse=True)[1]
    item = np.unique(raw.item, return_inverse=True)[1]
    for step in steps:
        if isinstance(step, KeepRows):
            good, why = _by_value(raw, rows, step)
            left = rows[good]
        else:
            left, why = _by_count(user, item, rows, step)
        dropped[why] = dropped.get(why, 0) + len(rows) - len(left)
        rows = left
        if len(rows) == 0:
            raise DataError(f"the filter '{why}' leaves no row at all; lower its threshold in the benchmark's recipe")
    return rows, dropped


def _by_value(raw: Raw, rows: Ints, step: KeepRows) -> tuple[Bools, str]:
    value = raw.value[rows]
    if step.value_at_least is not None:
        return value >= step.value_at_least, f"value below {step.value_at_least:g}"
    assert step.value_above is not None  # noqa: S101 - the recipe's validator says one of the two is given
    return value > step.value_above, f"value not above {step.value_above:g}"


def _by_count(user: Ints, item: Ints, rows: Ints, step: KeepFrequent) -> tuple[Ints, str]:
    axes = [axis for axis, name in ((user, "users"), (item, "items")) if name in step.keep.split(" and ")]
    while True:
        good = np.ones(len(rows), dtype=bool)
        for axis in axes:
            good &= np.bincount(axis[rows])[axis[rows]] >= step.rows_at_least
        rows = rows[good]
        if not step.repeat or good.all() or len(rows) == 0:
            often = ", repeated" if step.repeat else ""
            return rows, f"{step.keep} with fewer than {step.rows_at_least} rows{often}"
