"""Parsers: the bytes of one raw file -> raw interactions, or item titles. They read; they never filter or reorder.

A recipe names a parser by its key in ``PARSERS`` or ``TITLE_PARSERS``. Pandas' C parser reads; only when it
refuses does the slow path look for the line to blame.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from recarena.contract.errors import DataError
from recarena.data.raw import Ids, Raw

VERSION = 1  # part of the cache's key: raise it whenever a parser's output changes

Kind = Literal["integer", "id", "number", "text"]


@dataclass(frozen=True)
class Column:
    """One column: its name in messages and what it holds; an "id" is an integer in every row, or text in every row."""

    name: str
    kind: Kind


def u_data(body: bytes, where: str, encoding: str) -> Raw:
    """MovieLens 100K: user, item, rating, time, separated by tabs, no header."""
    columns = [
        Column("user", "integer"),
        Column("item", "integer"),
        Column("rating", "number"),
        Column("time", "integer"),
    ]
    user, item, value, time = _table(body, columns, where, encoding)
    return _checked(Raw(user, item, value.astype(np.float32), time=time), where, first_line=1)


def ratings_dat(body: bytes, where: str, encoding: str) -> Raw:
    """MovieLens 1M and 10M: ``user::item::rating::time``, no header."""
    # the C parser takes one-character separators only; a stray tab or colon still ends as a wrong column
    return u_data(body.replace(b"::", b"\t"), where, encoding)


def recbole_inter(body: bytes, where: str, encoding: str) -> Raw:
    """RecBole's atomic file: tabs, and a header such as ``user_id:token``; the first four columns are read."""
    _expect_header(body, ["user_id:token", "item_id:token", "rating:float", "timestamp:float"], where, encoding)
    columns = [Column("user", "id"), Column("item", "id"), Column("rating", "number"), Column("time", "number")]
    user, item, value, time = _table(body, columns, where, encoding, header=True)
    return _checked(Raw(user, item, value.astype(np.float32), time=_seconds(time, where)), where, first_line=2)


def ordered_tsv(body: bytes, where: str, encoding: str) -> Raw:
    """A mirror's table in the official row order, with each row's place in its user's order.

    The column ``timestamp`` is not read: it is -1 for half of the users, so it is not a time.
    """
    _expect_header(body, ["user_id", "movie_id", "rating", "timestamp", "chrono_pos"], where, encoding)
    columns = [
        Column("user", "integer"),
        Column("item", "integer"),
        Column("rating", "number"),
        Column("timestamp", "integer"),
        Column("chrono_pos", "integer"),
    ]
    user, item, value, _, order = _table(body, columns, where, encoding, header=True)
    return _checked(Raw(user, item, value.astype(np.float32), order=order), where, first_line=2)


def inline(rows: Sequence[Sequence[Any]], where: str) -> Raw:
    """Rows written in the recipe itself: [user, item, value, time]."""
    for number, row in enumerate(rows, start=1):
        if len(row) != 4 or not all(isinstance(cell, int | float) for cell in row):
            raise DataError(
                f"{where}: row {number} is {list(row)}; expected four numbers, [user, item, value, time]; mend the row"
            )
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    user, item, time = (table[:, c].astype(np.int64) for c in (0, 1, 3))
    return _checked(Raw(user, item, table[:, 2].astype(np.float32), time=time), where, first_line=1)


