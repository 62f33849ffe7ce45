"""RecBole's atomic files: tabs, and a header that names every column and its type, such as ``user_id:token``."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from recarena.contract.arrays import Floats
from recarena.contract.errors import DataError
from recarena.data.parsers.tables import Column, Kind, checked, header_of, ids, lines_of, read
from recarena.data.raw import Ids, Raw

_INTER: dict[str, tuple[str, Kind]] = {
    "user_id": ("token", "id"),
    "item_id": ("token", "id"),
    "rating": ("float", "number"),
    "timestamp": ("float", "seconds"),
}
_TYPES = ("token", "float", "token_seq", "float_seq")
SideColumn = Ids | Floats | list[list[str]] | list[list[float]]


def recbole_inter(body: bytes, where: str, encoding: str) -> Raw:
    """The interactions: user_id and item_id, rating and timestamp where there are any; other columns are not read."""
    columns = []
    header = _header(body, where, encoding)
    for name, kind in header:
        wanted, reads = _INTER.get(name, (kind, "unused"))
        if kind != wanted:
            raise _wrong_header(header, where)
        columns.append(Column(name, reads))
    named = dict(header)
    if "user_id" not in named or "item_id" not in named:
        raise _wrong_header(header, where)
    cells = dict(zip(named, read(body, columns, where, encoding, header=True), strict=True))
    raw = Raw(cells["user_id"], cells["item_id"], cells.get("rating"), time=cells.get("timestamp"))
    return checked(raw, where, first_line=2)


def recbole_item(body: bytes, where: str, encoding: str) -> dict[Any, str]:
    """Titles from an item file: the column item_id, and the first whose name has "title" or "name" in it."""
    header = [name for name, _ in _header(body, where, encoding)]
    title = next((n for n, name in enumerate(header) if "title" in name or "name" in name), None)
    if "item_id" not in header or title is None:
        raise DataError(f'{where}, line 1: the header is {header}; expected item_id and a column such as "movie_title"')
    item = header.index("item_id")
    cells = [line.split("\t") for line in lines_of(body, where, encoding)[1:]]
    for number, found in enumerate(cells, start=2):
        if len(found) <= max(item, title):
            raise DataError(f"{where}, line {number}: {len(found)} columns, expected {len(header)} ({header})")
    if not cells:
        raise DataError(f"{where}: the file holds no titles")
    keys = ids(pl.Series([found[item] for found in cells]))
    return {key: found[title].strip() for key, found in zip(keys.tolist(), cells, strict=True)}


def side_table(body: bytes, where: str, encoding: str = "utf-8") -> dict[str, SideColumn]:
    """Read an ``.item`` or ``.user`` file: what is known about items or users, one row each, in the file's order.

    Returns:
        Column name -> (n,) ids for a token (int64 or text), (n,) float64 for a float (NaN where the cell is empty), n
        lists of words or of numbers for a sequence, whose values stand apart by spaces.

    Raises:
        DataError: names the line with a wrong number of columns, or a cell that is no number.
    """
    header = _header(body, where, encoding)
    rows = [line.split("\t") for line in lines_of(body, where, encoding)[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(
                f"{where}, line {number}: {len(row)} columns, expected {len(header)} ({[name for name, _ in header]}); "
                "the file is cut off or damaged"
            )
    if not rows:
        raise DataError(f"{where}: the file holds no rows; expected one for each user or item")
    return {name: _side(name, kind, [row[n] for row in rows], where) for n, (name, kind) in enumerate(header)}


def _side(name: str, kind: str, cells: list[str], where: str) -> SideColumn:
    match kind:
        case "token":
            return ids(pl.Series(cells))
        case "float":
            return np.array([_number(cell or "nan", name, line, where) for line, cell in enumerate(cells, start=2)])
        case "token_seq":
            return [cell.split() for cell in cells]
        case _:
            return [[_number(part, name, n, where) for part in cell.split()] for n, cell in enumerate(cells, start=2)]


def _number(cell: str, name: str, line: int, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(f'{where}, line {line}: {name} is "{cell}", expected a number') from None


def _header(body: bytes, where: str, encoding: str) -> list[tuple[str, str]]:
    """The columns' names and types, in the file's order."""
    found = header_of(body, where, encoding).split("\t")
    pairs = [(name, kind) for name, _, kind in (cell.partition(":") for cell in found)]
    if any(kind not in _TYPES for _, kind in pairs) or len(dict(pairs)) < len(pairs):
        raise DataError(
            f"{where}, line 1: the header is {found}, expected different names, each with a type "
            f"({', '.join(_TYPES)}) "
            "after a colon; name the right parser"
        )
    return pairs


def _wrong_header(header: list[tuple[str, str]], where: str) -> DataError:
    found = [f"{name}:{kind}" for name, kind in header]
    wanted = [f"{name}:{kind}" for name, (kind, _) in _INTER.items()]
    return DataError(
        f"{where}, line 1: the header is {found}, expected {wanted}, the last two if there are any, in any order; mend "
        "the header, or name the right parser"
    )
