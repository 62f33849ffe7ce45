"""The rows of one fold in the order of its question, and columns cut from them.

A row that is not dropped is one 64-bit number, its item above its row number, so that sorting the numbers of a user
sorts the rows by item. One counting sort brings the rows to their users, one short sort per user does the rest; every
column is cut in one pass over that order, on all threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from recarena.contract.arrays import Bools, Ints, Ragged
from recarena.data.coding import codes
from recarena.data.grouping import places
from recarena.data.passes import Cut, cuts, each, group_cuts

_HALF = np.uint64(32)
_ROW = np.uint64((1 << 32) - 1)
_DIGIT = 7  # bits
_BINS = np.uint64((1 << _DIGIT) - 1)
_FEW = 48  # rows that numba's own sort is faster for


@dataclass(frozen=True, eq=False)
class Tally:
    """What the rows that are for something hold.

    Attributes:
        parts: the parts that the rows were counted in.
        rows: (parts, n_user_codes) int64 how many rows each part has of each user.
        user_bits: (n_user_codes,) int8, all that the rows of a user are for.
        item_bits: (n_item_codes,) int8, likewise.
    """

    parts: list[Cut]
    rows: Ints
    user_bits: Ints
    item_bits: Ints


def tally(user: Ints, item: Ints, bits: Ints, n_users: int, n_items: int) -> Tally:
    """Count the rows with any bit.

    Args:
        user: (n,) codes.
        item: (n,) codes.
        bits: (n,) int8 what each row is for, 0 if it is dropped.
        n_users: codes run below it.
        n_items: likewise.
    """
    parts = cuts(len(bits)) if max(n_users, n_items) < len(bits) else [(0, len(bits))]
    rows = np.zeros((len(parts), n_users), np.int64)
    user_bits, item_bits = (np.zeros((len(parts), n), np.int8) for n in (n_users, n_items))
    each(lambda n, part: _tally(user, item, bits, *part, rows[n], user_bits[n], item_bits[n]), parts)
    return Tally(parts, rows, np.bitwise_or.reduce(user_bits), np.bitwise_or.reduce(item_bits))


@dataclass(frozen=True, eq=False)
class Order:
    """Rows by user and, within a user, by place in time, or by item; ties keep the file's order.

    Attributes:
        packed: (n,) uint64, item number and row number of each.
        bits: (n,) int8, what each is for.
        stops: (n_users,) where each user's rows end, by the user's number.
        by_item: whether a user's rows are sorted by item.
    """

    packed: Ints
    bits: Ints
    stops: Ints
    by_item: bool

    @cached_property
    def parts(self) -> list[Cut]:
        """Users with about as many rows in each part."""
        return group_cuts(self.stops)

    def holds(self, wanted: int) -> bool:
        """Whether some row has some of the wanted bits."""
        return bool(np.bitwise_or.reduce(self.bits) & wanted) if len(self.bits) else False

    def lengths(self, wanted: int, asked: Bools | None = None) -> Ints:
        """Return how many rows with some of the wanted bits each user has, (n_users,) int64; of asked users only."""
        found = np.empty(len(self.stops), np.int64)
        each(lambda _, part: _lengths(self.bits, self.stops, *part, np.int8(wanted), found), self.parts)
        if asked is not None:
            found[~asked] = 0
        return found

    def items(self, wanted: int, lengths: Ints, *, by_item: bool = False) -> Ints:
        """Return the item of every row with some of the wanted bits, int32; ``lengths`` as above, 0 for no rows.

        Args:
            wanted: the bits.
            lengths: (n_users,) how many such rows each user has; 0 where none of the user's are wanted.
            by_item: sort each user's.
        """
        ends = np.cumsum(lengths)
        found = np.empty(int(lengths.sum()), np.int32)
        sort = by_item and not self.by_item
        each(lambda _, part: _items(*self._walk, *part, np.int8(wanted), ends, lengths, sort, found), self.parts)
        return found

    def pick(self, wanted: int, lengths: Ints) -> tuple[Ints, Ints]:
        """Return item, int32, and row number, int64, of the rows with some of the wanted bits, each user's by item."""
        ends = np.cumsum(lengths)
        found = np.empty(int(lengths.sum()), np.uint64)
        sort = not self.by_item
        each(lambda _, part: _packed(*self._walk, *part, np.int8(wanted), ends, lengths, sort, found), self.parts)
        return (found >> _HALF).astype(np.int32), (found & _ROW).view(np.int64)

    def column(self, column: Any, wanted: int, lengths: Ints) -> Any:
        """Return what a column, by row number, holds at the rows with some of the wanted bits, in this order."""
        ends = np.cumsum(lengths)
        found = np.empty(int(lengths.sum()), column.dtype)
        each(lambda _, part: _column(*self._walk, *part, np.int8(wanted), ends, lengths, column, found), self.parts)
        return found

    def lists(self, wanted: int, asked: Bools, *, by_item: bool = False) -> Ragged:
        """Return the items of the rows with some of the wanted bits, one list per asked user."""
        lengths = self.lengths(wanted, asked)
        return Ragged.from_lengths(lengths[asked], self.items(wanted, lengths, by_item=by_item))

    @property
    def _walk(self) -> tuple[Ints, Ints, Ints]:
        return self.packed, self.bits, self.stops