def u_item(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """MovieLens 100K titles: ``item|title|...``."""
    return _titles(body.decode(encoding).split("\n"), "|", where, first_line=1)


def movies_dat(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """MovieLens 1M and 10M titles: ``item::title::genres``."""
    return _titles(body.decode(encoding).split("\n"), "::", where, first_line=1)


def recbole_item(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """RecBole's item file: tabs, one header line, item and title first."""
    return _titles(body.decode(encoding).split("\n")[1:], "\t", where, first_line=2)


PARSERS: Mapping[str, Callable[[bytes, str, str], Raw]] = {
    "u.data": u_data,
    "ratings.dat": ratings_dat,
    "recbole.inter": recbole_inter,
    "ordered.tsv": ordered_tsv,
}
TITLE_PARSERS: Mapping[str, Callable[[bytes, str, str], dict[Any, str]]] = {
    "u.item": u_item,
    "movies.dat": movies_dat,
    "recbole.item": recbole_item,
}


def _table(
    body: bytes, columns: Sequence[Column], where: str, encoding: str, *, header: bool = False
) -> tuple[Any, ...]:
    """Read a tab-separated table into one array per column, every row of the file in its order."""
    first_line = 2 if header else 1
    if not body.strip() or (header and not body.partition(b"\n")[2].strip()):
        raise DataError(f"{where}: the file holds no rows; expected lines of {_wanted(columns)}; fetch it again")
    dtypes = {"integer": np.int64, "number": np.float64, "id": str, "text": str}
    try:
        frame = pd.read_csv(
            io.BytesIO(body),
            sep="\t",
            header=None,
            skiprows=first_line - 1,
            dtype={place: dtypes[column.kind] for place, column in enumerate(columns)},
            encoding=encoding,
            quoting=3,  # a quotation mark is a character like any other
            na_filter=False,  # an empty or missing cell is an error, not a NaN
            skip_blank_lines=False,  # so that line = row + first_line
            engine="c",
        )
    except ValueError as error:  # pandas' ParserError and UnicodeDecodeError are ValueErrors too
        _blame(body, columns, where, encoding, first_line)
        raise DataError(f"{where}: the table cannot be read: {error}; fetch the file again") from error
    if frame.shape[1] != len(columns):
        _blame(body, columns, where, encoding, first_line)
    arrays = (frame[place].to_numpy() for place in range(len(columns)))
    return tuple(_ids(a) if c.kind == "id" else a for a, c in zip(arrays, columns, strict=True))


def _ids(text: Any) -> Ids:
    """Turn text into int64 if every one is an integer as Python prints it, so that "01" stays apart from "1"."""
    strings = np.asarray(text, dtype=str)
    try:
        numbers = strings.astype(np.int64)
    except ValueError:
        return strings
    return numbers if bool((numbers.astype(str) == strings).all()) else strings


def _seconds(time: Any, where: str) -> Any:
    """Whole seconds from a column of floats; NaN and infinity have no integer, so they are refused here."""
    bad = np.flatnonzero(~np.isfinite(time))
    if len(bad):
        raise DataError(f"{where}, line {bad[0] + 2}: the time is {time[bad[0]]}; expected seconds since 1970")
    return time.astype(np.int64)


def _finite(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(cell)
    return number


def _blame(body: bytes, columns: Sequence[Column], where: str, encoding: str, first_line: int) -> None:
    """Raise for the first line that does not hold what the columns say; the slow path, taken only on failure."""
    number_of: dict[Kind, Callable[[str], object]] = {"integer": int, "number": _finite, "id": str, "text": str}
    try:
        lines = body.decode(encoding).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: not {encoding} text; give the file's encoding in the recipe") from error
    for number, line_text in enumerate(lines[first_line - 1 :], start=first_line):
        cells = line_text.split("\t")
        if len(cells) != len(columns):
            raise DataError(
                f"{where}, line {number}: {len(cells)} columns, expected {len(columns)} ({_wanted(columns)}); "
                "the file is cut off, or the recipe names the wrong parser"
            )
        for column, cell in zip(columns, cells, strict=True):
            try:
                number_of[column.kind](cell)
            except ValueError:
                raise DataError(
                    f'{where}, line {number}: {column.name} is "{cell}", expected {_article(column.kind)}; '
                    "mend the line, or name the right parser in the recipe"
                ) from None


def _checked(raw: Raw, where: str, first_line: int) -> Raw:
    """Raise for the first row with an impossible value or a repeated pair; else return the rows."""
    if len(raw) == 0:
        raise DataError(f"{where}: the file holds no rows; expected at least one interaction")
    bad = np.flatnonzero(~np.isfinite(raw.value))
    if len(bad):
        raise DataError(
            f"{where}, line {bad[0] + first_line}: the rating is {raw.value[bad[0]]}; expected a finite number"
        )
    if raw.time is not None and raw.time.min() < 0:
        line = int(np.argmax(raw.time < 0)) + first_line
        raise DataError(
            f"{where}, line {line}: the time is {raw.time[line - first_line]}; expected seconds since 1970, 0 or more; "
            "a source without real times must not give any"
        )
    again = pd.DataFrame({"user": raw.user, "item": raw.item}).duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        first = int(np.argmax((raw.user == raw.user[row]) & (raw.item == raw.item[row])))
        raise DataError(
            f"{where}, line {row + first_line}: user {raw.user[row]} and item {raw.item[row]} occur again (first on "
            f"line {first + first_line}); expected each pair once; remove one of the two"
        )
    return raw


def _expect_header(body: bytes, names: Sequence[str], where: str, encoding: str) -> None:
    """Raise unless the first line names exactly these columns."""
    found = body.partition(b"\n")[0].decode(encoding).rstrip("\r").split("\t")
    if found != list(names):
        raise DataError(f"{where}, line 1: the header is {found}, expected {list(names)}; name the right parser")


def _titles(lines: Sequence[str], separator: str, where: str, first_line: int) -> dict[Any, str]:
    """Read ``id<separator>title...`` lines; ids become numbers where all of them are."""
    cells = [line.split(separator, 2) for line in lines]
    if cells and cells[-1] == [""]:
        cells.pop()
    for number, found in enumerate(cells, start=first_line):
        if len(found) < 2:
            raise DataError(f'{where}, line {number}: expected "item{separator}title", found {found}')
    if not cells:
        raise DataError(f"{where}: the file holds no titles")
    ids = _ids([found[0] for found in cells])
    return {key: found[1].strip() for key, found in zip(ids.tolist(), cells, strict=True)}


def _wanted(columns: Sequence[Column]) -> str:
    return ", ".join(f"{c.name}: {_article(c.kind)}" for c in columns)


def _article(kind: Kind) -> str:
    return {"integer": "a whole number", "number": "a finite number", "id": "an id", "text": "text"}[kind]
