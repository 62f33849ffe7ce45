"""The feature vectors x of a factorization machine, as blocks: shared by every learner of this folder.

A row's x is put together from a few block rows, one per block: all that is said of its user (the id, age, gender, the
films rated ...), all that is said of its item, and the day. A block row is stored once, however many rows use it
(Rendle, "Scaling Factorization Machines to Relational Data", VLDB 2013, section 3). Within a block the columns are cut
into families, such as all user ids or all genres: libFM's attribute groups.

| block | family | x |
|:--|:--|:--|
| user | user | one-hot id |
| | age, gender, ... | one-hot: age in bands of five years, whatever category the benchmark gives |
| | rated | the items of the user's training rows, 1 / sqrt(their number) each: SVD++'s implicit history |
| item | item | one-hot id |
| | year, genres, ... | one-hot, or for tags a 1 for each |
| | rated_by | the users of the item's training rows, 1 / sqrt(their number) each: SVD++ "flipped" |
| day | day | one-hot day of the training rows; any other day has a column that no training row has |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recarena import Features, Floats, Interactions, Ints, Ragged, RateQueries, Train

BAND = {"age": 5}  # numbers become categories: bands this wide, of width 1 where nothing is said
SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Block:
    """The sparse features that one index of a row stands for; x is stored by rows.

    Attributes:
        name: "user", "item" or "day".
        families: names of the families, in the order of their columns.
        first: (families + 1,) first column of every family; the last entry is the number of columns.
        start: (n_rows + 1,) int64 where every block row starts in ``column`` and ``x``.
        column: (nonzeros,) int32, ascending within a row.
        x: (nonzeros,) float32.
    """

    name: str
    families: tuple[str, ...]
    first: Ints
    start: Ints
    column: Ints
    x: Floats

    @property
    def n_rows(self) -> int:
        """How many block rows there are."""
        return len(self.start) - 1

    @property
    def n_columns(self) -> int:
        """How many features, over all families."""
        return int(self.first[-1])

    @property
    def is_identity(self) -> bool:
        """Whether the block is one one-hot id and nothing else: row r has x = 1 in column r."""
        return self.families == (self.name,) and self.n_rows == self.n_columns

    @cached_property
    def family_of(self) -> Ints:
        """(n_columns,) int32 the family of every column."""
        return np.repeat(np.arange(len(self.families), dtype=np.int32), np.diff(self.first))

    @cached_property
    def by_column(self) -> tuple[Ints, Ints, Floats]:
        """The same by columns: where every column starts (n_columns + 1,), and the row and x of each nonzero."""
        order = np.argsort(self.column, kind="stable")
        row = np.repeat(np.arange(self.n_rows, dtype=np.int32), np.diff(self.start))
        start = np.zeros(self.n_columns + 1, np.int64)
        np.cumsum(np.bincount(self.column, minlength=self.n_columns), out=start[1:])
        return start, row[order], self.x[order]


@dataclass(frozen=True, eq=False)
class Design:
    """The blocks of a training set.

    Attributes:
        blocks: user, item, and day where it is wanted.
        days: (n_days,) int64 the days of the training rows since 1970, ascending; empty without a day block.
    """

    blocks: tuple[Block, ...]
    days: Ints

    def rows(self, events: Interactions | RateQueries) -> tuple[Ints, ...]:
        """Return the block row of every event, (n,) int32, one array for each block."""
        if len(self.blocks) == 2:
            return events.user, events.item
        if events.time is None:
            raise ValueError('fm: the family "day" needs the time of every event; leave it out on this benchmark')
        day = events.time // SECONDS_OF_A_DAY
        place = np.minimum(np.searchsorted(self.days, day), len(self.days) - 1)
        never_seen = len(self.days)
        return events.user, events.item, np.where(self.days[place] == day, place, never_seen).astype(np.int32)


def design(train: Train, families: Sequence[str] = ("user", "item")) -> Design:
    """Build the blocks of a benchmark's training set.

    Args:
        train: the training events, and the facts about users and items.
        families: what to use; ``available(train)`` says what there is.

    Raises:
        ValueError: a family that this benchmark does not give, or that is the same for every user or item.
    """
    known = available(train)
    if unknown := [name for name in families if name not in known]:
        raise ValueError(f'fm: there is no family "{unknown[0]}" here; this benchmark gives {", ".join(known)}')
    events = train.interactions
    about_user = {"user": _one_hot(np.arange(events.n_users)), **_facts(train.users)}
    about_item = {"item": _one_hot(np.arange(events.n_items)), **_facts(train.items)}
    if "rated" in families:
        about_user["rated"] = _implicit(events.user, events.item, events.n_users, events.n_items)
    if "rated_by" in families:
        about_item["rated_by"] = _implicit(events.item, events.user, events.n_items, events.n_users)
    blocks = [
        _block("user", {name: about_user[name] for name in families if name in about_user}),
        _block("item", {name: about_item[name] for name in families if name in about_item}),
    ]
    days = np.empty(0, np.int64)
    if "day" in families:
        days = np.unique(_times(events) // SECONDS_OF_A_DAY)
        blocks.append(_block("day", {"day": _one_hot(np.arange(len(days) + 1))}))
    return Design(tuple(blocks), days)


def available(train: Train) -> tuple[str, ...]:
    """Return the families that a benchmark gives and that are not the same for every user or item."""
    day = ("day",) if train.interactions.time is not None else ()
    return ("user", *_facts(train.users), "rated", "item", *_facts(train.items), "rated_by", *day)


# A family before it has its place in a block: the column and x of every block row's nonzeros, and how many columns.
_Family = tuple[Ragged, Floats, int]


def _facts(features: Features | None) -> dict[str, _Family]:
    """Every fact as a family: none of them real-valued, so that none needs a scale."""
    if features is None:
        return {}
    found = {name: _one_hot(code) for name, code in features.category.items()}
    for name, number in features.number.items():
        band = np.floor(number / BAND.get(name, 1))
        known = ~np.isnan(band)
        code = np.full(len(band), -1)
        code[known] = np.unique(band[known], return_inverse=True)[1]
        found[name] = _one_hot(code)
    for name, tags in features.tags.items():
        found[name] = tags, np.ones(len(tags.values), np.float32), len(features.labels[name])
    return {name: found[name] for name in sorted(found) if not _constant(found[name])}


def _constant(family: _Family) -> bool:
    """Whether every block row has the same x: that is w_0's to say. A family without any x is one of them."""
    lists, x, _ = family
    width = len(lists.values) // max(len(lists), 1)
    if (lists.lengths != width).any():
        return False
    column, value = lists.values.reshape(len(lists), width), x.reshape(len(lists), width)
    return bool((column == column[:1]).all() and (value == value[:1]).all())


