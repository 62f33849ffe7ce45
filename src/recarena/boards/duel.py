"""Two rows of one board against each other: from records to facts. Pure: no clock, no files, no contender's code.

Only records that count on the board are compared: same benchmark version, same question, code of today. Whatever is
called better or worse here has passed the board's own paired test.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from recarena.boards import board
from recarena.boards.board import (
    About,
    Judged,
    Row,
    complete,
    latest_questions,
    row_of,
    scores_of,
    why_not,
    with_seed_luck,
)
from recarena.boards.examples import EXAMPLES, Example, example
from recarena.boards.slices import slices
from recarena.boards.why import Code, Why, explain
from recarena.contract.arrays import Bools, Floats
from recarena.contract.errors import RecarenaError, did_you_mean
from recarena.contract.metrics import parse
from recarena.data.prepare import Prepared
from recarena.judge.records import Record
from recarena.judge.statistics import Scores, compare, estimate, holm, seed_variance
from recarena.judge.statistics import _compare as compare_terms
from recarena.judge.statistics import _linearise as linearise

ALPHA = 0.05
FEWEST_PAIRS = 10  # a slice with fewer users or queries is shown without a test
OF_ALL_LISTS = {"auc", "coverage", "gini"}  # no query has a value of its own: neither won nor lost, and no slices
Verdict = Literal["better", "worse", "cannot be told apart", "not tested"]


@dataclass(frozen=True)
class Line:
    """One metric on some queries, a against b.

    Attributes:
        name: of the metric, or of the slice.
        axis: of the slice; "" for a metric.
        metric: such as ``rmse``.
        queries: how many, over all folds.
        a: score of the first: mean over seeds and folds.
        b: of the second.
        difference: a - b.
        low: lower end of its 95% interval; nan where nothing was tested.
        high: upper end.
        p: of the paired test, adjusted (Holm): over all pairs of the board for the metric that ranks, over the other
            metrics for these, over the slices for a slice; 1 where nothing was tested.
        pairs: independent pairs (users, or queries) that the test rests on.
        wins: queries on which a is better, its seeds averaged; None where no query has a value of its own.
        ties: queries with equal values.
        losses: queries on which b is better.
        share: of the whole difference, of the squared errors for rmse; None for a metric or where there is none.
    """

    name: str
    axis: str
    metric: str
    queries: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    pairs: int
    wins: int | None
    ties: int | None
    losses: int | None
    share: float | None = None

    @property
    def tested(self) -> bool:
        """Whether there was a paired test."""
        return bool(np.isfinite(self.low))

    @property
    def verdict(self) -> Verdict:
        """What the paired test says of a."""
        if not self.tested:
            return "not tested"
        if self.p > ALPHA:
            return "cannot be told apart"
        return "better" if (self.difference > 0) == parse(self.metric).higher_is_better else "worse"


@dataclass(frozen=True)
class AskDuel:
    """The two on one ask.

    Attributes:
        ask: its name.
        metrics: a line each; the first one ranks.
        slices: a line each, by the first metric.
        examples: the queries whose values of the first metric differ most.
        left_out: why there are no slices or no examples; "" where there are.
    """

    ask: str
    metrics: Sequence[Line]
    slices: Sequence[Line]
    examples: Sequence[Example]
    left_out: str


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: of the row, ``paper/who`` with its overrides.
        label: shorter, where that is enough to tell the two apart.
        ranks: ask -> rank on the board.
        row: its cost and its facts, on the first ask.
        records: those that count.
        curve: what it logged: name of the series -> (x, y), of the first fold's first seed.
        x: what the curve runs over, such as "epoch".
    """

    name: str
    label: str
    ranks: Mapping[str, int]
    row: Row
    records: Sequence[Record]
    curve: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x: str

    @property
    def deterministic(self) -> bool:
        """Its seed changes nothing."""
        return self.row.record.implementation.deterministic


@dataclass(frozen=True)
class Duel:
    """All that a page shows."""

    about: About
    a: Side
    b: Side
    asks: Sequence[AskDuel]
    why: Why


@dataclass(frozen=True)
class Pair:
    """Two rows of a board and their records, before anything is compared.

    Attributes:
        about: the benchmark.
        rows: (name, ask -> row of the board) of both.
        runs: the records of both that count.
        others: runs of every row that counts, for the luck of a single seed.
    """

    about: About
    rows: tuple[tuple[str, Mapping[str, Row]], tuple[str, Mapping[str, Row]]]
    runs: tuple[Sequence[Judged], Sequence[Judged]]
    others: Mapping[str, Sequence[Judged]] = field(default_factory=dict)


