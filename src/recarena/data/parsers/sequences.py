"""``user item item ...`` lines: the files of LightGCN's family (sets of items) and S3-Rec's (in time order)."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.parsers.tables import lines_of, repeated
from recarena.data.raw import Raw

_DIGITS = 18  # more might not fit in 64 bits
_SPACE, _LINE = 32, 10


def item_lists(body: bytes, where: str, encoding: str) -> Raw:
    """Each user's items in no order; a user may have none."""
    user, item, _, line = _read(body, where, encoding, least=0)
    return _once(Raw(user, item), line, where)


def item_sequences(body: bytes, where: str, encoding: str) -> Raw:
    """Each user's items, oldest first: ``Raw.order`` is the place in the line, from 0."""
    user, item, place, line = _read(body, where, encoding, least=1)
    return _once(Raw(user, item, order=place), line, where)


def test_item_lists(body: bytes, where: str, encoding: str, raw: Raw) -> Raw:
    """The test rows of a divided source: they follow the training rows that ``raw`` holds."""
    user, item, _, line = _read(body, where, encoding, least=0)
    both = Raw(
        np.concatenate([raw.user, user]),
        np.concatenate([raw.item, item]),
        part=np.repeat(np.array([0, 2], np.int8), [len(raw), len(user)]),
    )
    again = repeated(both.user, both.item)
    if again is None:
        return both
    first, row = again
    place = f"line {line[first - len(raw)]}" if first >= len(raw) else "in the training file"
    raise DataError(
        f"{where}, line {line[row - len(raw)]}: user {both.user[row]} and item {both.item[row]} occur again "
        f"(first {place}); expected each pair once, in one of the two files; fetch both again"
    )


def _read(body: bytes, where: str, encoding: str, *, least: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Return user, item, place in the line and number of the line, each (n,) with one entry per item."""
    byte = np.frombuffer(body.replace(b"\r\n", b"\n") if b"\r" in body else body, np.uint8)
    inside = byte > _SPACE
    if not inside.any():
        raise DataError(f"{where}: the file holds no rows; expected lines of a user and its items; fetch it again")
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False)).reshape(-1, 2)
    start, stop = edges[:, 0], edges[:, 1]
    known = ((byte >= ord("0")) & (byte <= ord("9"))) | (byte == _SPACE) | (byte == _LINE)
    if not known.all() or int((stop - start).max()) > _DIGITS:
        _blame(body, where, encoding)
    line = np.searchsorted(np.flatnonzero(byte == _LINE), start)  # (tokens,) from 0
    number = np.fromstring(byte.tobytes(), dtype=np.int64, sep=" ")
    length = np.bincount(line)
    n_lines = int((byte == _LINE).sum()) + (byte[-1] != _LINE)
    short = np.flatnonzero(np.r_[length, np.zeros(n_lines - len(length), np.int64)] < 1 + least)
    if len(short):
        got = "nothing" if short[0] >= len(length) or length[short[0]] == 0 else "a user without items"
        raise DataError(
            f"{where}, line {short[0] + 1}: {got}, expected a user and its items; the file is cut off or damaged"
        )
    heads = np.cumsum(length) - length  # (lines,) the token that is the line's user
    users, count = np.unique(number[heads], return_counts=True)
    if count.max() > 1:
        user = users[count > 1][0]
        lines = np.flatnonzero(number[heads] == user) + 1
        raise DataError(
            f"{where}, line {lines[1]}: user {user} occurs again (first on line {lines[0]}); expected one line for "
            "each user; join the two"
        )
    is_item = np.ones(len(number), np.bool_)
    is_item[heads] = False
    line = line[is_item]
    place = np.flatnonzero(is_item) - heads[line] - 1
    return number[heads][line], number[is_item], place, line + 1


def _once(raw: Raw, line: Ints, where: str) -> Raw:
    if len(raw) == 0:
        raise DataError(f"{where}: the file holds users but no items; fetch it again")
    again = repeated(raw.user, raw.item)
    if again is None:
        return raw
    _, row = again
    raise DataError(
        f"{where}, line {line[row]}: user {raw.user[row]} has item {raw.item[row]} twice; expected each pair once; "
        "remove one of the two"
    )


def _blame(body: bytes, where: str, encoding: str) -> None:
    """Raise for the first cell that is no whole number; the slow path."""
    lines = lines_of(body, where, encoding)
    for number, text in enumerate(lines, start=1):
        for cell in text.split(" "):
            if cell and not (cell.isascii() and cell.isdigit() and len(cell) <= _DIGITS):
                raise DataError(
                    f'{where}, line {number}: "{ascii(cell)[1:-1]}" is not an id; expected whole numbers of 0 or '
                    "more with one space between; mend the line, or name the right parser in the recipe"
                )
