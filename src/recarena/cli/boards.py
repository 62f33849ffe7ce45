"""``recarena board``: written pages, a terminal's tables, and the check that both equal the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recarena.boards.render import claims, costs, evidence, overview, ranking_table, standings
from recarena.boards.render import markdown as page
from recarena.cli.project import Project
from recarena.cli.show import console, note, short, table
from recarena.data.recipes import Benchmark
from recarena.judge.records import replace

FRONT_BOARD = "ml-100k-rate"  # shown in the project's README, between these two lines
OPENING, CLOSING = "<!-- board -->", "<!-- /board -->"


def pages(project: Project, benchmarks: Sequence[Benchmark] | None = None) -> dict[Path, str]:
    """Return path -> text of the boards, of the board of boards, and of the README that shows one of them."""
    recorded = project.recorded()
    boards = {one.name: project.board(one) for one in recorded}
    wanted = [one.name for one in benchmarks] if benchmarks is not None else list(boards)
    written = {project.results / name / "README.md": page(boards[name]) for name in wanted if name in boards}
    if boards:
        written[project.results / "README.md"] = overview(list(boards.values()))
    front = project.root / "README.md"
    if project.results == project.root / "results" and FRONT_BOARD in boards and front.exists():
        before, opening, rest = front.read_text(encoding="utf-8").partition(OPENING)
        _, closing, after = rest.partition(CLOSING)
        if opening and closing:
            shown = ranking_table(boards[FRONT_BOARD].rankings[0])
            written[front] = f"{before}{OPENING}\n\n{shown}\n\n{CLOSING}{after}"
    return written


def write_boards(project: Project, benchmarks: Sequence[Benchmark]) -> None:
    """Write the pages of some benchmarks and the board of boards."""
    for path, text in pages(project, benchmarks).items():
        replace(path, text.encode())


def check_boards(project: Project) -> list[str]:
    """Return what is wrong with the written pages: one line a page, none where all is well."""
    wrong = []
    for path, text in pages(project).items():
        name = path.relative_to(project.results.parent).as_posix()
        if not path.exists():
            wrong.append(f"{name}: missing; `recarena board` writes it")
        elif path.read_text(encoding="utf-8") != text:
            wrong.append(
                f"{name}: differs from a fresh render of the records; never edit it, `recarena board` writes it"
            )
    return wrong


def print_board(project: Project, benchmark: Benchmark, markdown: bool = False) -> None:
    """Print a board: its tables, or the whole page as markdown."""
    made = project.board(benchmark)
    if markdown:
        console.out(page(made), highlight=False)
        return
    for ranking in made.rankings:
        name = f" · {ranking.ask}" if len(made.rankings) > 1 else ""
        title = f"{made.about.name}{name} · {made.about.title}"
        if not ranking.rows:
            console.print(f"[bold]{title}[/]: no row yet")
            continue
        frame, alignment = standings(ranking, console.width)
        bold = {c: _best(frame[c], "↑" in c) for c in frame.columns if c.endswith(("↑", "↓"))}
        table(frame, alignment, title, bold)
        table(*costs(ranking))
        for line in evidence(ranking):
            note(line)
        if ranking.claims:
            table(*claims(ranking))
    for name, reason in made.not_ranked:
        note(f"not ranked: {name}: {reason}")
    written = project.results / benchmark.name / "README.md"
    if written.exists():
        note(f"notes, departures and how to read it: {short(written)}")
    console.print()


def _best(cells: Sequence[str], higher: bool) -> int:
    numbers = [(float(c), i) for i, c in enumerate(cells) if c and not c.startswith("*")]
    return (max if higher else min)(numbers)[1] if numbers else -1
