"""``recarena run``: every chosen benchmark in turn, with a bar on a terminal and a line a run elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recarena.arena.checkout import commit_and_dirty
from recarena.arena.keeper import Keeper
from recarena.arena.machine import default_device, usable_cores
from recarena.arena.runner import Done, Machine, Plan, plan, run, valid_record
from recarena.cli.project import Project
from recarena.cli.show import console, fail, note
from recarena.contract.errors import DataError, RecarenaError
from recarena.contract.metrics import parse
from recarena.data.recipes import Benchmark


@dataclass(frozen=True)
class Options:
    """What the user asked for; names as on the command line."""

    benchmarks: list[str] = field(default_factory=list)
    implementations: list[str] = field(default_factory=list)
    seeds: int | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    limit: int | None = None
    threads: int | None = None
    device: str | None = None
    time_limit_seconds: float | None = None
    memory_limit_bytes: int | None = None


def run_benchmarks(project: Project, options: Options) -> tuple[list[Benchmark], int]:
    """Run everything chosen; return the benchmarks that could be prepared, and how many runs failed.

    A benchmark that was named and cannot run is an error; one that was not named is left out with its reason.
    """
    chosen = project.benchmarks(options.benchmarks)
    implementations = project.found.select(options.implementations)
    for name, reason in project.found.broken.items():
        if not options.implementations:
            fail(f"{name} is left out: {reason}")
    lent = Machine(
        threads=options.threads or usable_cores(),
        device=options.device or default_device(),
        time_limit_seconds=options.time_limit_seconds,
        memory_limit_bytes=options.memory_limit_bytes,
    )
    if lent.device not in ("cpu", "cuda"):
        raise RecarenaError(f'--device {lent.device}: expected "cpu" or "cuda"')
    commit, dirty = commit_and_dirty(project.root)
    played: list[Benchmark] = []
    counts: Counter[str] = Counter()
    left_out = 0
    with Keeper(project.root, project.cache) as keeper:
        for benchmark in chosen:
            try:
                questions = keeper.questions(benchmark.name, options.limit)
            except DataError as error:
                if benchmark.name in options.benchmarks:
                    raise
                note(f"{benchmark.name} cannot run here: {error}")
                continue
            plans, cannot = plan(
                benchmark,
                questions,
                implementations,
                project.results,
                project.cache,
                lent,
                options.seeds,
                options.overrides,
                note,
                build=bool(options.implementations),  # nobody downloads a peer's libraries without asking for it
            )
            for name, reason in cannot.items():
                left_out += 1
                note(f"{benchmark.name}: {name} cannot run here: {reason}")
            for reason, rows in questions[0].dropped.items():
                if rows:
                    note(f"{benchmark.name}: {rows:,} rows left out: {reason}")
            counts.update(_run_one(benchmark, plans, keeper, lent, commit, dirty))
            played.append(benchmark)
    if not counts and options.implementations and not left_out:
        kinds = {kind for one in implementations for kind in one.kinds}
        fitting = [b.name for b in project.benchmarks([]) if kinds & {ask.kind for ask in b.asks.values()}]
        raise RecarenaError(
            f"nothing to run: {' '.join(options.implementations)} answers {', '.join(sorted(kinds))} asks only; "
            f"benchmarks with such: {', '.join(fitting)}"
        )
    summary = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    console.print(f"[bold]{summary or 'nothing was run'}[/]")
    return played, counts["failed"] + counts["timeout"] + (left_out if options.implementations else 0)


def _run_one(
    benchmark: Benchmark, plans: Sequence[Plan], keeper: Keeper, lent: Machine, commit: str | None, dirty: bool
) -> Counter[str]:
    counts: Counter[str] = Counter()
    todo = sum(valid_record(one) is None for one in plans)
    known = len(plans) - todo
    console.print(
        f"[bold]{benchmark.name}[/] · {escape(benchmark.title)} · {todo} {_runs(todo)}"
        + (f", {known} known" if known else ""),
        soft_wrap=True,
    )
    # lines on a pipe or in a log, a moving bar on a terminal
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[doing]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or bool(os.environ.get("RECARENA_NO_BAR")),
    ) as bars:
        whole = bars.add_task(benchmark.name, total=todo, doing=f"0 of {todo}")
        current = bars.add_task("", total=1, doing="", visible=False)
        shown: set[str] = set()  # failures whose lines have been printed

        def on_event(one: Plan, event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "phase" and event["name"] == "load":
                bars.reset(current, description=_label(one), total=1, doing="loading", visible=True)
            elif kind == "phase":
                bars.update(current, doing=str(event["name"]))
            elif kind == "progress":
                bars.update(current, completed=event["done"], total=max(1, event["total"]))
            elif kind == "log":
                curve = "  ".join(f"{name} {value:.4g}" for name, value in list(event["values"].items())[:3])
                bars.update(current, doing=escape(curve))

        for done in run(plans, keeper, lent, commit, dirty, on_event):
            counts["known" if done.reused else done.record.status] += 1
            bars.update(current, visible=False)
            if not done.reused:
                made = sum(counts.values()) - counts["known"]
                bars.update(whole, completed=made, doing=f"{made} of {todo}")
                console.print(_line(done, shown), soft_wrap=True)
    return counts


def _runs(count: int) -> str:
    return "run" if count == 1 else "runs"


def _label(one: Plan) -> str:
    fold = f"{one.question.fold}  " if one.question.fold else ""
    return f"{one.benchmark.name}  {fold}seed {one.seed}  {one.implementation.name}"


def _line(done: Done, shown: set[str]) -> str:
    record = done.record
    label = f"  {escape(_label(done.plan)):<48}"
    if record.status != "ok":
        colour = "yellow" if record.status == "skipped" else "red"
        told = f"{done.plan.implementation.name} {record.reason}"
        lines = "" if told in shown else "".join(f"\n      {escape(line)}" for line in record.last_lines[-6:])
        shown.add(told)  # every fold and seed would say the same
        return f"{label} [{colour}]{record.status}: {escape(record.reason or '')}[/]{lines}"
    firsts = []
    for name, result in record.asks.items():
        metric = done.plan.benchmark.asks[name].metrics[0]
        firsts.append(f"{parse(metric).label} {result.metrics[metric]:.4f}")
    fit = record.cost.fit_seconds if record.cost else 0.0
    asked = sum(record.cost.answer_seconds.values()) if record.cost else 0.0
    some = f"  (on {record.limited} queries only)" if record.limited is not None else ""
    return f"{label} {'  '.join(firsts)}  fit {fit:.2f} s  ask {asked:.2f} s{some}"
