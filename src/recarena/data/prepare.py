"""From raw rows to a question and its answers: the only place where both exist. Parent process only.

A question must not depend on what is held out (law 1). So users and items are numbered by a shuffle that is seeded by
the benchmark's name and version and the fold's name, and by nothing else, and the splits hold out rows by their place,
never by their item. Folds have numbers of their own because one fold's training rows are another's answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Ints, Ragged
from recarena.contract.errors import DataError
from recarena.contract.queries import Interactions, Queries, RankQueries, RateQueries
from recarena.contract.questions import Question, Train
from recarena.contract.validation import ValidationAsk
from recarena.data import filters, interactions
from recarena.data.folders import load_benchmark, load_dataset
from recarena.data.raw import Ids, Raw
from recarena.data.recipes import Benchmark, RankAsk, RateAsk
from recarena.data.sources import Say, to_stderr
from recarena.data.splits import SPLITS, Held, RowSplit


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What the numbers of a question mean; it stays with the parent.

    Attributes:
        user_ids: (n_users,) raw id of every training user, by its number.
        item_ids: (n_items,) raw id of every item, by its number.
        titles: raw item id -> title, where the source has titles.
    """

    user_ids: Ids
    item_ids: Ids
    titles: Mapping[Any, str]


@dataclass(frozen=True, eq=False)
class Prepared:
    """One fold of a benchmark.

    Attributes:
        name: the fold's name, "" where there is one only.
        question: all that an implementation may see.
        answers: what it may not, by the ask's name.
        catalogue: what the numbers mean.
        dropped: how many rows are not in this fold, by the reason.
    """

    name: str
    question: Question
    answers: Mapping[str, Answers]
    catalogue: Catalogue
    dropped: Mapping[str, int]


def open_benchmark(
    root: Path, name: str, *, cache: Path | None = None, progress: bool = False, say: Say = to_stderr
) -> tuple[Benchmark, list[Prepared]]:
    """Load a benchmark's recipe and data, and return its folds ready to play.

    Args:
        root: the project's root (``find_root``).
        name: the benchmark.
        cache: folder for downloads; the default one if None.
        progress: draw a bar while downloading.
        say: is told the licence before a download, and why a source was passed over.

    Raises:
        DataError: a recipe, a source or the data are not what they should be.
    """
    benchmark = load_benchmark(root, name)
    loaded = interactions.load(
        load_dataset(root, benchmark.dataset), cache, needs=benchmark.needs, progress=progress, say=say
    )
    return benchmark, prepare(benchmark, loaded.raw)


def availability(root: Path, name: str, *, cache: Path | None = None) -> interactions.Availability:
    """Say whether a benchmark can run here and from which source, without fetching or reading any data."""
    benchmark = load_benchmark(root, name)
    return interactions.availability(load_dataset(root, benchmark.dataset), cache, needs=benchmark.needs)


def prepare(benchmark: Benchmark, raw: Raw) -> list[Prepared]:
    """Filter, split and number the rows of a benchmark.

    Args:
        benchmark: the recipe.
        raw: the dataset's rows, unfiltered, in the file's order.

    Returns:
        One entry per fold, each with numbers of its own.

    Raises:
        DataError: the rows lack what the benchmark needs, or a split or filter leaves nothing to ask.
    """
    where = f"benchmarks/{benchmark.name}.toml"
    if "time" in benchmark.columns and raw.time is None:
        raise DataError(
            f'{where}: columns name "time", but these rows have no times; load them from a source with times'
        )
    try:
        rows, filtered = filters.keep(raw, benchmark.filters)
        raw = raw.take(rows)
        settings = benchmark.split.model_dump(exclude={"name"})
        splits = SPLITS[benchmark.split.name](raw, **settings)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return [_Assembly(benchmark, raw, split).prepared(filtered) for split in splits]