def ordered(
    user: Ints, item: Ints, bits: Ints, found: Tally, users: Ints, item_number: Ints, key: Ints | None = None
) -> Order:
    """Order the rows that are for something.

    Args:
        user: (n,) codes, n below 2^32.
        item: (n,) codes.
        bits: (n,) int8 what each row is for, 0 if it is dropped.
        found: of these three.
        users: (n_users,) the code of every user with such rows, by its number.
        item_number: (n_item_codes,) the number of every item.
        key: (n,) integers to sort each user's rows by; None: by the item's number.
    """
    place, stops = places(found.rows[:, users])
    of_code = np.zeros_like(found.rows)
    of_code[:, users] = place
    packed = np.empty(int(found.rows.sum()), np.uint64)
    if key is None:
        each(lambda n, part: _scatter_items(user, item, bits, item_number, *part, of_code[n], packed), found.parts)
    else:
        low = int(key.min())
        if int(key.max()) - low >= 1 << 32:
            key, low = codes(key)[1], 0
        each(lambda n, part: _scatter_keys(user, key, low, bits, *part, of_code[n], packed), found.parts)
    order = Order(packed, np.empty(len(packed), np.int8), stops, key is None)
    timed = key is not None
    each(lambda _, part: _settle(packed, stops, *part, timed, item, item_number, bits, order.bits), order.parts)
    return order


@njit(cache=True, nogil=True)
def _tally(user: Any, item: Any, bits: Any, start: int, stop: int, rows: Any, user_bits: Any, item_bits: Any) -> None:
    for row in range(start, stop):
        if bits[row]:
            rows[user[row]] += 1
            user_bits[user[row]] |= bits[row]
            item_bits[item[row]] |= bits[row]


@njit(cache=True, nogil=True)
def _scatter_items(
    user: Any, item: Any, bits: Any, item_number: Any, start: int, stop: int, place: Any, packed: Any
) -> None:
    for row in range(start, stop):
        if bits[row]:
            u = user[row]
            packed[place[u]] = (np.uint64(item_number[item[row]]) << _HALF) | np.uint64(row)
            place[u] += 1


@njit(cache=True, nogil=True)
def _scatter_keys(user: Any, key: Any, low: int, bits: Any, start: int, stop: int, place: Any, packed: Any) -> None:
    for row in range(start, stop):
        if bits[row]:
            u = user[row]
            packed[place[u]] = (np.uint64(key[row] - low) << _HALF) | np.uint64(row)
            place[u] += 1


