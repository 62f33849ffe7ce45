"""The test rows and frozen negatives of Neural Collaborative Filtering (He et al. 2017), beside MovieLens 1M's ratings.

NCF's user is MovieLens' minus 1; NCF's item is the place of the item's first appearance in ratings.dat, from 0.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from recarena.contract.arrays import Ints, Ragged
from recarena.contract.errors import DataError
from recarena.data.coding import codes
from recarena.data.parsers.tables import Column, lines_of, read
from recarena.data.raw import Candidates, Ids, Raw

_TEST = [Column(name, "integer") for name in ("user", "item", "rating", "time")]


def ncf_test(body: bytes, where: str, encoding: str, raw: Raw) -> Raw:
    """``user item rating time`` with tabs, one row per user; the rows of ``raw`` that they are become the test part."""
    user, item, rating, time = read(body, _TEST, where, encoding)
    row = _rows(raw, _raw_users(user, raw, where), _raw_items(item, raw, where), where)
    bad = np.flatnonzero(raw.value[row] != rating) if raw.value is not None else row[:0]
    if len(bad):
        assert raw.value is not None  # noqa: S101 - for mypy
        raise DataError(
            f"{where}, line {bad[0] + 1}: the rating is {rating[bad[0]]}, but the ratings' row {row[bad[0]] + 1} has "
            f"{raw.value[row[bad[0]]]:g}; the two files do not belong together: fetch both again"
        )
    bad = np.flatnonzero(raw.time[row] != time) if raw.time is not None else row[:0]
    if len(bad):
        raise DataError(
            f"{where}, line {bad[0] + 1}: the time is {time[bad[0]]}, another than in the ratings; the two files do "
            "not belong together: fetch both again"
        )
    part = np.zeros(len(raw), np.int8)
    part[row] = 2
    if int(part.astype(bool).sum()) != len(row):
        users, count = np.unique(user, return_counts=True)
        raise DataError(f"{where}: user {users[count > 1][0]} has its test row twice; expected each row once")
    return dataclasses.replace(raw, part=part)


def ncf_negatives(body: bytes, where: str, encoding: str, raw: Raw) -> Raw:
    """``(user,item)`` and 99 items, with tabs: the items that the test item is ranked among, as the file has them."""
    lines = lines_of(body, where, encoding)
    if lines == [""]:
        raise DataError(f"{where}: the file holds no rows; expected lines of (user,item) and 99 items; fetch it again")
    pairs, items = [], []
    for number, text in enumerate(lines, start=1):
        pair, *frozen = text.split("\t")
        if len(frozen) != 99:
            raise DataError(
                f"{where}, line {number}: {len(frozen)} items after {pair}, expected 99; the file is cut off or damaged"
            )
        try:
            pairs.append([int(cell) for cell in pair.removeprefix("(").removesuffix(")").split(",")])
            items.append([int(cell) for cell in frozen])
        except ValueError as error:
            raise DataError(f"{where}, line {number}: {error}; expected (user,item) and 99 items") from None
        if len(pairs[-1]) != 2:
            raise DataError(f"{where}, line {number}: the row begins with {pair}, expected (user,item)")
    asked = np.array(pairs)
    user = _raw_users(asked[:, 0], raw, where)
    row = _rows(raw, user, _raw_items(asked[:, 1], raw, where), where)
    bad = np.flatnonzero(raw.part[row] != 2) if raw.part is not None else row[:0]
    if len(bad):
        raise DataError(
            f"{where}, line {bad[0] + 1}: {tuple(pairs[bad[0]])} is not a test row; the files do not belong together"
        )
    flat = np.array(items)
    values = _raw_items(flat.ravel(), raw, where, per_line=99)
    return dataclasses.replace(
        raw, candidates=Candidates(user, Ragged.from_lengths(np.full(len(lines), 99, np.int64), values))
    )


def _raw_users(user: Ints, raw: Raw, where: str) -> Ids:
    known = np.isin(user + 1, raw.user)
    if not known.all():
        line = int(np.argmin(known)) + 1
        raise DataError(f"{where}, line {line}: user {user[line - 1]} is not among the ratings; expected user - 1")
    return user + 1


def _raw_items(item: Ints, raw: Raw, where: str, per_line: int = 1) -> Ids:
    unique, code = codes(raw.item)
    first = np.full(len(unique), len(raw))
    np.minimum.at(first, code, np.arange(len(raw)))
    by_appearance = unique[np.argsort(first)]
    bad = np.flatnonzero((item < 0) | (item >= len(unique)))
    if len(bad):
        raise DataError(
            f"{where}, line {bad[0] // per_line + 1}: item {item[bad[0]]} is not among the ratings; expected 0 to "
            f"{len(unique) - 1}, in order of first appearance"
        )
    return by_appearance[item]


def _rows(raw: Raw, user: Ids, item: Ids, where: str) -> Ints:
    """The row of every pair; an error names the first line whose pair the ratings do not hold."""
    width = int(max(raw.item.max(), item.max())) + 1
    wanted = user.astype(np.int64) * width + item
    order = np.argsort(wanted, kind="stable")
    have = raw.user.astype(np.int64) * width + raw.item
    place = np.minimum(np.searchsorted(wanted, have, sorter=order), len(wanted) - 1)
    hits = np.flatnonzero(wanted[order[place]] == have)
    row = np.full(len(wanted), -1)
    row[order[place[hits]]] = hits
    # pairs asked twice share the row of the first
    again = order[np.maximum(np.searchsorted(wanted, wanted, sorter=order), 0)]
    row = row[again]
    if row.min() < 0:
        line = int(np.argmin(row)) + 1
        raise DataError(
            f"{where}, line {line}: user {user[line - 1]} and item {item[line - 1]} are not among the ratings; the two "
            "files do not belong together: fetch both again"
        )
    return row
