"""Rows written in a recipe itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.data.parsers.tables import checked, float32
from recarena.data.raw import Candidates, Raw


def inline(
    rows: Sequence[Sequence[Any]],
    where: str,
    test: Sequence[tuple[int, int]] = (),
    candidates: Sequence[tuple[int, ...]] = (),
) -> Raw:
    """Rows written in the recipe itself: [user, item, value, time]; test rows and frozen candidates by user."""
    for number, row in enumerate(rows, start=1):
        whole = len(row) == 4 and all(type(row[place]) is int for place in (0, 1, 3))
        if not whole or type(row[2]) not in (int, float):
            raise DataError(
                f"{where}: row {number} is {list(row)}; expected four numbers, [user, item, value, time], all but the "
                "value whole; mend the row"
            )
    user, item, time = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 1, 3))
    value = float32(np.array([row[2] for row in rows], dtype=np.float64))
    raw = checked(Raw(user, item, value, time=time), where, first_line=1, unit="row")
    if test:
        wanted = set(test)
        held = np.array([pair in wanted for pair in zip(user.tolist(), item.tolist(), strict=True)])
        if held.sum() != len(wanted):
            raise DataError(f"{where}: a test row is not among the rows; mend `test`")
        raw = replace(raw, part=np.where(held, 2, 0).astype(np.int8))
    if candidates:
        frozen = Ragged.from_lists([line[1:] for line in candidates])
        raw = replace(raw, candidates=Candidates(np.array([line[0] for line in candidates]), frozen))
    return raw
