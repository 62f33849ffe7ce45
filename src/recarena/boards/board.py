"""From records to the rows of a board: which records count, what they add up to, who shares a rank."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from recarena.contract.arrays import Floats
from recarena.contract.errors import RecarenaError
from recarena.contract.metrics import parse
from recarena.judge import receipts, records
from recarena.judge.claims import Claim, verdict
from recarena.judge.receipts import Receipt, summary
from recarena.judge.records import Record
from recarena.judge.statistics import Estimate, Scores, estimate, ranks, seed_variance

Values = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class About:
    """What a board must know of its benchmark; the recipe says all of it.

    Attributes:
        name: of the benchmark.
        version: of its recipe.
        title: one line.
        describe: one or two sentences: what is seen, what is asked.
        asks: name of the ask -> its metrics, the first one ranks.
        folds: names of the folds, ("",) where there is one only.
        as_published: items keep the numbers that their authors gave them.
    """

    name: str
    version: int
    title: str
    describe: str
    asks: Mapping[str, Sequence[str]]
    folds: Sequence[str] = ("",)
    as_published: bool = False


@dataclass(frozen=True)
class Judged:
    """A record with its values per query (None where they are too large for git) and the row it belongs to.

    Its receipts are what others say who ran it again.
    """

    row: str
    record: Record
    values: Values | None
    receipts: Sequence[Receipt] = ()


@dataclass(frozen=True)
class Row:
    """One line of a board.

    Attributes:
        rank: 1 + the number of rows that are significantly better.
        name: ``paper/who``, with its overrides.
        record: one of its records, for the facts that all of them share.
        metrics: metric -> estimate.
        claim: (verdict, words) against the claim about this implementation and the first metric, or None.
        fit_seconds: mean over seeds of the sum over folds; NaN for predictions only, which nobody ran here.
        answer_seconds: likewise, for this ask.
        peak_memory_bytes: the largest of its records; 0 for predictions only.
        peak_gpu_bytes: likewise.
        seeds: runs per fold.
        test_looks: the largest of its records.
        dirty: a record came from uncommitted code.
        verified: who ran it again and what came of it, in words; "" where nobody has.
    """

    rank: int
    name: str
    record: Record
    metrics: Mapping[str, Estimate]
    claim: tuple[str, str] | None
    fit_seconds: float
    answer_seconds: float
    peak_memory_bytes: int
    peak_gpu_bytes: int | None
    seeds: int
    test_looks: int
    dirty: bool
    verified: str = ""

    @property
    def predictions_only(self) -> bool:
        """Somebody handed in its predictions: they were judged here, and made elsewhere."""
        return self.record.implementation.kind == "submission"


@dataclass(frozen=True)
class Ranking:
    """The rows of one ask.

    Attributes:
        ask: its name.
        metrics: of the recipe; the first one ranks.
        rows: best first.
        claims: every claim about this ask with our number (None where nobody ran) and verdict.
        queries: how many, over all folds.
        folds: how many.
    """

    ask: str
    metrics: Sequence[str]
    rows: Sequence[Row]
    claims: Sequence[tuple[str, Claim, float | None, str]]
    queries: int
    folds: int


@dataclass(frozen=True)
class Board:
    """All that is shown of a benchmark."""

    about: About
    rankings: Sequence[Ranking]
    not_ranked: Sequence[tuple[str, str]] = field(default_factory=tuple)


def make(
    about: About,
    judged: Iterable[Judged],
    code: Mapping[str, str],
    claims: Iterable[tuple[str, Claim]],
    unreadable: Mapping[str, str] | None = None,
) -> Board:
    """Add records up to a board.

    Args:
        about: the benchmark.
        judged: its records.
        code: ``paper/who`` -> sha256 of its source now; a record of other code is stale.
        claims: (paper, claim) about this benchmark; those of papers without a row are left out.
        unreadable: row -> why one of its records cannot be read.
    """
    judged = list(judged)
    out: dict[str, str] = {row.replace(".", "/", 1): why for row, why in (unreadable or {}).items()}
    stale: dict[str, str] = {}
    good: dict[str, list[Judged]] = defaultdict(list)
    questions = latest_questions(about, judged)
    for one in judged:
        name = row_of(one)
        reason = why_not(about, one, code, questions)
        if reason is None:
            good[name].append(one)
        elif one.record.limited is not None:
            out.setdefault(f"{name} (limited)", _limited(one))
        elif reason.startswith("stale"):
            stale.setdefault(name, reason)
        else:
            out.setdefault(name, _in_words(one, reason))
    rows = {name: complete(about, runs) for name, runs in good.items() if name not in out}
    for name, runs in rows.items():
        if not runs:
            there = {one.record.benchmark.fold for one in good[name]}
            missing = [fold for fold in about.folds if fold not in there]
            out[name] = "incomplete: " + (f"no record of {', '.join(missing)}" if missing else "no seed has every fold")
    for name, reason in stale.items():
        if not rows.get(name):  # what is left of older code says nothing about a row that is complete
            out.setdefault(name, reason)
    kept = {name: runs for name, runs in rows.items() if runs}
    papers = {name.partition("/")[0] for name in kept}
    told = [(paper, claim) for paper, claim in claims if paper in papers]
    rankings = [_ranking(about, ask, kept, told) for ask in about.asks]
    return Board(about, rankings, sorted(out.items()))


def complete(about: About, runs: Sequence[Judged]) -> list[Judged]:
    """Return the runs of the seeds that have every fold: an interrupted seed would weigh its folds unevenly."""
    folds: dict[int, set[str]] = defaultdict(set)
    for one in runs:
        folds[one.record.seed].add(one.record.benchmark.fold)
    return [one for one in runs if folds[one.record.seed] >= set(about.folds)]


def row_of(one: Judged) -> str:
    """Return the name of a record's row: paper, who, and what was set."""
    who = one.record.implementation
    return f"{who.paper}/{who.who}" + one.row.removeprefix(f"{who.paper}.{who.who}")


