"""The files of MovieLens: 100K, 1M and 10M, 20M, and a mirror's table of 1M."""

from __future__ import annotations

import csv
from typing import Any

from recarena.contract.errors import DataError
from recarena.data.parsers.tables import Column, checked, expect_header, lines_of, read, titles
from recarena.data.raw import Raw

_RATINGS = [Column("user", "key"), Column("item", "key"), Column("rating", "number"), Column("time", "integer")]


def u_data(body: bytes, where: str, encoding: str) -> Raw:
    """MovieLens 100K: user, item, rating, time, separated by tabs, no header."""
    return _ratings(body, where, encoding, "\t")


def ratings_dat(body: bytes, where: str, encoding: str) -> Raw:
    """MovieLens 1M and 10M: ``user::item::rating::time``, no header."""
    return _ratings(body, where, encoding, "::")


def ratings_csv(body: bytes, where: str, encoding: str) -> Raw:
    """MovieLens 20M and later: ``userId,movieId,rating,timestamp`` with a header."""
    expect_header(body, ["userId", "movieId", "rating", "timestamp"], where, encoding, ",")
    return _ratings(body, where, encoding, ",", header=True)


def ordered_tsv(body: bytes, where: str, encoding: str) -> Raw:
    """A mirror's table in the official row order, with each row's place in its user's order.

    The column ``timestamp`` is not read: it is -1 for half of the users, so it is not a time.
    """
    expect_header(body, ["user_id", "movie_id", "rating", "timestamp", "chrono_pos"], where, encoding)
    columns = [*_RATINGS[:3], Column("timestamp", "unused"), Column("chrono_pos", "integer")]
    user, item, value, _, order = read(body, columns, where, encoding, header=True)
    return checked(Raw(user, item, value, order=order), where, first_line=2)


def u_item(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """MovieLens 100K titles: ``item|title|...``."""
    return titles(body, "|", where, encoding, first_line=1)


def movies_dat(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """MovieLens 1M and 10M titles: ``item::title::genres``."""
    return titles(body, "::", where, encoding, first_line=1)


def movies_csv(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """MovieLens 20M titles: ``movieId,title,genres`` with a header; a title with a comma stands in quotation marks."""
    expect_header(body, ["movieId", "title", "genres"], where, encoding, ",")
    found: dict[Any, str] = {}
    rows = csv.reader(line + "\n" for line in lines_of(body, where, encoding))
    next(rows)
    for row in rows:
        if len(row) != 3 or not row[0].isdigit():
            raise DataError(f"{where}, line {rows.line_num}: expected movieId,title,genres, found {row}")
        found[int(row[0])] = row[1].strip()
    return found


def _ratings(body: bytes, where: str, encoding: str, separator: str, *, header: bool = False) -> Raw:
    user, item, value, time = read(body, _RATINGS, where, encoding, separator=separator, header=header)
    return checked(Raw(user, item, value, time=time), where, first_line=2 if header else 1)
