"""Tables of facts about users and items: one row each, beside the interactions.

The same data set gives the same facts from every source, so what one source words differently is brought to one form
here: a film's year is the one that ends its title, a postal code is kept as its first character (in the United States
a region), and a cell that says nothing is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from recarena.contract.arrays import Floats, Ragged
from recarena.contract.errors import DataError
from recarena.data.parsers import recbole
from recarena.data.parsers.tables import ids, lines_of
from recarena.data.sides import Side

# the columns of u.item after the address, in the order of u.genre
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_YEAR = re.compile(r"\((\d{4})\)\s*$")


def u_user(body: bytes, where: str, encoding: str) -> Side:
    """MovieLens 100K: ``user|age|gender|occupation|postal code``."""
    user, age, gender, occupation, code = _cells(body, where, encoding, "|", 5)
    return _people(user, age, gender, occupation, code, where)


def users_dat(body: bytes, where: str, encoding: str) -> Side:
    """MovieLens 1M: ``user::gender::age::occupation::postal code``.

    The age is the first year of a band, the occupation a code.
    """
    user, gender, age, occupation, code = _cells(body, where, encoding, "::", 5)
    return _people(user, age, gender, occupation, code, where)


def u_item(body: bytes, where: str, encoding: str) -> Side:
    """MovieLens 100K: ``item|title (year)|date|video date|address|`` and a flag for each of 19 genres."""
    item, title, *rest = _cells(body, where, encoding, "|", 24)
    flags = list(zip(*rest[3:], strict=True))
    if any(flag not in "01" for row in flags for flag in row):
        raise DataError(f"{where}: a genre's flag is neither 0 nor 1; the file is damaged: fetch it again")
    genres = [[name for name, flag in zip(_GENRES, row, strict=True) if flag == "1"] for row in flags]
    return _films(item, [_year_of(text) for text in title], genres)


def movies_dat(body: bytes, where: str, encoding: str) -> Side:
    """MovieLens 1M and 10M: ``item::title (year)::genre|genre``."""
    item, title, genres = _cells(body, where, encoding, "::", 3)
    return _films(item, [_year_of(text) for text in title], [text.split("|") for text in genres])


def recbole_ml_100k_user(body: bytes, where: str, encoding: str) -> Side:
    """RecBole's copy of ``u.user``."""
    table = _named(
        recbole.side_table(body, where, encoding), ("user_id", "age", "gender", "occupation", "zip_code"), where
    )
    user, age, gender, occupation, code = ([str(cell) for cell in column] for column in table)
    return _people(user, age, gender, occupation, code, where)


def recbole_ml_100k_item(body: bytes, where: str, encoding: str) -> Side:
    """RecBole's copy of ``u.item``: the year is cut from the title, and is no number where there is none."""
    item, year, genres = _named(recbole.side_table(body, where, encoding), ("item_id", "release_year", "class"), where)
    years = [float(text) if text.isdigit() else np.nan for text in map(str, year)]
    return _films([str(cell) for cell in item], years, genres)


def recbole_side(body: bytes, where: str, encoding: str) -> Side:
    """Any ``.user`` or ``.item`` file, its first column the id.

    A token is a category, a float a number, a sequence of words tags. Sequences of numbers are not read.
    """
    table = recbole.side_table(body, where, encoding)
    key, *names = table
    category, number, tags = {}, {}, {}
    for name in names:
        column = table[name]
        if not isinstance(column, list):
            if np.asarray(column).dtype.kind == "f":
                number[name] = np.asarray(column, np.float32)
            else:
                category[name] = np.asarray(column).astype(str)
        else:
            words = [sorted({word for word in row if isinstance(word, str)}) for row in column]
            if any(words):
                tags[name] = _tags(words)
    return Side(_distinct(np.asarray(table[key]), where), category, tags, number)


SIDE_PARSERS: dict[str, Callable[[bytes, str, str], Side]] = {
    "u.user": u_user,
    "u.item": u_item,
    "users.dat": users_dat,
    "movies.dat": movies_dat,
    "recbole.ml-100k.user": recbole_ml_100k_user,
    "recbole.ml-100k.item": recbole_ml_100k_item,
    "recbole.side": recbole_side,
}


def _people(
    user: Sequence[str], age: Sequence[str], gender: Sequence[str], occupation: Sequence[str], code: Sequence[str],
    where: str,
) -> Side:  # fmt: skip
    category = {"gender": gender, "occupation": occupation, "postal_area": [text[:1] for text in code]}
    return Side(
        _distinct(ids(pl.Series(user)), where),
        category={name: np.array(column) for name, column in category.items()},
        number={"age": _numbers(age, where)},
    )


def _films(item: Sequence[str], year: Sequence[float], genres: Sequence[Sequence[str]]) -> Side:
    return Side(ids(pl.Series(item)), tags={"genres": _tags(genres)}, number={"year": np.array(year, np.float32)})


def _tags(rows: Sequence[Sequence[str]]) -> Ragged:
    return Ragged.from_lengths(np.array([len(row) for row in rows]), np.array([word for row in rows for word in row]))


def _year_of(title: str) -> float:
    found = _YEAR.search(title)
    return float(found.group(1)) if found else float("nan")


def _numbers(cells: Sequence[str], where: str) -> Floats:
    try:
        return np.array(cells, np.float32)
    except ValueError as error:
        raise DataError(f"{where}: {error}; expected a number in every row") from None


def _cells(body: bytes, where: str, encoding: str, separator: str, n_columns: int) -> list[list[str]]:
    """The columns of a table without a header."""
    lines = lines_of(body, where, encoding)
    rows = [line.split(separator) for line in lines]
    for number, row in enumerate(rows, start=1):
        if len(row) != n_columns:
            raise DataError(
                f"{where}, line {number}: {len(row)} columns, expected {n_columns}; the file is cut off or damaged"
            )
    if not rows:
        raise DataError(f"{where}: the file holds no rows; expected one for each user or item")
    _distinct(np.array([row[0] for row in rows]), where)
    return [list(column) for column in zip(*rows, strict=True)]


def _distinct(keys: Any, where: str) -> Any:
    found, count = np.unique(keys, return_counts=True)
    if (count > 1).any():
        raise DataError(f"{where}: {found[np.argmax(count > 1)]} has two rows; expected one for each user or item")
    return keys


def _named(table: dict[str, Any], names: Sequence[str], where: str) -> list[Any]:
    if lacking := [name for name in names if name not in table]:
        raise DataError(f"{where}, line 1: no column {lacking[0]}; found {list(table)}; name the right parser")
    return [table[name] for name in names]
