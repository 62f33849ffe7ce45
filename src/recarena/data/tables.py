"""Rows in codes: raw ids turned into small integers once, before any filter, split or fold looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recarena.contract.arrays import Ints, Ragged
from recarena.data import filters
from recarena.data.coding import codes
from recarena.data.raw import Candidates, Ids, Raw
from recarena.data.recipes import KeepFrequent, KeepRows, Label


@dataclass(frozen=True, eq=False)
class Table:
    """Filtered rows whose ids are codes.

    Attributes:
        rows: user and item (n,) int32, each the place of the raw id among all raw ids, ascending; every code occurs in
            the rows or in the candidates. Splits do to these what they would do to the raw ids.
        user_ids: (n_users,) raw ids, ascending.
        item_ids: (n_items,) raw ids, ascending.
    """

    rows: Raw
    user_ids: Ids
    item_ids: Ids


def table(
    raw: Raw, steps: Sequence[KeepRows | KeepFrequent], label: Label | None
) -> tuple[Table, Ints | None, dict[str, int]]:
    """Code, filter and label the rows.

    Args:
        raw: the rows in the file's order.
        steps: the filters, in the recipe's order.
        label: turns values into 1 and 0 after the filters.

    Returns:
        The table, the row numbers kept (None: all, there is no filter), and how many rows each filter dropped.

    Raises:
        DataError: a filter leaves no row.
    """
    coded = _coded(raw)
    rows: Ints | None = None
    dropped: dict[str, int] = {}
    if steps:
        rows, dropped = filters.keep(coded.rows, steps)
    if rows is not None and len(rows) < len(raw):
        left = _coded(coded.rows.take(rows))
        coded = Table(left.rows, coded.user_ids[left.user_ids], coded.item_ids[left.item_ids])
    if label is not None and coded.rows.value is not None:
        reached = np.greater_equal(coded.rows.value, label.value_at_least)
        coded = replace(coded, rows=replace(coded.rows, value=reached.astype(np.float32)))
    return coded, rows, dropped


def _coded(raw: Raw) -> Table:
    frozen = raw.candidates
    if frozen is None:
        (user_ids, user), (item_ids, item) = codes(raw.user), codes(raw.item)
        return Table(replace(raw, user=user, item=item), user_ids, item_ids)
    user_ids, user, asked = _together(raw.user, frozen.user)
    item_ids, item, listed = _together(raw.item, frozen.item.values)
    candidates = Candidates(asked, Ragged(frozen.item.offsets, listed))
    return Table(replace(raw, user=user, item=item, candidates=candidates), user_ids, item_ids)


def _together(one: Ids, other: Ids) -> tuple[Ids, Any, Any]:
    """Code two columns of the same ids."""
    ids, code = codes(np.concatenate([one, other]))
    return ids, code[: len(one)], code[len(one) :]