def pair(
    about: About,
    judged: Sequence[Judged],
    code: Mapping[str, str],
    names: tuple[str, str],
    unreadable: Mapping[str, str] | None = None,
) -> Pair:
    """Pick the records of two rows, or say why they cannot be compared.

    Args:
        about: the benchmark.
        judged: all of its records.
        code: ``paper/who`` -> sha256 of its source now.
        names: of the rows, ``paper/who`` with overrides as the board prints them.
        unreadable: row -> why one of its records cannot be read.

    Raises:
        RecarenaError: a row without records that count, or rows without a common ask.
    """
    if names[0] == names[1]:
        raise RecarenaError(f"{names[0]} against itself: name two different rows of {about.name}")
    made = board.make(about, judged, code, [], unreadable)
    ranked = {row.name for ranking in made.rankings for row in ranking.rows}
    bare = [name not in ranked and f"{name}+predictions" in ranked for name in names]  # as boards show such a row
    first, second = (name + "+predictions" if is_ else name for name, is_ in zip(names, bare, strict=True))
    names = first, second
    rows = [{ranking.ask: row for ranking in made.rankings for row in ranking.rows if row.name == n} for n in names]
    for name, found in zip(names, rows, strict=True):
        if not found:
            raise RecarenaError(_refusal(made, code, name))
    if not rows[0].keys() & rows[1].keys():
        asks = [" and ".join(f'"{ask}"' for ask in one) for one in rows]
        raise RecarenaError(
            f"{names[0]} and {names[1]} cannot be compared on {about.name}: one answers {asks[0]}, the other {asks[1]}"
        )
    asked = latest_questions(about, judged)
    good: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        if why_not(about, one, code, asked) is None:
            good[row_of(one)].append(one)
    counted = {name: complete(about, runs) for name, runs in good.items()}
    return Pair(
        about,
        ((names[0], rows[0]), (names[1], rows[1])),
        (counted[names[0]], counted[names[1]]),
        {name: runs for name, runs in counted.items() if runs},
    )


def _refusal(made: board.Board, code: Mapping[str, str], name: str) -> str:
    about, reasons = made.about, dict(made.not_ranked)
    known = [row.name for ranking in made.rankings for row in ranking.rows]
    reason = reasons.get(name) or reasons.get(f"{name} (limited)")
    again = f"`recarena run -i {name.partition('+')[0]} -b {about.name}`"
    if reason is None and name not in code:
        return f'no row "{name}" on {about.name}{did_you_mean(name, known)}'
    if reason is None:
        return f"{name} has no record on {about.name}: {again} makes one"
    after = "" if reason.startswith("skipped") else f"; only rows that rank are compared: {again}"
    return f"{name} cannot be compared on {about.name}: {reason}{after}"


def fight(
    rivals: Pair, code: tuple[Code | None, Code | None], folds: Sequence[Prepared] | None, left_out: str = ""
) -> Duel:
    """Compare two rows.

    Args:
        rivals: the rows and their records.
        code: their sources, None where one is not at hand.
        folds: the benchmark's questions and answers in the order of its folds, each the very question that the
            records answer; None where they are not at hand.
        left_out: why they are not.
    """
    about, (a, b) = rivals.about, rivals.runs
    asks = [ask for ask in about.asks if all(ask in rows for _, rows in rivals.rows)]
    labels = _labels(rivals.rows[0][0], rivals.rows[1][0])
    sides = [
        Side(
            name=name,
            label=label,
            ranks={ask: rows[ask].rank for ask in asks},
            row=rows[asks[0]],
            records=[one.record for one in runs],
            curve=_curve(runs[0].record)[1],
            x=_curve(runs[0].record)[0],
        )
        for label, (name, rows), runs in zip(labels, rivals.rows, rivals.runs, strict=True)
    ]
    why = explain(sides[0].records, sides[1].records, *code)
    return Duel(about, sides[0], sides[1], [_ask(rivals, ask, a, b, folds, left_out) for ask in asks], why)


def _labels(a: str, b: str) -> tuple[str, str]:
    short = a.partition("/")[2], b.partition("/")[2]
    return short if short[0] != short[1] else (a, b)


