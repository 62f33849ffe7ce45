"""``recarena compare``: two rows of a board, side by side, from the records there are.

Slices and titles need the question and its answers. They are opened in this process, which starts no contender.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from recarena.arena.discovery import Implementation
from recarena.boards import figures
from recarena.boards.blocks import Block, Bullets, Heading, Image, Table, Text, fitting, frame, html, markdown
from recarena.boards.board import About, Judged, load
from recarena.boards.duel import Duel, Pair, fight, pair
from recarena.boards.duel_render import as_json, page
from recarena.boards.why import Code, code_of
from recarena.cli.project import Project
from recarena.cli.show import console, note, short, table
from recarena.contract.errors import DataError
from recarena.contract.folder import question_hash
from recarena.data.prepare import Prepared, availability, open_benchmark
from recarena.data.recipes import Benchmark
from recarena.judge.records import replace as write_whole


def compare(project: Project, names: tuple[str, str], benchmark: Benchmark, layout: str, figure: Path | None) -> None:
    """Print the duel of two rows, and write its figure.

    Args:
        project: the checkout.
        names: of the rows, as the board prints them.
        benchmark: the board.
        layout: "json", "html", "markdown", or anything else for a terminal.
        figure: where to draw it, or None.

    Raises:
        RecarenaError: the rows cannot be compared, and why.
    """
    wanted = figures.paths(figure) if figure is not None else []
    duel = make(project, names, benchmark)
    for path in wanted:
        write_whole(path, figures.draw(duel, path.suffix[1:].lower()))
        note(f"figure: {short(path)}")
    alt = f"where {names[0]} and {names[1]} differ, and what they logged"
    if layout == "json":
        typer.echo(json.dumps(as_json(duel), indent=1, ensure_ascii=False, allow_nan=False))
    elif layout == "html":
        image = None
        if figures.have_matplotlib():
            image = Image(alt, svg=figures.draw(duel, "svg"))
        else:
            note(f"without a figure: {figures.MISSING}")
        typer.echo(html(page(duel, image), f"{names[0]} against {names[1]}"), nl=False)
    elif layout == "markdown":
        typer.echo(markdown(page(duel, Image(alt, wanted[-1].name) if wanted else None)), nl=False)
    else:
        _print(page(duel))


def make(project: Project, names: tuple[str, str], benchmark: Benchmark) -> Duel:
    """Return the duel of two rows of a board."""
    about = About(
        name=benchmark.name,
        version=benchmark.version,
        title=benchmark.title,
        describe=benchmark.describe,
        asks={name: ask.metrics for name, ask in benchmark.asks.items()},
        folds=benchmark.folds,
        as_published=benchmark.numbering == "as-published",
    )
    judged, unreadable = load(project.results, benchmark.name)
    here = {one.name: one for one in project.found.implementations}
    rivals = pair(about, judged, {name: one.code for name, one in here.items()}, names, unreadable)
    a, b = (_with_cached_values(runs, project.cache) for runs in rivals.runs)
    rivals = replace(rivals, runs=(a, b))
    folds, left_out = _questions(project, benchmark, rivals)
    if left_out:
        note(f"no slices, no titles: {left_out}")
    by_hash = {one.code: one for one in here.values()}
    code = [_code(by_hash.get(runs[0].record.implementation.code)) for runs in rivals.runs]
    return fight(rivals, (code[0], code[1]), folds, left_out)


def _with_cached_values(runs: Sequence[Judged], cache: Path) -> list[Judged]:
    """Return the runs with the values that were too large for git, where this machine made them."""
    made = []
    for one in runs:
        kept, file = one.record.values, None
        if one.values is None and kept is not None and kept.place == "cache" and Path(kept.file).name == kept.file:
            file = cache / "values" / kept.file
        data = file.read_bytes() if file is not None and file.is_file() else b""
        if kept is not None and data and hashlib.sha256(data).hexdigest() == kept.sha256:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                made.append(replace(one, values={name: arrays[name] for name in arrays.files}))
        else:
            made.append(one)
    return made


def _questions(project: Project, benchmark: Benchmark, rivals: Pair) -> tuple[list[Prepared] | None, str]:
    """Return the questions that the records answer, in the order of the folds; or None and why not. Fetches nothing."""
    try:
        ready = availability(project.root, benchmark.name, cache=project.cache)
        if ready.state != "ready":
            return None, f"the data of {benchmark.dataset} are not at hand; recarena data fetch {benchmark.dataset}"
        _, folds = open_benchmark(project.root, benchmark.name, cache=project.cache)
    except DataError as error:
        return None, f"the data cannot be opened: {error}"
    by_name = {fold.name: fold for fold in folds}
    answered = {one.record.benchmark.fold: one.record.question for runs in rivals.runs for one in runs}
    for fold, question in answered.items():
        if fold not in by_name or question_hash(by_name[fold].question) != question:
            where = f" of {fold}" if fold else ""
            return None, f"the data at hand make another question{where} than the one that the records answer"
    return [by_name[fold] for fold in benchmark.folds], ""


def _code(one: Implementation | None) -> Code | None:
    """Return the source of an implementation; None for predictions only, whose code is not here."""
    if one is None:
        return None
    own = [one.path]
    if one.path.is_dir():
        inside = sorted(f for f in one.path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
        own = sorted(inside, key=lambda file: file != one.path / "__init__.py")
    return code_of([file.read_text(encoding="utf-8", errors="replace") for file in [*own, *one.shared]])


def _print(blocks: Sequence[Block]) -> None:
    """Print a page on a terminal."""
    for block in blocks:
        match block:
            case Heading(text, _):
                console.print(f"\n{text}", style="bold", markup=False)
            case Text(text, strong):
                console.print(f"{strong} {text}".strip(), markup=False, style="" if strong else "dim")
            case Bullets(lines):
                for line in lines:
                    console.print(f"  · {line}", markup=False)
            case Table():
                fitted = fitting(block, _width, console.width)
                table(*frame(fitted, lambda cell: f"{cell} *"))
            case Image():
                pass


def _width(one: Table) -> int:
    cells = [[head for head, _ in one.columns], *one.rows]
    return sum(max(len(row[i]) for row in cells) + 2 for i in range(len(one.columns)))
