"""Raw interactions: what a file says, in the file's own ids and the file's own row order.

Row order is kept because the authors' splits depend on it. Nothing here renumbers, filters or splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recarena.contract.arrays import Floats, Ints, Ragged
from recarena.contract.errors import DataError
from recarena.data.sides import Ids, Side

__all__ = ["PARTS", "Candidates", "Ids", "Raw", "Side"]

PARTS = ("train", "validation", "test")  # the values of Raw.part


@dataclass(frozen=True, eq=False)
class Candidates:
    """Items that the authors froze for some users: the only ones that may be listed beside the target.

    Attributes:
        user: (q,) raw ids.
        item: q rows of raw ids, as the file has them; a row may repeat an item, or name the target.
    """

    user: Ids
    item: Ragged


@dataclass(frozen=True, eq=False)
class Raw:
    """Interactions as the raw file has them, one row per (user, item) pair, in the file's order.

    Attributes:
        user: (n,) raw ids, int32, int64 or text.
        item: (n,) raw ids, int32, int64 or text.
        value: (n,) float32 ratings, or None where the source says only what happened.
        time: (n,) int64 seconds since 1970 (UTC), or None where the source does not give every row's time.
        order: (n,) int64 place in the user's chronological order, -1 where unknown; only from a source that gives
            the order instead of the times.
        part: (n,) int8 places in ``PARTS``, where the source comes divided by its authors; else None.
        candidates: frozen candidates, where the source has them; else None.
        titles: raw item id -> title, for people to read; no model sees it here.
        users: facts about users, where the source has them; else None.
        items: facts about items, likewise.
    """

    user: Ids
    item: Ids
    value: Floats | None = None
    time: Ints | None = None
    order: Ints | None = None
    part: Ints | None = None
    candidates: Candidates | None = None
    titles: Mapping[Any, str] = field(default_factory=dict)
    users: Side | None = None
    items: Side | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints) -> Raw:
        """Return the named rows, in the order given."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            value=None if self.value is None else self.value[rows],
            time=None if self.time is None else self.time[rows],
            order=None if self.order is None else self.order[rows],
            part=None if self.part is None else self.part[rows],
        )

    def places(self) -> Ints:
        """Return a sort key, (n,) int64, that puts each user's rows oldest first; ties keep the file's order.

        Raises:
            DataError: the source gives neither times nor an order, or not for every row.
        """
        key = self.time if self.order is None else self.order
        if key is None:
            raise DataError(
                "these interactions have no chronological order: their source gives neither times nor an order; "
                "use a source that does, or a benchmark that needs none"
            )
        if len(key) and key.min() < 0:
            rows = np.flatnonzero(key < 0)
            raise DataError(
                f"{len(rows):,} of {len(self):,} rows have no known place in their user's order (the first is row "
                f"{rows[0]}: user {self.user[rows[0]]}, item {self.item[rows[0]]}); a split by order needs "
                "every row's: filter these rows out first, or use a source with times"
            )
        return key

    def sha256(self) -> str:
        """Return the fingerprint of the rows in their order; equal from every source of the dataset.

        It covers user, item, and value, part and candidates where there are any; not the times, which some lack.
        """
        digest = hashlib.sha256()
        columns = [("user", self.user), ("item", self.item), ("value", self.value), ("part", self.part)]
        if self.candidates is not None:
            frozen = self.candidates
            columns += [("asked", frozen.user), ("offsets", frozen.item.offsets), ("candidates", frozen.item.values)]
        for name, column in columns:
            if column is not None:
                _feed(digest, name, column)
        return digest.hexdigest()

    def time_sha256(self) -> str | None:
        """Return the fingerprint of the times in row order, or None where there are none."""
        if self.time is None:
            return None
        digest = hashlib.sha256()
        _feed(digest, "time", self.time)
        return digest.hexdigest()


_BLOCK = 1 << 20  # rows that are converted at a time


def _feed(digest: Any, name: str, column: Ids) -> None:
    """Add one column to a hash: name, kind and length first, so that no two tables share a byte stream.

    Integers count as 64 bits and little-endian, whatever their width here and the machine's order.
    """
    n, kind = len(column), column.dtype.kind
    if kind == "U":  # the width of fixed-width text depends on the longest id: hash the text itself
        body = "\0".join(column.tolist()).encode()
        digest.update(f"{name}:{kind}:{n}:{len(body)}\n".encode())
        digest.update(body)
        return
    stored = np.dtype("<i8") if kind in "iu" else column.dtype.newbyteorder("<")
    digest.update(f"{name}:{'i' if kind == 'u' else kind}:{n}:{n * stored.itemsize}\n".encode())
    for start in range(0, n, _BLOCK):
        digest.update(np.ascontiguousarray(column[start : start + _BLOCK], dtype=stored).data)