def _curve(record: Record) -> tuple[str, dict[str, tuple[Sequence[float], Sequence[float]]]]:
    """Return what the curve runs over, and its series: the first thing logged, if it rises, is what it runs over."""
    first = next(iter(record.curve[0]), "") if record.curve else ""
    over = [line[first] for line in record.curve if first in line]
    rises = len(over) == len(record.curve) and all(x < y for x, y in itertools.pairwise(over))
    series: dict[str, tuple[list[float], list[float]]] = {}
    for number, line in enumerate(record.curve):
        for name, value in line.items():
            if name != first or not rises:
                xs, ys = series.setdefault(name, ([], []))
                xs.append(line[first] if rises else number + 1)
                ys.append(value)
    return (first if rises else "log"), dict(series)


def _ask(
    rivals: Pair, ask: str, a: Sequence[Judged], b: Sequence[Judged], folds: Sequence[Prepared] | None, left_out: str
) -> AskDuel:
    metrics = list(rivals.about.asks[ask])
    first = [_both(rivals, ask, metric, a, b) for metric in metrics]
    made = [_line(metric, "", *both) for metric, both in zip(metrics, first, strict=True)]
    lines = [_adjusted_as_on_the_board(rivals, ask, made[0]), *_adjusted(made[1:])]
    if any(one.values is None for one in (*a, *b)):
        queries = sum({one.record.benchmark.fold: one.record.asks[ask].queries for one in a}.values())
        lines = [_untested(line, queries) for line in lines]
        left_out = "the values per query are too large for git and not in this machine's cache: nothing is tested"
    elif metrics[0].partition("@")[0] in OF_ALL_LISTS:
        left_out = f"{parse(metrics[0]).label} has no value of a single query"
    if folds is None or left_out:
        return AskDuel(ask, lines, [], [], left_out or "the data are not at hand")
    one, other = first[0]
    cut = []
    for part in slices(folds, ask):
        masked = [_masked(scores, part.masks) for scores in (one, other)]
        cut.append(replace(_line(part.name, part.axis, *masked), share=_share(one, other, part.masks)))
    examples = _examples(one, other, folds, ask, a, b)
    return AskDuel(ask, lines, _adjusted(cut), examples, "")


def _adjusted_as_on_the_board(rivals: Pair, ask: str, line: Line) -> Line:
    """Adjust the p-value of the metric that ranks over all pairs of rows, so that page and board say the same."""
    names = [name for name, _ in rivals.rows]
    runs = {name: made for name, made in rivals.others.items() if all(ask in one.record.asks for one in made)}
    runs |= dict(zip(names, rivals.runs, strict=True))
    runs = {name: made for name, made in runs.items() if all(one.values is not None for one in made)}
    if not line.tested or not runs.keys() >= set(names):
        return line
    scores = {name: scores_of(name, ask, line.metric, made, rivals.about.folds) for name, made in runs.items()}
    terms = {name: linearise(one) for name, one in with_seed_luck(scores, runs).items()}
    pairs = list(itertools.combinations(sorted(terms), 2))
    adjusted = holm([compare_terms(terms[one], terms[other]).p for one, other in pairs])
    return replace(line, p=dict(zip(pairs, adjusted, strict=True))[min(names), max(names)])


def _both(rivals: Pair, ask: str, metric: str, a: Sequence[Judged], b: Sequence[Judged]) -> tuple[Scores, Scores]:
    """Gather the values of both; a single seed, where seeds matter, is as uncertain as on the board."""
    whole = all(one.values is not None for one in (*a, *b))
    runs = {"a": a if whole else _bare(a), "b": b if whole else _bare(b)}
    folds = rivals.about.folds
    scores = {name: scores_of(name, ask, metric, made, folds) for name, made in runs.items()}
    if any(len(one.values[0]) == 1 for one in scores.values()):
        runs |= {name: made for name, made in rivals.others.items() if all(ask in one.record.asks for one in made)}
        scores |= {n: scores_of(n, ask, metric, made, folds) for n, made in runs.items() if n not in scores}
        scores = with_seed_luck(scores, runs)
    return scores["a"], scores["b"]


def _bare(runs: Sequence[Judged]) -> list[Judged]:
    return [replace(one, values=None) for one in runs]


def _masked(scores: Scores, masks: Sequence[Bools]) -> Scores:
    """Return the scores of some of the queries; a fold without any is left out."""
    kept = [fold for fold, mask in enumerate(masks) if mask.any()]
    clusters = [scores.clusters[fold] for fold in kept]
    return replace(
        scores,
        values=[scores.values[fold][:, masks[fold]] for fold in kept],
        clusters=[None if c is None else c[masks[fold]] for fold, c in zip(kept, clusters, strict=True)],
    )


