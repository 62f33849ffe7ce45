"""From raw rows to a question and its answers: the only place where both exist. Parent process only.

A question must not depend on what is held out (law 1). So users and items are numbered by a shuffle that is seeded by
the benchmark's name and version and the fold's name, and by nothing else, and the splits hold out rows by their place,
never by their item. Folds have numbers of their own because one fold's training rows are another's answers.

Raw ids are turned into codes once (``Table``), then each fold is one sort of its rows; every list of the question and
the answers is a part of that order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Bools, Ints, Ragged
from recarena.contract.errors import DataError
from recarena.contract.features import Features
from recarena.contract.queries import DetectQueries, Interactions, Queries, RankQueries, RateQueries
from recarena.contract.questions import Question, Train
from recarena.contract.validation import ValidationAsk
from recarena.data import injection, interactions
from recarena.data.folders import load_benchmark, load_dataset
from recarena.data.ordering import ordered, tally
from recarena.data.passes import mark
from recarena.data.raw import Candidates, Ids, Raw
from recarena.data.recipes import Ask, Benchmark, DetectAsk, RankAsk, RateAsk
from recarena.data.sides import features
from recarena.data.sources import Say, to_stderr
from recarena.data.splits import NOTHING, SPLITS, Held, RowSplit
from recarena.data.tables import Table, table


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
    dataset = load_dataset(root, benchmark.dataset)
    # no name for the rows here: they go when they are coded
    return benchmark, prepare(
        benchmark, interactions.load(dataset, cache, needs=benchmark.needs, progress=progress, say=say).raw
    )


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
    _check_columns(benchmark, raw, where)
    try:
        coded, rows, filtered = table(raw, benchmark.filters, benchmark.label)
        try:
            splits = _split(benchmark, coded.rows)
        except DataError:
            # says the same of the raw ids, which a person can look up
            _split(benchmark, raw if rows is None else raw.take(rows))
            raise
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    del raw, rows  # columns as long as the data make room for others
    key = coded.rows.places() if benchmark.order == "time" else None
    folds = []
    while splits:  # one after the other, so that a fold's row numbers go when its arrays are there
        fold = _Fold(benchmark, coded, splits.pop(0), key)
        if not splits:
            del coded, key
        folds.append(fold.prepared(filtered))
    return folds


def _check_columns(benchmark: Benchmark, raw: Raw, where: str) -> None:
    """Raise unless the rows have the columns that a benchmark shows or asks for."""
    if "time" in benchmark.columns and raw.time is None:
        raise DataError(
            f'{where}: columns name "time", but these rows have no times; load them from a source with times'
        )
    for part in benchmark.features:
        if getattr(raw, part) is None:
            raise DataError(
                f'{where}: features name "{part}", but the source of {benchmark.dataset} says nothing about them; '
                "use a source that does, or take the features out"
            )
    asks_value = benchmark.label is not None or any(isinstance(ask, RateAsk) for ask in benchmark.asks.values())
    if raw.value is None and ("value" in benchmark.columns or asks_value):
        what = "asks for values" if asks_value else 'columns name "value"'
        raise DataError(
            f"{where}: {what}, but the rows of {benchmark.dataset} have none: they say only what happened; "
            "use a dataset with ratings, or rank asks without the column"
        )


def _split(benchmark: Benchmark, rows: Raw) -> list[RowSplit]:
    """Call the benchmark's split; rows without a place in an order are an error here, where the order is wanted."""
    splits = SPLITS[benchmark.split.name](rows, **benchmark.split.model_dump(exclude={"name"}))
    if benchmark.order == "time":
        rows.places()
    return splits


