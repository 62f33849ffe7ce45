"""The runner: plans the runs, leaves out what has a record, plays the rest behind the wall, writes their records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from recarena.arena.discovery import Implementation, settings
from recarena.arena.environments import Environment, environment
from recarena.arena.events import Event, Outcome
from recarena.arena.keeper import Keeper, QuestionFacts
from recarena.arena.machine import machine
from recarena.arena.wall import Job, keep_code, play, run_folder
from recarena.contract.errors import PredictionError, RecarenaError, Skip
from recarena.data.recipes import Benchmark
from recarena.judge import records
from recarena.judge.records import AskResult, BenchmarkFacts, Cost, ImplementationFacts, Record, Values

ISOLATION: Literal["process"] = "process"


@dataclass(frozen=True)
class Machine:
    """What the runner lends to each run.

    Attributes:
        threads: cores.
        device: "cpu" or "cuda".
        time_limit_seconds: in place of the benchmark's, or None.
        memory_limit_bytes: in place of the benchmark's, or None.
    """

    threads: int
    device: str
    time_limit_seconds: float | None = None
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """One run to make.

    Attributes:
        benchmark: its recipe.
        question: one fold of it.
        implementation: whose code.
        overrides: name -> value of what --set changed.
        hyperparameters: all of them, overrides applied.
        environment: interpreter and packages.
        seed: the run's seed.
        path: where its record lies.
    """

    benchmark: Benchmark
    question: QuestionFacts
    implementation: Implementation
    overrides: dict[str, Any]
    hyperparameters: dict[str, Any]
    environment: Environment
    seed: int
    path: Path

    @property
    def asks(self) -> tuple[str, ...]:
        """The asks of the question that the implementation answers."""
        return tuple(name for name, kind in self.question.asks.items() if kind in self.implementation.kinds)

    @property
    def key(self) -> str:
        """The content address of the run."""
        code, packages = self.implementation.code, self.environment.facts
        return records.key(self.question.hash, code, self.hyperparameters, packages, self.seed)


@dataclass(frozen=True)
class Done:
    """A run that has a record now.

    Attributes:
        plan: what was to be done.
        record: what came of it.
        reused: the record was there before.
    """

    plan: Plan
    record: Record
    reused: bool


def plan(
    benchmark: Benchmark,
    questions: Sequence[QuestionFacts],
    implementations: Sequence[Implementation],
    results: Path,
    cache: Path,
    lent: Machine,
    seeds: int | None = None,
    overrides: dict[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    build: bool = True,
) -> tuple[list[Plan], dict[str, str]]:
    """Return the runs to make, and implementation -> reason for those that cannot run here.

    An implementation that answers none of the benchmark's kinds of ask is in neither.

    Args:
        benchmark: the recipe.
        questions: its folds.
        implementations: the contenders.
        results: folder of the records.
        cache: where sources, and environments of implementations that ask for their own, are kept.
        lent: what the runs will be lent.
        seeds: how many, in place of the benchmark's; a deterministic implementation gets one all the same.
        overrides: hyper-parameter -> text, from --set.
        say: told of what takes long.
        build: whether an environment may be built for an implementation that has one of its own.
    """
    plans: list[Plan] = []
    cannot: dict[str, str] = {}
    overrides = overrides or {}
    for who in implementations:
        if not any(kind in who.kinds for kind in questions[0].asks.values()):
            continue
        values = settings(who, overrides)
        changed = {name: values[name] for name in overrides if values[name] != who.hyperparameters[name]}
        row = records.row_name(who.paper, who.who, changed)
        try:
            packages = environment(who, cache, lent.device, say, build=build)
            keep_code(who, cache / "code")  # now: an edit while others run changes nothing
        except (Skip, RecarenaError) as reason:
            cannot[who.name] = str(reason)
            continue
        for question in questions:  # fold by fold: only one question lies on disk at a time
            for seed in range(1 if who.deterministic else seeds or benchmark.seeds):
                path = records.path_of(results, benchmark.name, row, question.fold, seed, question.limited)
                plans.append(Plan(benchmark, question, who, changed, values, packages, seed, path))
    return plans, cannot


def run(
    plans: Sequence[Plan],
    keeper: Keeper,
    lent: Machine,
    commit: str | None,
    dirty: bool,
    on_event: Callable[[Plan, Event], None] = lambda _plan, _event: None,
) -> Iterator[Done]:
    """Make every run that has no valid record yet, one after the other; yield each as its record is written.

    Runs that another runner is making at this moment come last: by then their records are usually there.
    """
    busy: list[Plan] = []
    for wait in (False, True):
        for one in busy if wait else plans:
            try:
                with _lock(one, keeper.cache, wait):
                    known = valid_record(one)
                    record = known or _make(one, keeper, lent, commit, dirty, on_event)
            except Timeout:
                busy.append(one)
            else:
                yield Done(one, record, reused=known is not None)


def valid_record(one: Plan) -> Record | None:
    """Return the record that makes a run needless: same key, judged by every metric or refused; never a failure."""
    record = _previous(one)
    if record is None or record.key != one.key or record.status not in ("ok", "skipped"):
        return None
    for ask, result in record.asks.items():
        if set(one.benchmark.asks[ask].metrics) - set(result.metrics):
            return None
    try:
        records.read_values(record, one.path)
    except RecarenaError:
        return None
    return record


def _previous(one: Plan) -> Record | None:
    """Return the record that lies where the run's will lie, whatever it is of; None if it is no record.

    Raises:
        RecarenaError: it was written by a newer recarena.
    """
    if not one.path.is_file():
        return None
    try:
        return records.read(one.path)
    except records.NewerRecordError:
        raise
    except RecarenaError:
        return None  # damaged: the run replaces it


@contextmanager
def _lock(one: Plan, cache: Path, wait: bool) -> Iterator[None]:
    """Hold the run's place: two runners never write one record at the same time."""
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(one.path.resolve()).encode()).hexdigest()
    with FileLock(locks / f"{name}.lock", timeout=-1 if wait else 0):
        yield


