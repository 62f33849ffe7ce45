"""``recarena check``: what every implementation must pass, on boards so small that it takes seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.markup import escape

from recarena.arena.keeper import Keeper
from recarena.arena.runner import Machine, Plan, plan, run
from recarena.cli.project import TINY, Project
from recarena.cli.show import console
from recarena.data.folders import benchmark_names
from recarena.judge.records import Record

LENT = Machine(threads=1, device="cpu", time_limit_seconds=60)


@dataclass(frozen=True)
class Verdict:
    """What conformance found.

    Attributes:
        implementation: ``paper/who``.
        benchmark: the tiny board and its fold, "" where the file itself is broken.
        wrong: what is wrong in one sentence; None where all is well.
        lines: the traceback or last output.
        skipped: the implementation's own reason not to play.
    """

    implementation: str
    benchmark: str
    wrong: str | None
    lines: tuple[str, ...] = ()
    skipped: str | None = None


def conform(project: Project, names: list[str], say: Callable[[str], None] = lambda _: None) -> Iterator[Verdict]:
    """Play implementations twice on every tiny board: the same numbers must come out.

    The second time with the same seed; with another one where the implementation says that the seed changes nothing.
    """
    if not names:
        for name, reason in project.found.broken.items():
            yield Verdict(name, "", reason)
    chosen = project.found.select(names)
    boards = [name for name in benchmark_names(project.root) if name.startswith(TINY)]
    with (
        tempfile.TemporaryDirectory(prefix="recarena-check-") as folder,
        Keeper(project.root, project.cache) as keeper,
    ):
        for benchmark in project.benchmarks(boards):
            questions = keeper.questions(benchmark.name)
            plans, cannot = plan(
                benchmark,
                questions,
                chosen,
                Path(folder) / "first",
                project.cache,
                LENT,
                seeds=1,
                say=say,
                build=bool(names),
            )
            for name, reason in cannot.items():
                # asked for by name, it is no pass; otherwise a heavy package is nobody's duty
                yield Verdict(name, benchmark.name, f"cannot run here: {reason}" if names else None, skipped=reason)
            hopeless: set[str] = set()
            for one in plans:
                if one.implementation.name not in hopeless:
                    verdict = _twice(one, keeper, Path(folder) / "second")
                    if verdict.wrong:
                        hopeless.add(one.implementation.name)  # the other folds would say the same
                    yield verdict


def _twice(one: Plan, keeper: Keeper, elsewhere: Path) -> Verdict:
    (first,) = (done.record for done in run([one], keeper, LENT, commit=None, dirty=True))
    name, board = one.implementation.name, f"{one.benchmark.name} {one.question.fold}".strip()
    if first.status != "ok":
        return _failed(name, board, first)
    seed = one.seed + 1 if one.implementation.deterministic else one.seed
    again = replace(one, seed=seed, path=elsewhere / one.path.name)
    (second,) = (done.record for done in run([again], keeper, LENT, commit=None, dirty=True))
    if second.status != "ok":
        return _failed(name, board, second)
    if first.values is None or second.values is None or first.values.sha256 != second.values.sha256:
        wrong = "two runs with the same seed differ; everything random must come from run.rng or run.seed"
        if seed != one.seed:
            wrong = "it says deterministic=True, but another seed gives other numbers; take that out"
        return Verdict(name, board, wrong)
    return Verdict(name, board, None)


def _failed(name: str, board: str, record: Record) -> Verdict:
    if record.status == "skipped":
        return Verdict(name, board, None, skipped=record.reason)
    return Verdict(name, board, record.reason, tuple(record.last_lines))


def verdicts(found: Iterator[Verdict]) -> int:
    """Print verdicts as they come; return how many are bad."""
    bad = good = 0
    for one in found:
        label = f"{one.implementation:<28} {one.benchmark:<17}"
        if one.wrong is not None:
            bad += 1
            console.print(f"[red]✗[/] {escape(label)} {escape(one.wrong)}", soft_wrap=True)
            for line in one.lines[-12:]:
                console.print(f"      {escape(line)}", soft_wrap=True)
        elif one.skipped is not None:
            console.print(f"[yellow]–[/] {escape(label)} skipped: {escape(one.skipped)}", soft_wrap=True)
        else:
            good += 1
            console.print(f"[green]✓[/] {escape(label)}")
    console.print(f"[bold]{good} passed, {bad} failed[/]")
    return bad