def _one_hot(code: Ints) -> _Family:
    """One column a code; -1 has none."""
    known = code >= 0
    column = code[known].astype(np.int32)
    return (
        Ragged.from_lengths(known.astype(np.int64), column),
        np.ones(len(column), np.float32),
        int(code.max(initial=-1)) + 1,
    )


def _implicit(row: Ints, column: Ints, n_rows: int, n_columns: int) -> _Family:
    """The columns that each row occurs with, 1 / sqrt(their number) each."""
    pairs = np.lexsort((column, row))
    lists = Ragged.from_lengths(np.bincount(row, minlength=n_rows), column[pairs].astype(np.int32))
    lengths = lists.lengths
    return lists, np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths).astype(np.float32), n_columns


def _block(name: str, families: dict[str, _Family]) -> Block:
    """Put families side by side, each with columns of its own."""
    if not families:
        raise ValueError(f'fm: no family of the block "{name}" is named; name "{name}" at least')
    first = np.concatenate([[0], np.cumsum([n_columns for _, _, n_columns in families.values()])])
    lengths = np.sum([lists.lengths for lists, _, _ in families.values()], axis=0)
    start = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=start[1:])
    column, x = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)
    place = start[:-1].copy()  # where the next family's part of every row goes
    for (lists, value, _), offset in zip(families.values(), first[:-1], strict=True):
        within = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
        at = np.repeat(place, lists.lengths) + within
        column[at], x[at] = lists.values + offset, value
        place += lists.lengths
    return Block(name, tuple(families), first, start, column, x)


def _times(events: Interactions) -> Ints:
    assert events.time is not None  # noqa: S101 - `available` says so
    return events.time
