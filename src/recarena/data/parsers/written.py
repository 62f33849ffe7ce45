"""Rows written in a recipe itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.data.parsers.tables import checked
from recarena.data.raw import Candidates, Raw


def inline(
    rows: Sequence[Sequence[Any]],
    where: str,
    test: Sequence[tuple[int, int]] = (),
    candidates: Sequence[tuple[int, ...]] = (),
) -> Raw:
    """Rows written in the recipe itself: [user, item, value, time]; test rows and frozen candidates by user."""
    for number, row in enumerate(rows, start=1):
        if len(row) != 4 or not all(isinstance(cell, int | float) for cell in row):
            raise DataError(
                f"{where}: row {number} is {list(row)}; expected four numbers, [user, item, value, time]; mend the row"
            )
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    user, item, time = (table[:, c].astype(np.int64) for c in (0, 1, 3))
    raw = checked(Raw(user, item, table[:, 2].astype(np.float32), time=time), where, first_line=1)
    if test:
        held = np.array([(u, i) in set(test) for u, i in zip(user.tolist(), item.tolist(), strict=True)])
        if held.sum() != len(set(test)):
            raise DataError(f"{where}: a test row is not among the rows; mend `test`")
        raw = replace(raw, part=np.where(held, 2, 0).astype(np.int8))
    if candidates:
        frozen = Ragged.from_lists([line[1:] for line in candidates])
        raw = replace(raw, candidates=Candidates(np.array([line[0] for line in candidates]), frozen))
    return raw
