"""Tables of plain numbers, read in one pass over the bytes; whatever is unusual is refused, never guessed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from recarena.contract.arrays import Floats, Ints
from recarena.data.grouping import places
from recarena.data.passes import count, cuts, each, group_cuts

INTEGER, ID, NUMBER, SKIPPED, KEY = 0, 1, 2, 3, 4
_BAD, _GOOD, _TOO_LARGE = 0, 1, 2
_POWERS = 10.0 ** np.arange(16)
_ALONE_BYTES = 1 << 20  # less is not worth a second thread


def scan(body: bytes, start: int, kinds: Sequence[int], separator: bytes) -> list[Ints | Floats | None] | None:
    """Return one array per column, or None where any cell is not a plain number.

    A number of up to 15 digits divided by a power of ten is rounded once, so it equals what Python's ``float`` reads.

    Args:
        body: lines that end with a line feed, or a carriage return and a line feed.
        start: the byte where the first row begins.
        kinds: INTEGER (int64), KEY (int32 where all keys of the table fit, else int64), ID (a KEY that is printed as
            Python prints it: "01" is not 1), NUMBER (float32) or SKIPPED (an integer that nobody wants: None) for each
            column.
        separator: one byte, or the same byte several times.
    """
    if body[-1:] != b"\n":
        body += b"\n"
    byte = np.frombuffer(body, np.uint8)[start:]
    ends = [body.find(b"\n", start + stop - 1) + 1 - start for _, stop in cuts(len(byte), _ALONE_BYTES)]
    parts = list(itertools.pairwise([0, *sorted(set(ends))]))
    first = np.cumsum([0, *each(lambda _, part: int(_lines(byte[slice(*part)])), parts)])
    kind = np.array(kinds)
    ints = np.empty((np.count_nonzero(kind == INTEGER), first[-1]), np.int64)
    numbers = np.empty((np.count_nonzero(kind == NUMBER), first[-1]), np.float32)
    for width in (np.int32, np.int64):
        keys = np.empty((np.count_nonzero((kind == KEY) | (kind == ID)), first[-1]), width)
        limit = np.iinfo(width).max
        fill = (kind, separator[0], len(separator), limit, keys, ints, numbers)
        states = each(lambda n, part: _fill(byte[slice(*part)], first[n], first[n + 1], *fill), parts)  # noqa: B023
        if _BAD in states:
            return None
        if _TOO_LARGE not in states:
            break
    found = {KEY: iter(keys), INTEGER: iter(ints), NUMBER: iter(numbers)}
    found[ID] = found[KEY]
    return [None if k == SKIPPED else next(found[k]) for k in kinds]


@njit(cache=True, nogil=True)
def _lines(byte: Any) -> Any:
    """How many line feeds there are."""
    n = 0
    for p in range(byte.size):
        n += byte[p] == 10
    return n


@njit(cache=True, nogil=True)
def _fill(
    byte: Any,
    start: int,
    stop: int,
    kinds: Any,
    separator: int,
    width: int,
    limit: int,
    keys: Any,
    ints: Any,
    numbers: Any,
) -> Any:
    """Fill rows start to stop of the columns; say where a byte is not expected, or a key beyond the limit.

    The last byte is a line feed: no digit, and so no loop runs past it.
    """
    p = 0
    for row in range(start, stop):
        n_keys = n_ints = n_numbers = 0
        for column in range(kinds.size):
            if column > 0:
                for _ in range(width):
                    if byte[p] != separator:
                        return _BAD
                    p += 1
            kind = kinds[column]
            negative = byte[p] == 45  # -
            p += negative
            first: Any = p
            value: Any = 0
            digit = np.uint8(byte[p] - 48)  # what is below "0" wraps around
            while digit <= 9:
                value = value * 10 + digit
                p += 1
                digit = np.uint8(byte[p] - 48)
            digits = p - first
            if digits == 0 or digits > 18:
                return _BAD
            if kind == NUMBER:
                number = float(value)
                if byte[p] == 46:  # .
                    point = p
                    p += 1
                    while 48 <= byte[p] <= 57 and p - first <= 16:
                        value = value * 10 + (byte[p] - 48)
                        p += 1
                    decimals = p - point - 1
                    if decimals == 0 or digits + decimals > 15:
                        return _BAD
                    number = float(value) / _POWERS[decimals]
                elif digits > 15:
                    return _BAD
                numbers[n_numbers, row] = -number if negative else number
                n_numbers += 1
            elif kind == INTEGER:
                ints[n_ints, row] = -value if negative else value
                n_ints += 1
            elif kind != SKIPPED:
                if kind == ID and byte[first] == 48 and (digits > 1 or negative):
                    return _BAD
                if value > limit:
                    return _TOO_LARGE
                keys[n_keys, row] = -value if negative else value
                n_keys += 1
        p += byte[p] == 13  # carriage return
        if byte[p] != 10:
            return _BAD
        p += 1
    return _GOOD if p == byte.size else _BAD


def repeats(user: Ints, item: Ints, n_users: int, n_items: int) -> bool:
    """Whether a (user, item) pair of numbers occurs twice; users in any order."""
    if sorted_runs(user):
        return bool(_repeats_in_runs(user, item, n_items))
    parts = cuts(len(user)) if n_users < len(user) else [(0, len(user))]
    place, stops = places(np.stack([count(user[slice(*part)], n_users) for part in parts]))
    by_user = np.empty(len(user), np.uint16 if n_items <= 1 << 16 else np.int32)
    each(lambda n, part: _scatter(user, item, *part, place[n], by_user), parts)
    return any(each(lambda _, part: _repeats(by_user, stops, *part, n_items), group_cuts(stops)))


@njit(cache=True, nogil=True)
def sorted_runs(user: Any) -> bool:
    """Whether no user number is below the one before."""
    for row in range(1, user.size):  # noqa: SIM110 - numba has no generator expressions
        if user[row] < user[row - 1]:
            return False
    return True


@njit(cache=True, nogil=True)
def _repeats_in_runs(user: Any, item: Any, n_items: int) -> bool:
    last = np.full(n_items, -1, np.int32)
    for row in range(user.size):
        if last[item[row]] == user[row]:
            return True
        last[item[row]] = user[row]
    return False


@njit(cache=True, nogil=True)
def _scatter(user: Any, item: Any, start: int, stop: int, place: Any, by_user: Any) -> None:
    for row in range(start, stop):
        u = user[row]
        by_user[place[u]] = item[row]
        place[u] += 1


@njit(cache=True, nogil=True)
def _repeats(by_user: Any, stops: Any, first: int, end: int, n_items: int) -> bool:
    """Whether one of the users from first to end has an item twice."""
    last = np.full(n_items, -1, np.int32)
    for u in range(first, end):
        for p in range(stops[u - 1] if u else 0, stops[u]):
            if last[by_user[p]] == u:
                return True
            last[by_user[p]] = u
    return False