def numbering_rng(benchmark: Benchmark, fold: str, of: str) -> np.random.Generator:
    """Return the generator that shuffles "users", "items" or "queries" of a fold; its seed is in these names alone."""
    names = "\0".join(["recarena numbering", benchmark.name, str(benchmark.version), fold, of])
    digest = hashlib.sha256(names.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


class _Assembly:
    """The numbers of one fold's rows, and the arrays built from them.

    Attributes:
        user: (n,) number of each row's user; held-out users are numbered apart, in the order they are asked.
        item: (n,) number of each row's item, -1 for items outside the vocabulary.
        key: (n,) sort key within a user: place in time, or the item's number where the benchmark has no order.
    """

    def __init__(self, benchmark: Benchmark, raw: Raw, split: RowSplit) -> None:
        self.benchmark, self.raw, self.split = benchmark, raw, split
        # Where users are known, everyone and everything is in the catalogue, whatever is held out; held-out users
        # know only what the training users have (Liang et al.).
        known = split.test.known_users
        user_ids, user = np.unique(raw.user, return_inverse=True)
        item_ids, item = np.unique(raw.item, return_inverse=True)
        in_train = split.train if not known else np.arange(len(raw))
        self.user, users = _numbers(user, in_train, len(user_ids), numbering_rng(benchmark, split.name, "users"))
        self.item, items = _numbers(item, in_train, len(item_ids), numbering_rng(benchmark, split.name, "items"))
        if not known:  # a stream of its own, so that the order of the queries says nothing about the numbers
            outside = np.setdiff1d(np.arange(len(user_ids)), users)
            place = np.empty(len(user_ids), dtype=np.int64)
            place[outside] = numbering_rng(benchmark, split.name, "queries").permutation(len(outside))
            self.user = np.where(self.user >= 0, self.user, place[user])
        self.catalogue = Catalogue(user_ids[users], item_ids[items], raw.titles)
        self.key = raw.places() if benchmark.order == "time" else self.item

    def prepared(self, filtered: Mapping[str, int]) -> Prepared:
        """Build the fold: its question, its answers, and what was dropped."""
        split = self.split
        if len(split.test.target) == 0:
            raise DataError(
                f"benchmarks/{self.benchmark.name}.toml: split {self.benchmark.split.name} leaves nothing to ask: no "
                "user has enough rows; loosen the filters or use a larger dataset"
            )
        asks: dict[str, Queries] = {}
        answers: dict[str, Answers] = {}
        validation: dict[str, ValidationAsk] = {}
        seen_later = split.validation.target if split.validation is not None else None
        for name, ask in self.benchmark.asks.items():
            asks[name], answers[name] = self.ask(ask, split.test, seen_later)
            if split.validation is not None and len(split.validation.target):
                queries, values = self.ask(ask, split.validation, None)
                validation[name] = ValidationAsk(queries, values, ask.metrics[0])
        train = Train(self.interactions(), validation)
        dropped = dict(filtered) | {reason: len(rows) for reason, rows in split.dropped.items()}
        return Prepared(split.name, Question(train, asks), answers, self.catalogue, dropped)

    def interactions(self) -> Interactions:
        """The training rows, by user and, within a user, by key."""
        rows = self.sorted(self.split.train, self.key)
        columns = self.benchmark.columns
        return Interactions(
            user=self.user[rows].astype(np.int32),
            item=self.item[rows].astype(np.int32),
            value=self.raw.value[rows] if "value" in columns else None,
            time=self.raw.time[rows] if "time" in columns and self.raw.time is not None else None,
            n_users=len(self.catalogue.user_ids),
            n_items=len(self.catalogue.item_ids),
        )

    def ask(self, ask: RateAsk | RankAsk, held: Held, validation: Ints | None) -> tuple[Queries, Answers]:
        """The queries and answers of one ask; ``validation`` holds the rows an ask may exclude besides the history."""
        if isinstance(ask, RateAsk):
            return self.rate(held)
        return self.rank(ask, held, validation)

    def rate(self, held: Held) -> tuple[RateQueries, RateAnswers]:
        """One query per target row, by (user, item)."""
        rows = self.sorted(held.target, self.item)
        time = self.raw.time[rows] if "time" in self.benchmark.columns and self.raw.time is not None else None
        queries = RateQueries(self.user[rows].astype(np.int32), self.item[rows].astype(np.int32), time)
        return queries, RateAnswers(self.raw.value[rows])

    def rank(self, ask: RankAsk, held: Held, validation: Ints | None) -> tuple[RankQueries, RankAnswers]:
        """One query per user with a target, by the user's number (held-out users: in a shuffled order)."""
        users = np.unique(self.user[held.target])
        history = self.ragged(held.history, users, self.key)
        exclude: Ragged | None = history
        if ask.exclude == "nothing":
            exclude = None
        elif ask.exclude == "history+validation" and validation is not None and held.known_users:
            more = np.union1d(held.history, validation)
            if len(more) > len(np.unique(held.history)):
                exclude = self.ragged(more, users, self.item)
        queries = RankQueries(
            user=users.astype(np.int32) if held.known_users else None,
            history=history,
            exclude=exclude,
            candidates=None,
            k=ask.k,
            n_items=len(self.catalogue.item_ids),
        )
        return queries, RankAnswers(self.ragged(held.target, users, self.item))

    def ragged(self, rows: Ints, users: Ints, key: Any) -> Ragged:
        """The items of some rows as one list per user of ``users`` (ascending), each sorted by key."""
        rows = self.sorted(rows, key)
        place = np.searchsorted(users, self.user[rows])
        asked = (place < len(users)) & (users[np.minimum(place, len(users) - 1)] == self.user[rows])
        rows, place = rows[asked], place[asked]
        return Ragged.from_lengths(np.bincount(place, minlength=len(users)), self.item[rows].astype(np.int32))

    def sorted(self, rows: Ints, key: Any) -> Ints:
        """The same rows by (user, key); ties keep the file's order."""
        rows = np.sort(rows)
        return rows[np.lexsort((key[rows], self.user[rows]))]


def _numbers(code: Ints, rows: Ints, n_codes: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Number the codes that occur in some rows, by a shuffle.

    Args:
        code: (n,) rank of each row's raw id among all raw ids.
        rows: the rows whose codes get a number.
        n_codes: how many codes there are.
        rng: shuffles.

    Returns:
        (n,) the number of each row, -1 where its code has none; and the code of every number.
    """
    present = np.unique(code[rows])
    shuffled = rng.permutation(present)
    number = np.full(n_codes, -1, dtype=np.int64)
    number[shuffled] = np.arange(len(shuffled))
    return number[code], shuffled
