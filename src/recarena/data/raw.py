"""Raw interactions: what a file says, in the file's own ids and the file's own row order.

Row order is kept because the authors' splits depend on it. Nothing here renumbers, filters or splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import DataError

Ids = NDArray[Any]  # int64, or numpy's fixed-width text


@dataclass(frozen=True, eq=False)
class Raw:
    """Interactions as the raw file has them, one row per (user, item) pair, in the file's order.

    Attributes:
        user: (n,) raw ids, int64 or text.
        item: (n,) raw ids, int64 or text.
        value: (n,) float32 ratings.
        time: (n,) int64 seconds since 1970 (UTC), or None where the source does not give every row's time.
        order: (n,) int64 place in the user's chronological order, -1 where unknown; only from a source that gives
            the order instead of the times.
        titles: raw item id -> title, for people to read; no model sees it here.
    """

    user: Ids
    item: Ids
    value: Floats
    time: Ints | None = None
    order: Ints | None = None
    titles: Mapping[Any, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints) -> Raw:
        """Return the named rows, in the order given."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            value=self.value[rows],
            time=None if self.time is None else self.time[rows],
            order=None if self.order is None else self.order[rows],
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
        """Return the fingerprint of (user, item, value) in row order; equal from every source of the dataset."""
        digest = hashlib.sha256()
        for name, column in (("user", self.user), ("item", self.item), ("value", self.value)):
            _feed(digest, name, column)
        return digest.hexdigest()

    def time_sha256(self) -> str | None:
        """Return the fingerprint of the times in row order, or None where there are none."""
        if self.time is None:
            return None
        digest = hashlib.sha256()
        _feed(digest, "time", self.time)
        return digest.hexdigest()


def _feed(digest: Any, name: str, column: Ids) -> None:
    """Add one column to a hash: name, kind and length first, so that no two tables share a byte stream."""
    if column.dtype.kind == "U":  # the width of fixed-width text depends on the longest id: hash the text itself
        body = "\0".join(column.tolist()).encode()
    else:  # little-endian bytes, so that the hash does not depend on the machine
        body = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).tobytes()
    digest.update(f"{name}:{column.dtype.kind}:{len(column)}:{len(body)}\n".encode())
    digest.update(body)
