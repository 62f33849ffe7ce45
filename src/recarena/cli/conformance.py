"""``recarena check``: what every implementation must pass, on boards so small that it takes seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from recarena.arena.keeper import Keeper
from recarena.arena.runner import Done, Machine, plan, run
from recarena.cli.project import TINY, Project
from recarena.cli.show import console, note
from recarena.data.folders import benchmark_names
from recarena.judge.records import Record


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


def conform(project: Project, names: list[str]) -> Iterator[Verdict]:
    """Play implementations on every tiny board twice with one seed: the same numbers must come out."""
    if not names:
        for name, reason in project.found.broken.items():
            yield Verdict(name, "", reason)
    chosen = project.found.select(names)
    lent = Machine(threads=1, device="cpu")
    boards = [name for name in benchmark_names(project.root) if name.startswith(TINY)]
    with (
        tempfile.TemporaryDirectory(prefix="recarena-check-") as folder,
        Keeper(project.root, project.cache) as keeper,
    ):
        for benchmark in project.benchmarks(boards):
            questions = keeper.questions(benchmark.name)
            twice: list[list[Done]] = []
            for again in ("first", "second"):
                plans, cannot = plan(
                    benchmark, questions, chosen, Path(folder) / again, project.cache, seeds=1, say=note
                )
                twice.append(list(run(plans, keeper, lent, commit=None, dirty=True)))
            for name, reason in cannot.items():
                yield Verdict(name, benchmark.name, None, skipped=reason)
            for first, second in zip(*twice, strict=True):
                yield _verdict(first.record, second.record)


def _verdict(first: Record, second: Record) -> Verdict:
    name = f"{first.implementation.paper}/{first.implementation.who}"
    benchmark = f"{first.benchmark.name} {first.benchmark.fold}".strip()
    for record in (first, second):
        if record.status == "skipped":
            return Verdict(name, benchmark, None, skipped=record.reason)
        if record.status != "ok":
            return Verdict(name, benchmark, record.reason, tuple(record.last_lines))
    if first.values != second.values:
        return Verdict(
            name, benchmark, "two runs with the same seed differ; everything random must come from run.rng or run.seed"
        )
    return Verdict(name, benchmark, None)


def verdicts(found: Iterator[Verdict]) -> int:
    """Print verdicts as they come; return how many are bad."""
    bad = 0
    for one in found:
        label = f"{one.implementation:<28} {one.benchmark:<14}"
        if one.wrong is not None:
            bad += 1
            console.print(f"[red]✗[/] {escape(label)} {escape(one.wrong)}", soft_wrap=True)
            for line in one.lines[-12:]:
                console.print(f"      {escape(line)}", soft_wrap=True)
        elif one.skipped is not None:
            console.print(f"[yellow]–[/] {escape(label)} skipped: {escape(one.skipped)}", soft_wrap=True)
        else:
            console.print(f"[green]✓[/] {escape(label)}")
    return bad
