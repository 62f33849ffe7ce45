"""Tables of one row per interaction: read fast, and on failure find the line to blame.

A table of plain numbers goes through ``scan``; anything else through polars; what both refuse is read once more, line
by line, for the message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import DataError
from recarena.data.coding import codes
from recarena.data.parsers import scan
from recarena.data.raw import Ids, Raw

Kind = Literal["integer", "key", "id", "number", "seconds", "text", "unused"]
_SCANNED: dict[Kind, int] = {
    "integer": scan.INTEGER, "key": scan.KEY, "id": scan.ID, "number": scan.NUMBER, "seconds": scan.INTEGER,
    "unused": scan.SKIPPED,
}  # fmt: skip
_EXACT = 2**53  # the first float64 whose neighbours are not all integers


@dataclass(frozen=True)
class Column:
    """One column: its name in messages and what it holds.

    A "key" is an integer that names a user or an item; an "id" is one in every row, or text in every row; "seconds" may
    be written as a float, and are cut to whole ones; what is "unused" is neither kept nor checked.
    """

    name: str
    kind: Kind


def read(
    body: bytes, columns: Sequence[Column], where: str, encoding: str, *, separator: str = "\t", header: bool = False
) -> tuple[Any, ...]:
    """Read a table into one array per column, every row of the file in its order.

    Returns:
        int64 for "integer" and "seconds", int32 or int64 for "key", these or text for "id", float32 for "number", text,
        or None for "unused".

    Raises:
        DataError: names the first line that does not hold what the columns say.
    """
    first_line = 2 if header else 1
    start = body.find(b"\n") + 1 if header else 0
    if (header and start == 0) or (not body[start : start + 4096].strip() and not body[start:].strip()):
        raise DataError(f"{where}: the file holds no rows; expected lines of {_wanted(columns)}; fetch it again")
    if all(column.kind in _SCANNED for column in columns):
        found = scan.scan(body, start, [_SCANNED[column.kind] for column in columns], separator.encode())
        if found is not None:
            return tuple(found)
    return _by_polars(body, columns, where, encoding, separator, first_line)


def _by_polars(
    body: bytes, columns: Sequence[Column], where: str, encoding: str, separator: str, first_line: int
) -> tuple[Any, ...]:
    text = pl.String
    kinds = {
        "integer": pl.Int64, "key": pl.Int64, "number": pl.Float64, "seconds": pl.Float64, "id": text, "text": text,
        "unused": text,
    }  # fmt: skip
    whole = body
    try:
        if encoding != "utf-8" or not body.isascii():
            body = body.decode(encoding).encode()
        if len(separator) > 1:  # polars takes one byte; a stray one still ends as a wrong column
            if b"\t" in body:
                blame(whole, columns, where, encoding, separator, first_line)
            body = body.replace(separator.encode(), b"\t")
        frame = pl.read_csv(
            body,
            separator=separator if len(separator) == 1 else "\t",
            has_header=False,
            skip_lines=first_line - 1,
            schema={f"{place}": kinds[column.kind] for place, column in enumerate(columns)},
            quote_char=None,  # a quotation mark is a character like any other
        )
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        blame(whole, columns, where, encoding, separator, first_line)
        raise DataError(f"{where}: the table cannot be read: {reason(error)}; fetch the file again") from error
    floats = frame.select(pl.selectors.float())
    wrong = any(n for n, column in zip(frame.null_count().row(0), columns, strict=True) if column.kind != "unused")
    if wrong or b"\0" in body or any(floats.select(pl.all().is_nan().any()).row(0) if floats.width else ()):
        blame(whole, columns, where, encoding, separator, first_line)  # an empty cell, a zero byte, or a NaN
    return tuple(_array(frame.get_column(f"{i}"), column, where, first_line) for i, column in enumerate(columns))


def _array(cells: pl.Series, column: Column, where: str, first_line: int) -> Any:
    match column.kind:
        case "seconds":
            return seconds(cells.to_numpy(), where, first_line)
        case "unused":
            return None
        case "integer" | "key":
            return cells.to_numpy()
        case "number":
            return float32(cells.to_numpy())
        case "id":
            return ids(cells)
        case "text":
            return cells.to_numpy().astype(str)


def ids(text: pl.Series) -> Ids:
    """Turn text into int64 if every one is an integer as Python prints it, so that "01" stays apart from "1"."""
    distinct = text.unique()
    numbers = distinct.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0 and bool((numbers.cast(pl.String) == distinct).all()):
        return text.cast(pl.Int64).to_numpy()
    return text.to_numpy().astype(str)


def float32(number: Any) -> Floats:
    """Round a column of float64; what is too large becomes infinite, which ``checked`` refuses."""
    with np.errstate(over="ignore"):
        return np.asarray(number).astype(np.float32)


def reason(error: Exception) -> str:
    """Return the first line of a library's message: the others advise on the library's own options."""
    return str(error).strip().partition("\n")[0]


def _whole(cell: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", cell) or not -(2**63) <= int(cell) < 2**63:  # int() takes "1_0" and " 1"
        raise ValueError(cell)
    return int(cell)


def _finite(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number) or "_" in cell or cell != cell.strip():
        raise ValueError(cell)
    return number


def blame(body: bytes, columns: Sequence[Column], where: str, encoding: str, separator: str, first_line: int) -> None:
    """Raise for the first line that does not hold what the columns say; the slow path, taken only on failure."""
    number_of: dict[Kind, Callable[[str], object]] = {
        "integer": _whole, "key": _whole, "number": _finite, "seconds": _finite, "id": _some, "text": _some,
        "unused": str,
    }  # fmt: skip
    lines = lines_of(body, where, encoding)
    for number, line_text in enumerate(lines[first_line - 1 :], start=first_line):
        if not line_text:
            raise DataError(f"{where}, line {number}: the line is empty; remove it")
        cells = line_text.split(separator)
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


def _some(cell: str) -> str:
    if not cell or "\0" in cell:  # numpy's text would lose a zero byte at the end
        raise ValueError(cell)
    return cell


def checked(raw: Raw, where: str, first_line: int, unit: str = "line") -> Raw:
    """Raise for the first row with an impossible value or a repeated pair; else return the rows."""
    if len(raw) == 0:
        raise DataError(f"{where}: the file holds no rows; expected at least one interaction")
    if raw.value is not None and not np.isfinite(raw.value).all():
        row = int(np.argmin(np.isfinite(raw.value)))
        raise DataError(f"{where}, {unit} {row + first_line}: the rating is {raw.value[row]}; expected a finite number")
    if raw.time is not None and raw.time.min() < 0:
        line = int(np.argmax(raw.time < 0)) + first_line
        raise DataError(
            f"{where}, {unit} {line}: the time is {raw.time[line - first_line]}; expected seconds since 1970, 0 or "
            "more; a source without real times must not give any"
        )
    again = repeated(raw.user, raw.item)
    if again is not None:
        first, row = again
        raise DataError(
            f"{where}, {unit} {row + first_line}: user {raw.user[row]} and item {raw.item[row]} occur again (first on "
            f"{unit} {first + first_line}); expected each pair once; remove one of the two"
        )
    return raw


def repeated(user: Ids, item: Ids) -> tuple[int, int] | None:
    """Return the first row whose (user, item) pair was there before, after the row where it was; None if all differ."""
    if _small(user) and _small(item) and not scan.repeats(user, item, int(user.max()) + 1, int(item.max()) + 1):
        return None
    user_ids, user_code = codes(user)
    item_ids, item_code = codes(item)
    if not scan.repeats(user_code, item_code, len(user_ids), len(item_ids)):
        return None
    pair = user_code.astype(np.int64) * len(item_ids) + item_code
    _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    row = int(np.argmax(first[inverse] < np.arange(len(pair))))
    return int(first[inverse[row]]), row


def _small(ids: Ids) -> bool:
    """Whether ids can be places in a table as they are."""
    return ids.dtype.kind == "i" and len(ids) > 0 and ids.min() >= 0 and ids.max() < max(4 * len(ids), 1 << 16)


def seconds(time: Any, where: str, first_line: int) -> Ints:
    """Whole seconds from a column of float64; NaN and infinity have no integer, so they are refused here."""
    bad = np.flatnonzero(~(np.abs(time) < _EXACT))
    if len(bad):
        raise DataError(f"{where}, line {bad[0] + first_line}: the time is {time[bad[0]]}; expected seconds since 1970")
    return np.asarray(time).astype(np.int64)


def _wanted(columns: Sequence[Column]) -> str:
    return ", ".join(f"{c.name}: {_article(c.kind)}" for c in columns)


def _article(kind: Kind) -> str:
    return {
        "integer": "a whole number",
        "key": "a whole number",
        "number": "a finite number",
        "seconds": "a finite number",
        "id": "an id",
        "text": "text",
        "unused": "anything",
    }[kind]


def expect_header(body: bytes, names: Sequence[str], where: str, encoding: str, separator: str = "\t") -> None:
    """Raise unless the first line names exactly these columns."""
    found = header_of(body, where, encoding).split(separator)
    if found != list(names):
        raise DataError(f"{where}, line 1: the header is {found}, expected {list(names)}; name the right parser")


def header_of(body: bytes, where: str, encoding: str) -> str:
    """Return the first line."""
    try:
        return body.partition(b"\n")[0].decode(encoding).removeprefix("\ufeff").rstrip("\r")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}, line 1: not {encoding} text; give the file's encoding in the recipe") from error


def lines_of(body: bytes, where: str, encoding: str) -> list[str]:
    """Return the lines without their ends; the last may lack one."""
    try:
        lines = body.decode(encoding).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: not {encoding} text; give the file's encoding in the recipe") from error
    return [line.removesuffix("\r") for line in lines] if b"\r" in body else lines


def titles(body: bytes, separator: str, where: str, encoding: str, *, first_line: int) -> dict[Any, str]:
    """Read ``id<separator>title...`` lines; ids become numbers where all of them are."""
    lines = lines_of(body, where, encoding)[first_line - 1 :]
    cells = [line.split(separator, 2) for line in lines]
    for number, found in enumerate(cells, start=first_line):
        if len(found) < 2:
            raise DataError(f'{where}, line {number}: expected "item{separator}title", found {found}')
    if not cells:
        raise DataError(f"{where}: the file holds no titles")
    keys = ids(pl.Series([found[0] for found in cells]))
    return {key: found[1].strip() for key, found in zip(keys.tolist(), cells, strict=True)}