def _make(
    one: Plan,
    keeper: Keeper,
    lent: Machine,
    commit: str | None,
    dirty: bool,
    on_event: Callable[[Plan, Event], None],
) -> Record:
    previous = _previous(one)
    job = Job(
        implementation=one.implementation,
        python=one.environment.python,
        question=keeper.stage(one.question),
        asks=one.asks,
        hyperparameters=one.hyperparameters,
        seed=one.seed,
        threads=lent.threads,
        device=lent.device,
        time_limit_seconds=lent.time_limit_seconds or one.benchmark.time_limit_s,
        memory_limit_bytes=lent.memory_limit_bytes or one.benchmark.memory_limit_bytes,
    )
    asks: dict[str, AskResult] = {}
    values: Values | None = None
    with run_folder() as folder:
        outcome = play(job, folder, keeper.cache / "code", lambda event: on_event(one, event))
        if outcome.status == "ok":
            on_event(one, {"event": "phase", "name": "judge"})
            try:
                name = f"{one.implementation.paper}/{one.implementation.path.name}"
                asks, values = keeper.judge(one.question, one.asks, folder / "prediction", name, one.path)
            except PredictionError as error:
                outcome.fail(str(error))
    record = _record(one, job, outcome, asks, values, commit, dirty)
    if record.status == "ok" or not _is_good(previous, one):
        records.write(record, one.path)
        records.tidy(record, one.path)
    return record


def _is_good(previous: Record | None, one: Plan) -> bool:
    """Whether a good record of this code and question would be lost to, say, a time limit or a package of today."""
    return (
        previous is not None
        and previous.status == "ok"
        and previous.question == one.question.hash
        and previous.implementation.code == one.implementation.code
        and previous.implementation.hyperparameters == one.hyperparameters
    )


def _record(
    one: Plan,
    job: Job,
    outcome: Outcome,
    asks: dict[str, AskResult],
    values: Values | None,
    commit: str | None,
    dirty: bool,
) -> Record:
    who = one.implementation
    looked = _looked(one, judged=bool(asks))
    return Record(
        key=one.key,
        benchmark=BenchmarkFacts(name=one.benchmark.name, version=one.benchmark.version, fold=one.question.fold),
        question=one.question.hash,
        implementation=ImplementationFacts(
            paper=who.paper,
            who=who.who,
            author=who.author,
            kind=who.kind,
            code=who.code,
            departs=list(who.departs),
            deterministic=who.deterministic,
            hyperparameters=one.hyperparameters,
            overridden=sorted(one.overrides),
        ),
        seed=one.seed,
        environment=one.environment.facts,
        machine=machine(),
        isolation=ISOLATION,
        limits={
            "time_seconds": job.time_limit_seconds,
            "memory_bytes": job.memory_limit_bytes,
            "threads": job.threads,
            "device": job.device,
        },
        status=outcome.status,
        reason=outcome.reason,
        last_lines=outcome.last_lines,
        asks=asks,
        cost=_cost(outcome),
        curve=outcome.curve,
        values=values,
        test_looks=len(looked),
        looked=looked,
        limited=one.question.limited,
        commit=commit,
        dirty=dirty,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _cost(outcome: Outcome) -> Cost:
    rounded = {name: round(seconds, 4) for name, seconds in outcome.seconds.items()}
    return Cost(
        load_seconds=round(rounded.get("start", 0.0) + rounded.get("load", 0.0), 4),
        fit_seconds=rounded.get("fit", 0.0),
        answer_seconds={n.removeprefix("ask:"): s for n, s in rounded.items() if n.startswith("ask:")},
        wall_seconds=round(outcome.wall_seconds, 4),
        peak_memory_bytes=outcome.peak_memory_bytes,
        peak_gpu_bytes=outcome.peak_gpu_bytes,
        parameters=outcome.parameters,
    )


def _looked(one: Plan, judged: bool) -> list[str]:
    """Return the versions (code, settings) of this implementation whose test numbers have been seen on this fold.

    Every row of it counts, whatever its settings, and limited runs count too; seeds are not versions.
    """
    who = one.implementation
    board = one.path.parents[1 if one.question.limited is None else 2]
    looked = records.looked(board, who.paper, who.who, one.question.fold)
    if judged:
        looked.add(records.key("", who.code, one.hyperparameters, {}, 0)[:12])
    return sorted(looked)
