"""Each user's last rows."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Bools, Ints
from recarena.data.coding import codes
from recarena.data.grouping import groups
from recarena.data.raw import Raw
from recarena.data.splits.rows import Held, RowSplit


def leave_last_out(raw: Raw) -> list[RowSplit]:
    """Hold out each user's last row for the test and the one before for validation.

    The history at the test is everything before, the validation row included. Users with fewer than three rows are all
    training and are not asked about.

    Raises:
        DataError: a row has no known place in its user's order.
    """
    place = raw.places()
    user = groups(raw.user)
    row_bits = max(len(raw) - 1, 1).bit_length()
    if (int(place.max()) - int(place.min())).bit_length() + row_bits > 64:
        place = codes(place)[1]
    stamp = (place - place.min()).astype(np.uint64) << np.uint64(row_bits)  # grows with (place, row): no two are equal
    stamp |= np.arange(len(raw), dtype=np.uint64)
    asked = np.bincount(user) >= 3
    test, validation = (_take_last(user, stamp, row_bits, asked) for _ in range(2))
    known = np.ones(len(raw), dtype=bool)
    known[test] = False
    before_test = np.flatnonzero(known)
    known[validation] = False
    train = np.flatnonzero(known)
    return [RowSplit("", train, Held(np.sort(validation), train), Held(np.sort(test), before_test))]


def _take_last(user: Ints, stamp: Ints, row_bits: int, asked: Bools) -> Ints:
    """Return the row with the largest stamp of every asked user, and put that stamp out of the running."""
    largest = np.zeros(len(asked), dtype=np.uint64)
    np.maximum.at(largest, user, stamp)
    rows = (largest[asked] & np.uint64((1 << row_bits) - 1)).astype(np.int64)
    stamp[rows] = 0
    return rows
