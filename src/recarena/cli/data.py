"""``recarena data``: what data there is, whether it is right, and the ways in and out."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import typer

from recarena.cli.project import Project
from recarena.cli.show import console, fail, note, short, table
from recarena.contract.answers import RankAnswers
from recarena.contract.errors import RecarenaError, did_you_mean
from recarena.data import adding, cards, export, interactions
from recarena.data.folders import benchmark_names, dataset_names, load_dataset
from recarena.data.prepare import open_benchmark


def list_datasets(project: Project) -> None:
    """Print the datasets, their sizes and licences, and whether they can be had."""
    rows = []
    for name in dataset_names(project.root):
        dataset = load_dataset(project.root, name)
        found = interactions.availability(dataset, project.cache)
        counts = dataset.expect
        rows.append(
            {
                "dataset": name,
                "users": f"{counts.users:,}",
                "items": f"{counts.items:,}",
                "rows": f"{counts.interactions:,}",
                "licence": _shortened(dataset.licence),
                "state": found.state,
                "from": _host(found.why),
            }
        )
    columns = ["dataset", "users", "items", "rows", "licence", "state", "from"]
    table(pd.DataFrame(rows, columns=columns), ["left", "right", "right", "right", "left", "left", "left"])
    note("ready: on this machine. download: `recarena data fetch NAME`. `recarena data card NAME` says more of one.")


def fetch_datasets(project: Project, names: list[str]) -> None:
    """Fetch datasets, check them against their recipes, and say where they came from."""
    for name in names:
        loaded = interactions.load(load_dataset(project.root, name), project.cache, progress=True)
        console.print(f"{name}: {len(loaded.raw):,} rows from {loaded.source}, as the recipe expects")


def verify_datasets(project: Project, names: list[str]) -> None:
    """Hold every file at hand against its checksum and its recipe; all datasets if none is named."""
    wrong = 0
    for name in names or dataset_names(project.root):
        verified = interactions.verify(load_dataset(project.root, name), project.cache)
        for one in verified:
            if one.good:
                console.print(f"{name}: {one.source}: {one.why}, as the recipe expects", soft_wrap=True)
            else:
                fail(f"{name}: {one.source}: {one.why}")
                wrong += 1
        if not verified:
            console.print(f"[dim]{name}: nothing at hand[/]")
    if wrong:
        raise typer.Exit(1)


def show_card(project: Project, name: str, *, markdown: bool) -> None:
    """Print what is in a dataset."""
    dataset = load_dataset(project.root, name)
    loaded = interactions.load(dataset, project.cache, progress=True)
    found = cards.card(dataset, loaded.raw, loaded.source)
    typer.echo(cards.markdown(name, dataset, found) if markdown else cards.text(name, dataset, found))


def add_file(project: Project, file: Path, name: str, named: dict[str, str], separator: str | None) -> None:
    """Write a recipe for a user's own file."""
    path = adding.add(project.root, file, name, named, separator)
    counts = load_dataset(project.root, name).expect
    console.print(
        f"wrote {short(path)}: {counts.users:,} users, {counts.items:,} items, {counts.interactions:,} rows\n"
        "  state its licence and citation there; a benchmark names it with\n"
        f'  dataset = "{name}"',
        soft_wrap=True,
    )


def export_data(project: Project, name: str, folder: Path, layout: str, ask: str | None) -> None:
    """Write a dataset's rows, or a benchmark's parts or answers, for other tools."""
    if layout not in ("recbole", "trec"):
        raise RecarenaError(f'unknown format "{layout}"{did_you_mean(layout, ["recbole", "trec"])}')
    known = benchmark_names(project.root)
    # a name may be both, such as ml-1m-ncf: answers and asks are a benchmark's
    if name in dataset_names(project.root) and not (name in known and (layout == "trec" or ask)):
        if layout == "trec":
            raise RecarenaError(f"{name} is a dataset and has no answers; name a benchmark to write its qrels")
        raw = interactions.load(load_dataset(project.root, name), project.cache, progress=True).raw
        console.print(f"wrote {short(export.write_inter(folder / f'{name}.inter', raw))}: {len(raw):,} rows")
        return
    if name not in known:
        both = [*known, *dataset_names(project.root)]
        raise RecarenaError(f'no dataset or benchmark "{name}"{did_you_mean(name, both)}')
    benchmark, folds = open_benchmark(project.root, name, cache=project.cache, progress=True)
    chosen = ask or next(iter(benchmark.asks))
    if chosen not in benchmark.asks:
        raise RecarenaError(f'{name} has no ask "{chosen}"{did_you_mean(chosen, benchmark.asks)}')
    for fold in folds:
        of = f"{name}.{fold.name}" if fold.name else name
        try:
            if layout == "recbole":
                written = export.write_benchmark(folder, of, fold, chosen)
            else:
                answers = fold.answers.get(chosen)
                if not isinstance(answers, RankAnswers):
                    raise RecarenaError(f'ask "{chosen}" has no lists to judge; qrels are for ranking')
                written = [export.write_qrels(folder / f"{of}.qrels", answers)]
        except RecarenaError as error:
            raise RecarenaError(f"{name} cannot be written for {layout}: {error}") from error
        console.print("wrote " + ", ".join(short(path) for path in written), soft_wrap=True)


def _shortened(licence: str) -> str:
    """The first statement of a licence."""
    return re.split(r"[;:.,](?=\s|$)", " ".join(licence.split()), maxsplit=1)[0]


def _host(source: str) -> str:
    return urlsplit(source).netloc or source
