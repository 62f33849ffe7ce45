"""``recarena question export`` and ``recarena submit``: a question to take away, predictions to hand in."""

from __future__ import annotations

from pathlib import Path

from recarena.arena.checkout import commit_and_dirty
from recarena.arena.keeper import Keeper
from recarena.arena.published import export
from recarena.arena.submission import PAPER, Submission, submit
from recarena.cli.boards import print_board, write_boards
from recarena.cli.project import Project
from recarena.cli.show import console, note, short
from recarena.data.folders import load_benchmark


def export_question(project: Project, name: str, folder: Path) -> None:
    """Write a benchmark's questions and the page that says what to hand back."""
    benchmark = load_benchmark(project.root, name)
    with Keeper(project.root, project.cache) as keeper:
        written = export(benchmark, keeper.questions(name), keeper, folder)
    console.print(
        f"wrote {len(written)} {'question' if len(written) == 1 else 'questions'} and README.md to {short(folder)}; "
        f"it says what to hand back",
        soft_wrap=True,
    )


def submit_predictions(
    project: Project, name: str, path: Path, who: str, paper: str | None, replace: bool = False
) -> None:
    """Judge files of predictions, write their records and the board, and print it."""
    one = Submission(path, who, paper or PAPER)
    one.check_names()
    benchmark = load_benchmark(project.root, name)
    project.check_results()
    commit, dirty = commit_and_dirty(project.root)
    with Keeper(project.root, project.cache) as keeper:
        questions = keeper.questions(name)
        _, known = submit(one, benchmark, questions, keeper, project.results, commit, dirty, replace)
    write_boards(project, [benchmark])
    print_board(project, benchmark)
    said = "is there already" if known else "judged"
    note(f"{one.paper}/{one.who}, predictions only, {said}: {short(project.results / name / one.row)}")
    if dirty and not known and commit is not None:
        note("uncommitted changes beside results/: records are committed only from a clean commit; submit again then")