def latest_questions(about: About, judged: Sequence[Judged]) -> dict[str, str]:
    """Return fold -> the question that most current records answer."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for one in judged:
        if one.record.status == "ok" and one.record.benchmark.version == about.version and one.record.limited is None:
            votes[one.record.benchmark.fold][one.record.question] += 1
    return {fold: min(count, key=lambda q, c=count: (-c[q], q)) for fold, count in votes.items()}  # type: ignore[misc]


def why_not(about: About, one: Judged, code: Mapping[str, str], questions: Mapping[str, str]) -> str | None:
    """Return why a record is not ranked, or None where it is."""
    record = one.record
    name = f"{record.implementation.paper}/{record.implementation.who}"
    if record.limited is not None:
        return "limited"
    if record.benchmark.version != about.version or record.benchmark.fold not in about.folds:
        return f"stale: benchmark version {record.benchmark.version}, now {about.version}"
    submitted = record.implementation.kind == "submission"  # its code was never here
    if name not in code and not submitted:
        return "stale: its file is gone"
    if not submitted and code[name] != record.implementation.code:
        return "stale: its code has changed since"
    if record.status != "ok":
        return record.status
    if record.question != questions[record.benchmark.fold]:
        return "stale: it answered another question than most records"
    for ask, result in record.asks.items():
        if set(about.asks.get(ask, ())) - set(result.metrics):
            return "stale: the benchmark has got another metric since"
    return None


def _limited(one: Judged) -> str:
    how = f"limited to {one.record.limited} queries"
    return how if one.record.status == "ok" else f"{how}, {one.record.status}: {one.record.reason}"


def _in_words(one: Judged, reason: str) -> str:
    record = one.record
    if reason == "skipped":
        return f"skipped: {record.reason}"
    fold = f"{record.benchmark.fold}, " if record.benchmark.fold else ""
    return f"{reason}: {record.reason} ({fold}seed {record.seed})"


def _ranking(
    about: About, ask: str, rows_of: Mapping[str, list[Judged]], claims: Sequence[tuple[str, Claim]]
) -> Ranking:
    metrics = list(about.asks[ask])
    asked = {name: runs for name, runs in rows_of.items() if all(ask in one.record.asks for one in runs)}
    table = {m: with_seed_luck({n: scores_of(n, ask, m, runs, about.folds) for n, runs in asked.items()}, asked)
             for m in metrics}  # fmt: skip
    estimates = {name: {m: estimate(table[m][name]) for m in metrics} for name in asked}
    names = sorted(asked, key=lambda name: _best_first(metrics[0], estimates[name][metrics[0]].mean, name))
    places = _places(names, table[metrics[0]], asked)
    rows = [
        _row(name, place, asked[name], estimates[name], ask, metrics[0], claims)
        for name, place in zip(names, places, strict=True)
    ]
    any_runs = next(iter(asked.values()), [])
    queries = {one.record.benchmark.fold: one.record.asks[ask].queries for one in any_runs}
    return Ranking(ask, metrics, rows, _claims(ask, claims, estimates), sum(queries.values()), len(about.folds))


def with_seed_luck(scores: Mapping[str, Scores], runs: Mapping[str, Sequence[Judged]]) -> dict[str, Scores]:
    """Give a row that ran with one seed, though the seed matters to it, the largest seed variance seen on the board."""
    seen = max((seed_variance(one) for one in scores.values()), default=0.0)
    lucky = {name for name, made in runs.items() if not made[0].record.implementation.deterministic}
    return {
        name: replace(one, unseen_seed_variance=seen) if name in lucky and one.values[0].shape[0] == 1 else one
        for name, one in scores.items()
    }


def _places(names: Sequence[str], scores: Mapping[str, Scores], runs: Mapping[str, Sequence[Judged]]) -> list[int]:
    """Return the rank of every row, best mean first; a row without values per query can only be placed by its mean."""
    testable = [name for name in names if all(one.values is not None for one in runs[name])]
    tested = dict(zip(testable, ranks([scores[name] for name in testable]), strict=True)) if testable else {}
    places = []
    for number, name in enumerate(names):
        before = sum(other not in tested for other in names[:number])
        places.append(tested[name] + before if name in tested else number + 1)
    return places


def _best_first(metric: str, mean: float, name: str) -> tuple[float, str]:
    return (-mean if parse(metric).higher_is_better else mean, name)


def scores_of(name: str, ask: str, metric: str, runs: Sequence[Judged], folds: Sequence[str]) -> Scores:
    """Gather the values per query: one (seeds, queries) array a fold."""
    by_fold: dict[str, list[Judged]] = defaultdict(list)
    for one in sorted(runs, key=lambda one: one.record.seed):
        by_fold[one.record.benchmark.fold].append(one)
    # one run without values makes the row one without values
    whole = all(one.values is not None for one in runs)
    values = [np.stack([_values(one, ask, metric, whole) for one in by_fold[fold]]) for fold in folds]
    clusters = [_clusters(by_fold[fold][0], ask) if whole else None for fold in folds]
    return Scores(name=name, metric=metric, values=values, clusters=clusters)


def _values(one: Judged, ask: str, metric: str, whole: bool) -> Floats:
    if one.values is None or not whole:
        # too large for git: one number stands for all queries, so the row shows no interval and ties with all
        result = one.record.asks[ask].metrics[metric]
        return np.array([result**2 if metric == "rmse" else result])
    if f"{ask}.{metric}" in one.values:
        return one.values[f"{ask}.{metric}"].astype(np.float64)
    error = one.values[f"{ask}.error"].astype(np.float64)
    return error**2 if metric == "rmse" else np.abs(error)


def _clusters(one: Judged, ask: str) -> np.ndarray[Any, Any] | None:
    return None if one.values is None else one.values.get(f"{ask}.user")


def _row(
    name: str,
    rank: int,
    runs: Sequence[Judged],
    estimates: Mapping[str, Estimate],
    ask: str,
    primary: str,
    claims: Sequence[tuple[str, Claim]],
) -> Row:
    made = [one.record for one in runs]
    costs = [record.cost for record in made if record.cost is not None]
    seeds = Counter(record.benchmark.fold for record in made)
    per_seed = len(made) / len(seeds)
    gpu = [cost.peak_gpu_bytes for cost in costs if cost.peak_gpu_bytes is not None]
    about = [
        verdict(claim, estimates[claim.metric].mean)
        for paper, claim in claims
        if claim.ask == ask and claim.metric == primary and f"{paper}/{claim.implementation}" == name
    ]
    return Row(
        rank=rank,
        name=name,
        record=made[0],
        metrics=estimates,
        claim=min(about, key=lambda v: v[0] == "not comparable") if about else None,
        fit_seconds=sum(cost.fit_seconds for cost in costs) / per_seed if costs else math.nan,
        answer_seconds=sum(cost.answer_seconds.get(ask, 0.0) for cost in costs) / per_seed if costs else math.nan,
        peak_memory_bytes=max((cost.peak_memory_bytes for cost in costs), default=0),
        peak_gpu_bytes=max(gpu) if gpu else None,
        seeds=min(seeds.values()),
        test_looks=max(record.test_looks for record in made),
        dirty=any(record.dirty for record in made),
        verified=summary([receipt for one in runs for receipt in one.receipts], len(made)),
    )


def _claims(
    ask: str, claims: Sequence[tuple[str, Claim]], estimates: Mapping[str, Mapping[str, Estimate]]
) -> list[tuple[str, Claim, float | None, str]]:
    shown = []
    for paper, claim in claims:
        if claim.ask != ask:
            continue
        ours = estimates.get(f"{paper}/{claim.implementation}", {}).get(claim.metric)
        words = verdict(claim, ours.mean)[1] if ours else ("not run" if claim.comparable else "not comparable")
        shown.append((paper, claim, ours.mean if ours else None, words))
    return shown


def load(results: Path, benchmark: str) -> tuple[list[Judged], dict[str, str]]:
    """Read the records of a benchmark with the values per query that lie beside them.

    Returns:
        The records, and row -> why for those that cannot be read or do not lie where their facts say: one bad file
        takes its own row off a board, and nobody else's.
    """
    judged: list[Judged] = []
    unreadable: dict[str, str] = {}
    for path in records.paths(results, benchmark):
        row = path.relative_to(results / benchmark).parts[0]
        try:
            record = records.read(path)
            place = records.path_of(results, benchmark, row, record.benchmark.fold, record.seed, record.limited)
            if path != place or not row.startswith(f"{record.implementation.paper}.{record.implementation.who}"):
                raise RecarenaError(f"{path}: its facts say that it lies elsewhere; delete it and run again")
            judged.append(Judged(row, record, records.read_values(record, path), _receipts(path)))
        except RecarenaError as error:
            unreadable.setdefault(row, f"unreadable: {str(error).removeprefix(str(results) + os.sep)}")
    return judged, unreadable


def _receipts(path: Path) -> tuple[Receipt, ...]:
    """Return a record's receipts; a broken file of them is nobody's, and takes no row off a board."""
    try:
        return receipts.read(path)
    except RecarenaError:
        return ()