def numbering_rng(benchmark: Benchmark, fold: str, of: str) -> np.random.Generator:
    """Return the generator that shuffles "users", "items" or "queries" of a fold; its seed is in these names alone."""
    names = "\0".join(["recarena numbering", benchmark.name, str(benchmark.version), fold, of])
    digest = hashlib.sha256(names.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


# what a row is for, one bit each; a row may be shown in several histories
TRAIN, VALIDATION, TEST, VALIDATION_HISTORY, TEST_HISTORY = (1 << bit for bit in range(5))


class _Fold:
    """One fold's rows in the order of its question, and the arrays cut from them.

    Attributes:
        order: the rows that are not dropped, by user and, within a user, by place in time, or by item where the
            benchmark has no order; held-out users come after the training users, in the order they are asked.
        items: code of every item, by its number.
        users: code of every training user, by its number.
        coded: the raw ids, and the columns but for users and items, which the order holds.
        split: what is asked, without its row numbers, which the order's bits say.
    """

    def __init__(self, benchmark: Benchmark, coded: Table, split: RowSplit, key: Ints | None) -> None:
        self.benchmark, raw = benchmark, coded.rows
        bits, self.history_bits = _bits(split, len(raw))
        found = tally(raw.user, raw.item, bits, len(coded.user_ids), len(coded.item_ids))
        # Where users are known, everyone and everything that is not dropped is in the catalogue, whatever is held out;
        # held-out users know only what the training users have (Liang et al.).
        has_item = found.item_bits != 0
        if raw.candidates is not None:
            has_item[raw.candidates.item.values] = True
        self.items = np.flatnonzero(has_item)
        if benchmark.numbering == "shuffled":
            self.items = numbering_rng(benchmark, split.name, "items").permutation(self.items)
        known = split.test.known_users
        has_user = (found.user_bits if known else found.user_bits & np.int8(TRAIN)) != 0
        self.users = numbering_rng(benchmark, split.name, "users").permutation(np.flatnonzero(has_user))
        numbered = self.users
        if not known:  # a stream of its own, so that the order of the queries says nothing about the numbers
            outside = np.flatnonzero(~has_user)
            place = numbering_rng(benchmark, split.name, "queries").permutation(len(outside))
            numbered = np.concatenate([self.users, np.empty_like(outside)])
            numbered[len(self.users) + place] = outside
        self.item_number = _inverse(self.items, len(coded.item_ids))
        self.order = ordered(raw.user, raw.item, bits, found, numbered, self.item_number, key)
        self.split = _spent(split)
        self.coded = replace(coded, rows=replace(raw, user=NOTHING, item=NOTHING))

    def prepared(self, filtered: Mapping[str, int]) -> Prepared:
        """Build the fold: its question, its answers, and what was dropped."""
        split = self.split
        if not self.order.holds(TEST):
            raise DataError(
                f"benchmarks/{self.benchmark.name}.toml: split {self.benchmark.split.name} leaves nothing to ask: no "
                "user has enough rows; loosen the filters or use a larger dataset"
            )
        asks: dict[str, Queries] = {}
        answers: dict[str, Answers] = {}
        validation: dict[str, ValidationAsk] = {}
        for name, ask in self.benchmark.asks.items():
            asks[name], answers[name] = self.ask(ask, split.test, TEST, name)
            if isinstance(ask, DetectAsk):  # nobody is told what tampering looks like
                continue
            if split.validation is not None and self.order.holds(VALIDATION):
                queries, values = self.ask(ask, split.validation, VALIDATION, name)
                validation[name] = ValidationAsk(queries, values, ask.metrics[0])
        train = Train(self.interactions, validation, *self.features())
        dropped = dict(filtered) | {reason: len(rows) for reason, rows in split.dropped.items()}
        ids = self.coded
        catalogue = Catalogue(ids.user_ids[self.users], ids.item_ids[self.items], ids.rows.titles)
        return Prepared(split.name, Question(train, asks), answers, catalogue, dropped)

    @cached_property
    def interactions(self) -> Interactions:
        """The training rows."""
        raw, columns, lengths = self.coded.rows, self.benchmark.columns, self.order.lengths(TRAIN)
        value = raw.value if "value" in columns else None
        time = raw.time if "time" in columns else None
        return Interactions(
            user=_repeated(lengths),
            item=self.order.items(TRAIN, lengths),
            value=None if value is None else self.order.column(value, TRAIN, lengths),
            time=None if time is None else self.order.column(time, TRAIN, lengths),
            n_users=len(self.users),
            n_items=len(self.items),
        )

    def features(self) -> tuple[Features | None, Features | None]:
        """Facts about the training users and about the items, by their numbers, where the benchmark names them."""
        ids, wanted = self.coded, self.benchmark.features
        users, items = ids.rows.users, ids.rows.items
        return (
            features(users, ids.user_ids[self.users]) if "users" in wanted and users is not None else None,
            features(items, ids.item_ids[self.items]) if "items" in wanted and items is not None else None,
        )

    def ask(self, ask: Ask, held: Held, target: int, name: str) -> tuple[Queries, Answers]:
        """The queries and answers of one ask; ``target`` is the bit of the rows to guess."""
        if isinstance(ask, RateAsk):
            return self.rate(target)
        if isinstance(ask, DetectAsk):
            return self.detect(ask, name)
        return self.rank(ask, held, target)

    def rate(self, target: int) -> tuple[RateQueries, RateAnswers]:
        """One query per target row, by (user, item)."""
        raw, lengths = self.coded.rows, self.order.lengths(target)
        item, rows = self.order.pick(target, lengths)
        time = raw.time.take(rows) if raw.time is not None and "time" in self.benchmark.columns else None
        assert raw.value is not None  # noqa: S101 - _check_columns
        return RateQueries(_repeated(lengths), item, time), RateAnswers(raw.value.take(rows))

    def detect(self, ask: DetectAsk, name: str) -> tuple[DetectQueries, RateAnswers]:
        """One query per test user, some of them tampered with; the answer is 1 for these."""
        asked = self.order.lengths(TEST) > 0
        histories = self.order.lists(self.history_bits[TEST] | TEST, asked, by_item=True)
        rng = numbering_rng(self.benchmark, self.split.name, f"tampering {name}")
        histories, changed = injection.tampered(
            histories, self.popularity, ask.profile, ask.strength, ask.fraction, rng
        )
        return DetectQueries(histories, len(self.items)), RateAnswers(changed.astype(np.float32))

    def rank(self, ask: RankAsk, held: Held, target: int) -> tuple[RankQueries, RankAnswers]:
        """One query per user with a target, by the user's number (held-out users: in a shuffled order)."""
        asked = self.order.lengths(target) > 0
        shown = self.history_bits[target]
        history = self.history(shown, asked)
        exclude: Ragged | None = history
        if ask.exclude == "nothing":
            exclude = None
        elif (
            ask.exclude == "history+validation"
            and target == TEST
            and held.known_users
            and self.order.lengths(shown | VALIDATION).sum() > self.order.lengths(shown).sum()
        ):
            exclude = self.order.lists(shown | VALIDATION, asked, by_item=True)
        relevant = self.order.lists(target, asked, by_item=True)
        queries = RankQueries(
            user=np.flatnonzero(asked).astype(np.int32) if held.known_users else None,
            history=history,
            exclude=exclude,
            candidates=None if held.candidates is None else self.candidates(held.candidates, asked, relevant),
            k=ask.k,
            n_items=len(self.items),
        )
        wanted = any(name.startswith("novelty@") for name in ask.metrics)
        return queries, RankAnswers(relevant, self.popularity if wanted else None)

    def candidates(self, frozen: Candidates, asked: Bools, relevant: Ragged) -> Ragged:
        """The frozen items and the targets of every query as one sorted set, which does not say which is which."""
        row = np.empty(len(self.coded.user_ids), dtype=np.int64)
        row[frozen.user] = np.arange(len(frozen.user))
        lists = frozen.item.take(row[self.users[np.flatnonzero(asked)]])
        n_items = len(self.items)
        pairs = np.concatenate(
            [
                lists.rows() * n_items + self.item_number[lists.values],
                relevant.rows() * n_items + relevant.values,
            ]
        )
        query, item = np.divmod(np.unique(pairs), n_items)
        return Ragged.from_lengths(np.bincount(query, minlength=len(relevant)), item.astype(np.int32))

    @cached_property
    def popularity(self) -> Ints:
        """(n_items,) int64 training rows of every item."""
        return np.bincount(self.interactions.item, minlength=len(self.items))

    def history(self, bits: int, asked: Bools) -> Ragged:
        """The items of the rows with some of the bits, one list per asked user, in the fold's order."""
        if bits == TRAIN and asked.all():  # the training rows themselves, without a copy
            return Ragged.from_lengths(self.order.lengths(TRAIN), self.interactions.item)
        return self.order.lists(bits, asked)


def _bits(split: RowSplit, n_rows: int) -> tuple[Ints, dict[int, int]]:
    """What each row is for, (n_rows,) int8, and the bit of the history that goes with a target's bit."""
    bits = np.zeros(n_rows, dtype=np.int8)
    mark(bits, split.train, TRAIN)
    shown: dict[int, int] = {}
    for held, target, history in (
        (split.validation, VALIDATION, VALIDATION_HISTORY),
        (split.test, TEST, TEST_HISTORY),
    ):
        if held is not None:
            mark(bits, held.target, target)
            shown[target] = TRAIN if held.history is split.train else history
            if shown[target] != TRAIN:
                mark(bits, held.history, history)
    return bits, shown


def _spent(split: RowSplit) -> RowSplit:
    """A split without the row numbers that the bits say now; they are as long as the data."""
    validation, test = (
        None if held is None else replace(held, target=NOTHING, history=NOTHING)
        for held in (split.validation, split.test)
    )
    assert test is not None  # noqa: S101 - for mypy
    return replace(split, train=NOTHING, validation=validation, test=test)


def _repeated(lengths: Ints) -> Ints:
    """Each user's number as often as it has rows, int32."""
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def _inverse(code: Ints, n_codes: int) -> Ints:
    """Return the number of every code, (n_codes,) int32, -1 where it has none."""
    number = np.full(n_codes, -1, dtype=np.int32)
    number[code] = np.arange(len(code), dtype=np.int32)
    return number
