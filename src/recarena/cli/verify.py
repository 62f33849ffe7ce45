"""``recarena verify``: run records again, print what came of each, write the boards that show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from recarena.arena.submission import NAME
from recarena.arena.verify import Asked, ask, verify
from recarena.cli.boards import write_boards
from recarena.cli.project import Project
from recarena.cli.show import console, fail, note, short
from recarena.contract.errors import RecarenaError
from recarena.judge import receipts, records
from recarena.judge.receipts import Receipt

COLOURS = {"reproduced": "green", "differs": "red", "cannot": "yellow"}


def verify_records(project: Project, paths: Sequence[Path], who: str, other_packages: bool = False) -> int:
    """Run records again and write a receipt beside each; return how many were not reproduced.

    A record that was named and cannot be verified is an error; in a folder, it is left out with its reason.
    """
    if not NAME.fullmatch(who):
        raise RecarenaError(
            f'--as "{who}": use at most 40 lower-case letters, digits and _, beginning with a letter, such as kim'
        )
    asked, left_out = _asked(project, paths)
    wrong = left_out
    for one, receipt in verify(asked, project.root, project.cache, who, other_packages, note):
        wrong += receipt.verdict != "reproduced"
        console.print(_line(one, receipt), soft_wrap=True)
        note(f"receipt: {short(receipts.path_of(one.path))}")
    boards = {one.path.parents[1].name for one in asked if _ours(project, one.path)}
    write_boards(project, [one for one in project.recorded() if one.name in boards])
    if any(who in (one.record.implementation.author, one.record.implementation.who) for one in asked):
        note("your own re-run is a repetition; boards show reproductions, by somebody else")
    return wrong


def _asked(project: Project, paths: Sequence[Path]) -> tuple[list[Asked], int]:
    asked: dict[Path, Asked] = {}
    left_out = 0
    for path in paths:
        if path.is_file():
            asked[path.resolve()] = ask(path, project.root)
            continue
        found = records.in_folder(path)
        if not found:
            raise RecarenaError(
                f"{path}: no record there; expected a file such as results/ml-100k-rate/mf.sgd/u1-seed-0.json, or the "
                "folder of a row"
            )
        for file in found:
            try:
                asked[file.resolve()] = ask(file, project.root)
            except RecarenaError as error:
                left_out += 1
                fail(str(error))
    return list(asked.values()), left_out


def _ours(project: Project, path: Path) -> bool:
    return project.results.resolve() in path.resolve().parents


def _line(one: Asked, receipt: Receipt) -> str:
    record = one.record
    fold = f"{record.benchmark.fold} " if record.benchmark.fold else ""
    label = f"{record.benchmark.name} {one.path.parent.name} {fold}seed {record.seed}"
    told = f"[{COLOURS[receipt.verdict]}]{receipt.verdict}[/]"
    if receipt.values_equal:
        told += ": the same values for every query"
    elif receipt.metrics_difference is not None:
        told += f": metrics within {receipt.metrics_difference:.2g}"
        if receipt.values_difference is not None:
            told += f", values per query within {receipt.values_difference:.2g}"
    if receipt.reason:
        told += f": {escape(receipt.reason)}" if receipt.verdict == "cannot" else f" ({escape(receipt.reason)})"
    if receipt.environment_differs:
        told += f" [dim](other {', '.join(receipt.environment_differs)})[/]"
    return f"  {escape(label):<52} {told}"
