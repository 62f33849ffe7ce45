"""A user's own table: CSV, TSV or parquet, with the columns that the recipe or the command names."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import polars as pl

from recarena.contract.errors import DataError, did_you_mean
from recarena.data.parsers.tables import Column, Kind, checked, float32, header_of, ids, lines_of, read, reason, seconds
from recarena.data.raw import Raw

_KINDS: dict[str, Kind] = {"user": "id", "item": "id", "value": "number", "time": "seconds"}
_USUAL = {
    "user": ("user", "user_id", "userid", "uid", "reviewerid"),
    "item": ("item", "item_id", "itemid", "iid", "movieid", "movie_id", "asin", "parent_asin", "song"),
    "value": ("value", "rating", "ratings", "stars", "score", "overall", "count"),
    "time": ("time", "timestamp", "ts", "unixreviewtime"),
}
_PARQUET = b"PAR1"


def table(
    body: bytes, where: str, encoding: str = "utf-8", *, columns: Mapping[str, str], separator: str | None = None
) -> Raw:
    """Read a table whose first line names the columns, or a parquet file.

    Args:
        body: the file.
        where: its name in messages.
        encoding: of text.
        columns: "user", "item", and "value" and "time" where there are any -> the column's name in the file. Times are
            seconds since 1970, or parquet's own moments.
        separator: one byte; found from the header if None.
    """
    if body.startswith(_PARQUET):
        try:
            frame = pl.read_parquet(io.BytesIO(body), columns=None)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{where}: cannot be read as parquet: {error}; the file is cut off or damaged") from error
        _known(columns, frame.columns, where)
        return _from_frame(frame, columns, where, 1, "row")
    separator = separator or guess_separator(body, where, encoding)
    if b'"' in body:  # a cell may hold the separator: only polars knows where it ends
        frame = _quoted(body, where, encoding, separator)
        _known(columns, frame.columns, where)
        return _from_frame(frame, columns, where, 2, "line")
    names = header_of(body, where, encoding).split(separator)
    _known(columns, names, where)
    role = {name: of for of, name in columns.items()}
    wanted = [Column(name, _KINDS[role[name]] if name in role else "unused") for name in names]
    cells = dict(zip(names, read(body, wanted, where, encoding, separator=separator, header=True), strict=True))
    found = {of: cells[name] for of, name in columns.items()}
    return checked(Raw(found["user"], found["item"], found.get("value"), time=found.get("time")), where, first_line=2)


def header(body: bytes, where: str, encoding: str = "utf-8", separator: str | None = None) -> list[str]:
    """Return the names of a table's columns."""
    if body.startswith(_PARQUET):
        try:
            return list(pl.read_parquet_schema(io.BytesIO(body)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{where}: cannot be read as parquet: {error}; the file is cut off or damaged") from error
    return [
        name.strip('"')
        for name in header_of(body, where, encoding).split(separator or guess_separator(body, where, encoding))
    ]


def usual_columns(names: list[str]) -> dict[str, str]:
    """Guess which columns hold user, item, value and time by the names that data of this field use."""
    by_lower = {name.lower(): name for name in names}
    return {
        of: by_lower[found]
        for of, usual in _USUAL.items()
        if (found := next((u for u in usual if u in by_lower), None)) is not None
    }


def guess_separator(body: bytes, where: str, encoding: str) -> str:
    """Return the first of tab, comma and semicolon that the header holds."""
    line = header_of(body, where, encoding)
    found = next((separator for separator in "\t,;" if separator in line), None)
    if found is None:
        raise DataError(f'{where}, line 1: "{line[:60]}" holds no tab, comma or semicolon; give the separator')
    return found


def _known(columns: Mapping[str, str], names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        raise DataError(f"{where}, line 1: the header {names} names a column twice; rename one")
    for of, name in columns.items():
        if name not in names:
            raise DataError(f'{where}, line 1: no column "{name}" for the {of}{did_you_mean(name, names)}')
    if len(set(columns.values())) < len(columns):
        raise DataError(f"{where}: one column holds two things: {dict(columns)}; name a different column for each")
    for of in ("user", "item"):
        if of not in columns:
            raise DataError(f"{where}: no column is named for the {of}; name one of {names}")


def _quoted(body: bytes, where: str, encoding: str, separator: str) -> pl.DataFrame:
    try:
        utf8 = body.decode(encoding).encode()
        return pl.read_csv(utf8, separator=separator, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        _blame_quoted(body, where, encoding, separator)
        raise DataError(
            f"{where}: the table cannot be read: {reason(error)}; expected the header's columns on every line"
        ) from error


def _blame_quoted(body: bytes, where: str, encoding: str, separator: str) -> None:
    """Raise for the first line with too many cells or with a quotation mark out of place; the slow path."""
    lines = lines_of(body, where, encoding)
    rows = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True)
    width, done = 0, 0  # cells of the header; lines that are well
    try:
        for row in rows:
            width = width or len(row)
            text = "".join(lines[done : rows.line_num])
            if len(row) > width or ('""' not in text and any('"' in cell for cell in row)):
                break
            done = rows.line_num
        else:
            return
    except csv.Error:  # a quotation that never ends, or goes on after its end
        pass
    raise DataError(
        f"{where}, line {done + 1}: the cells cannot be told apart; expected {width} of them, each plain or wholly in "
        'quotation marks, with a mark inside doubled (""); mend the line'
    )


def _from_frame(frame: pl.DataFrame, columns: Mapping[str, str], where: str, first: int, unit: str) -> Raw:
    """Take the named columns, and blame the first row that does not hold what it should."""
    found: dict[str, Any] = {}
    if len(frame) == 0:
        raise DataError(f"{where}: the file holds no rows; expected at least one interaction")
    for of, name in columns.items():
        cells = frame.get_column(name)
        wanted = pl.String if _KINDS[of] == "id" else pl.Float64
        article = "an id" if wanted == pl.String else "a finite number"
        try:
            if of == "time" and cells.dtype.is_temporal():
                cells = cells.cast(pl.Datetime("us")).dt.epoch("s")
            cast = cells.cast(wanted, strict=False)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{where}: column {name} holds {cells.dtype}, expected {article} on every {unit}: {reason(error)}; "
                "write the column anew"
            ) from error
        bad = cast.is_null() | (cast == "" if wanted == pl.String else cast.is_nan())
        if cells.dtype.is_float():
            bad |= cells.is_nan()  # which is no id either
        if bad.any():
            row = int(bad.arg_max() or 0)
            got = "empty" if cells[row] in (None, "") else f'"{cells[row]}"'
            raise DataError(f"{where}, {unit} {row + first}: {name} is {got}, expected {article}; mend the {unit}")
        found[of] = ids(cast) if wanted == pl.String else cast.to_numpy()
    time = None if "time" not in found else seconds(found["time"], where, first)
    value = None if "value" not in found else float32(found["value"])
    return checked(Raw(found["user"], found["item"], value, time=time), where, first_line=first, unit=unit)
