"""Tables of plain numbers, read in one pass over the bytes; whatever is unusual is refused, never guessed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from recarena.contract.arrays import Floats, Ints

INTEGER, ID, NUMBER, SKIPPED = 0, 1, 2, 3
_POWERS = 10.0 ** np.arange(16)
_ALONE_BYTES = 1 << 20  # less is not worth a second thread


def scan(body: bytes, start: int, kinds: Sequence[int], separator: bytes) -> list[Ints | Floats | None] | None:
    """Return one array per column, or None where any cell is not a plain number.

    A number of up to 15 digits divided by a power of ten is rounded once, so it equals what Python's ``float`` reads.

    Args:
        body: lines that end with a line feed, or a carriage return and a line feed.
        start: the byte where the first row begins.
        kinds: INTEGER (int64), ID (int64, and printed as Python prints it: "01" is not 1), NUMBER (float32) or
            SKIPPED (an integer that nobody wants: None) for each column.
        separator: one byte, or the same byte several times.
    """
    if body[-1:] != b"\n":
        body += b"\n"
    byte = np.frombuffer(body, np.uint8)[start:]
    middle = body.find(b"\n", start + len(byte) // 2) + 1 - start
    cuts = [0, middle, len(byte)] if 0 < middle < len(byte) and len(byte) > _ALONE_BYTES else [0, len(byte)]
    halves = [byte[low:high] for low, high in itertools.pairwise(cuts)]
    kind = np.array(kinds)
    with ThreadPoolExecutor(len(halves)) as pool:  # the loops let go of the interpreter's lock
        rows = list(pool.map(_lines, halves))
        first = np.cumsum([0, *rows])
        ints = np.empty((int(((kind == INTEGER) | (kind == ID)).sum()), first[-1]), np.int64)
        numbers = np.empty((int((kind == NUMBER).sum()), first[-1]), np.float32)

        def fill(part: int) -> bool:
            start, stop = first[part], first[part + 1]
            return bool(_fill(halves[part], kind, separator[0], len(separator), start, stop, ints, numbers))

        if not all(pool.map(fill, range(len(halves)))):
            return None
    of_ints, of_numbers = iter(ints), iter(numbers)
    return [None if k == SKIPPED else next(of_numbers if k == NUMBER else of_ints) for k in kinds]


@njit(cache=True, nogil=True)
def _lines(byte: Any) -> Any:
    """How many line feeds there are."""
    n = 0
    for p in range(byte.size):
        n += byte[p] == 10
    return n


@njit(cache=True, nogil=True)
def _fill(byte: Any, kinds: Any, separator: int, width: int, start: int, stop: int, ints: Any, numbers: Any) -> Any:
    """Fill rows start to stop of the columns; False at the first byte that is not expected.

    The last byte is a line feed: no digit, and so no loop runs past it.
    """
    p = 0
    for row in range(start, stop):
        n_ints = n_numbers = 0
        for column in range(kinds.size):
            if column > 0:
                for _ in range(width):
                    if byte[p] != separator:
                        return False
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
                return False
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
                        return False
                    number = float(value) / _POWERS[decimals]
                elif digits > 15:
                    return False
                numbers[n_numbers, row] = -number if negative else number
                n_numbers += 1
            elif kind != SKIPPED:
                if kind == ID and byte[first] == 48 and (digits > 1 or negative):
                    return False
                ints[n_ints, row] = -value if negative else value
                n_ints += 1
        p += byte[p] == 13  # carriage return
        if byte[p] != 10:
            return False
        p += 1
    return p == byte.size


@njit(cache=True, nogil=True)
def sorted_runs(user: Any) -> bool:
    """Whether no user number is below the one before."""
    for row in range(1, user.size):  # noqa: SIM110 - numba has no generator expressions
        if user[row] < user[row - 1]:
            return False
    return True


@njit(cache=True, nogil=True)
def repeats(user: Any, item: Any, n_users: int, n_items: int) -> bool:
    """Whether a (user, item) pair of numbers occurs twice; users in any order, with one int32 of memory per row."""
    last = np.full(n_items, -1, np.int32)
    if sorted_runs(user):
        for row in range(user.size):
            if last[item[row]] == user[row]:
                return True
            last[item[row]] = user[row]
        return False
    start = np.zeros(n_users + 1, np.int64)
    for row in range(user.size):
        start[user[row] + 1] += 1
    for u in range(n_users):
        start[u + 1] += start[u]
    place = start[:-1].copy()
    by_user = np.empty(user.size, np.int32)
    for row in range(user.size):
        by_user[place[user[row]]] = item[row]
        place[user[row]] += 1
    for u in range(n_users):
        for p in range(start[u], start[u + 1]):
            if last[by_user[p]] == u:
                return True
            last[by_user[p]] = u
    return False
