"""``recarena review``: one implementation's review sheet, over the boards it has records on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recarena.boards.board import load
from recarena.boards.review import Played, of, sheet
from recarena.cli.project import Project
from recarena.cli.show import console, note, short
from recarena.contract.errors import RecarenaError, did_you_mean
from recarena.data.folders import load_dataset
from recarena.judge.records import replace


def review(project: Project, name: str, benchmarks: Sequence[str], out: Path | None) -> None:
    """Print a review sheet, or write it."""
    chosen = project.benchmarks(list(benchmarks)) if benchmarks else project.recorded()
    played = []
    names: set[str] = set()
    for benchmark in chosen:
        judged = load(project.results, benchmark.name)[0]
        names |= {f"{one.record.implementation.paper}/{one.record.implementation.who}" for one in judged}
        if own := of(name, judged):
            dataset = load_dataset(project.root, benchmark.dataset)
            # leak probes, where they have run, go here by name
            played.append(Played(benchmark, dataset, project.board(benchmark), own, probes={}))
    if not played:
        where = f" on {', '.join(benchmarks)}" if benchmarks else ""
        raise RecarenaError(
            f"no record of {name}{where}{did_you_mean(name, names)}; `recarena run -i {name}` makes one"
        )
    code = {one.name: one.code for one in project.found.implementations}
    page = sheet(name, played, code.get(name))
    if out is None:
        console.out(page, highlight=False, end="")
        return
    replace(out, page.encode())
    note(f"review sheet: {short(out)}")
