"""Splits as drawings for people."""

from __future__ import annotations

import numpy as np

from recarena.data.raw import Raw
from recarena.data.splits.rows import RowSplit


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