def _line(name: str, axis: str, a: Scores, b: Scores) -> Line:
    if axis:  # of the slice's own seeds too, where only one side shows what seeds do
        a, b = _as_unsure(a, b), _as_unsure(b, a)
    found = compare(a, b)
    enough = found.n >= (FEWEST_PAIRS if axis else 2)
    wins, ties, losses = _wins(a, b)
    return Line(
        name=name,
        axis=axis,
        metric=a.metric,
        queries=sum(values.shape[1] for values in a.values),
        a=estimate(a).mean,
        b=estimate(b).mean,
        difference=found.difference,
        low=found.low if enough else np.nan,
        high=found.high if enough else np.nan,
        p=found.p if enough else 1.0,
        pairs=found.n,
        wins=wins,
        ties=ties,
        losses=losses,
    )


def _untested(line: Line, queries: int) -> Line:
    """Return a line of which nothing but the two scores is known."""
    scores = replace(line, queries=queries, low=np.nan, high=np.nan, p=1.0, pairs=0)
    return replace(scores, wins=None, ties=None, losses=None)


def _as_unsure(one: Scores, other: Scores) -> Scores:
    if one.unseen_seed_variance == 0:
        return one
    return replace(one, unseen_seed_variance=max(one.unseen_seed_variance, seed_variance(other)))


def _wins(a: Scores, b: Scores) -> tuple[int | None, int | None, int | None]:
    if a.metric.partition("@")[0] in OF_ALL_LISTS:
        return None, None, None
    better = np.concatenate(_gaps(a, b)) * (1 if parse(a.metric).higher_is_better else -1)
    return int((better > 0).sum()), int((better == 0).sum()), int((better < 0).sum())


def _gaps(a: Scores, b: Scores) -> list[Floats]:
    """Return a - b for every query, (q_f,) a fold, seeds averaged; 0 where float32 cannot tell them apart."""
    gaps = []
    for left, right in zip(a.values, b.values, strict=True):
        one, other = left.mean(axis=0), right.mean(axis=0)
        same = np.isclose(one, other, rtol=1e-6, atol=1e-12)
        gaps.append(np.where(same, 0.0, one - other))
    return gaps


def _share(a: Scores, b: Scores, masks: Sequence[Bools]) -> float | None:
    gaps = [gap / len(gap) for gap in _gaps(a, b)]  # folds weigh the same
    whole = sum(float(gap.sum()) for gap in gaps)
    return sum(float(gap[mask].sum()) for gap, mask in zip(gaps, masks, strict=True)) / whole if whole else None


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    """Adjust the p-values of the lines that were tested, all together."""
    p = iter(holm([line.p for line in lines if line.tested]))
    return [replace(line, p=next(p)) if line.tested else line for line in lines]


def _examples(
    one: Scores, other: Scores, folds: Sequence[Prepared], ask: str, a: Sequence[Judged], b: Sequence[Judged]
) -> list[Example]:
    gaps = _gaps(one, other)
    size = np.abs(np.concatenate(gaps))
    order = np.argsort(-size, kind="stable")[:EXAMPLES]  # equal ones in the order of folds and queries
    starts = np.cumsum([0, *map(len, gaps)])
    errors = [_errors(runs, ask, [fold.name for fold in folds]) for runs in (a, b)]
    made = []
    for place in order[size[order] > 0]:
        fold = int(np.searchsorted(starts, place, side="right")) - 1
        query = int(place - starts[fold])
        values = [float(scores.values[fold][:, query].mean()) for scores in (one, other)]
        error = [side[fold][query] if side is not None else None for side in errors]
        made.append(example(folds[fold], ask, query, (values[0], values[1]), (error[0], error[1])))
    return made


def _errors(runs: Sequence[Judged], ask: str, folds: Sequence[str]) -> list[Floats] | None:
    """Return the signed error of every query, (q_f,) a fold, mean over seeds; None where none are kept."""
    kept: dict[str, list[Floats]] = defaultdict(list)
    for one in runs:
        if one.values is None or f"{ask}.error" not in one.values:
            return None
        kept[one.record.benchmark.fold].append(one.values[f"{ask}.error"].astype(np.float64))
    return [np.mean(kept[fold], axis=0) for fold in folds]