@njit(cache=True, nogil=True)
def _sort(rows: Any, spare: Any, count: Any) -> None:
    """Sort some rows, whose row numbers rise, by what stands above these: digit by digit, or at once where few."""
    n = rows.size
    if n < _FEW:
        rows.sort()
        return
    differ = np.uint64(0)
    for p in range(1, n):
        differ |= rows[p] ^ rows[0]
    differ >>= _HALF
    shift, moved = np.uint64(32), False
    while differ:
        count[:] = 0
        for p in range(n):
            count[(rows[p] >> shift) & _BINS] += 1
        place = 0
        for digit in range(count.size):
            here = count[digit]
            count[digit] = place
            place += here
        for p in range(n):
            digit = (rows[p] >> shift) & _BINS
            spare[count[digit]] = rows[p]
            count[digit] += 1
        rows, spare, moved = spare, rows, not moved
        shift += np.uint64(_DIGIT)
        differ >>= np.uint64(_DIGIT)
    if moved:
        spare[:n] = rows[:n]


@njit(cache=True, nogil=True)
def _settle(
    packed: Any, stops: Any, first: int, end: int, timed: Any, item: Any, item_number: Any, bits: Any, found: Any
) -> None:
    """Sort each user's rows by what stands above the row number, then let that be the item."""
    spare, count = np.empty(1 << 12, np.uint64), np.empty(1 << _DIGIT, np.int64)
    for u in range(first, end):
        low, high = stops[u - 1] if u else 0, stops[u]
        if high - low > spare.size:
            spare = np.empty(2 * (high - low), np.uint64)
        _sort(packed[low:high], spare, count)
        for p in range(low, high):
            row = packed[p] & _ROW
            found[p] = bits[row]
            if timed:
                packed[p] = (np.uint64(item_number[item[row]]) << _HALF) | row


@njit(cache=True, nogil=True)
def _lengths(bits: Any, stops: Any, first: int, end: int, wanted: Any, found: Any) -> None:
    for u in range(first, end):
        n = 0
        for p in range(stops[u - 1] if u else 0, stops[u]):
            n += (bits[p] & wanted) != 0
        found[u] = n


# The three below write a row's cell whether it is wanted or not, and the next wanted row writes over it: the processor
# would guess wrong too often.


@njit(cache=True, nogil=True)
def _items(
    packed: Any,
    bits: Any,
    stops: Any,
    first: int,
    end: int,
    wanted: Any,
    ends: Any,
    lengths: Any,
    sort: Any,
    found: Any,
) -> None:
    for u in range(first, end):
        if lengths[u] == 0:
            continue
        place = start = ends[u] - lengths[u]
        for p in range(stops[u - 1] if u else 0, stops[u]):
            found[place] = np.int32(packed[p] >> _HALF)
            place += (bits[p] & wanted) != 0
            if place == ends[u]:
                break
        if sort:
            found[start:place].sort()


@njit(cache=True, nogil=True)
def _packed(
    packed: Any,
    bits: Any,
    stops: Any,
    first: int,
    end: int,
    wanted: Any,
    ends: Any,
    lengths: Any,
    sort: Any,
    found: Any,
) -> None:
    for u in range(first, end):
        if lengths[u] == 0:
            continue
        place = start = ends[u] - lengths[u]
        for p in range(stops[u - 1] if u else 0, stops[u]):
            found[place] = packed[p]
            place += (bits[p] & wanted) != 0
            if place == ends[u]:
                break
        if sort:
            found[start:place].sort()


@njit(cache=True, nogil=True)
def _column(
    packed: Any,
    bits: Any,
    stops: Any,
    first: int,
    end: int,
    wanted: Any,
    ends: Any,
    lengths: Any,
    column: Any,
    found: Any,
) -> None:
    for u in range(first, end):
        if lengths[u] == 0:
            continue
        place = ends[u] - lengths[u]
        for p in range(stops[u - 1] if u else 0, stops[u]):
            found[place] = column[packed[p] & _ROW]
            place += (bits[p] & wanted) != 0
            if place == ends[u]:
                break
