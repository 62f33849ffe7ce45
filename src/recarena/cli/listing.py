"""``recarena ls`` and ``recarena data``: what there is."""

from __future__ import annotations

import pandas as pd

from recarena.cli.project import TINY, Project
from recarena.cli.show import console, fail, table
from recarena.contract.metrics import parse
from recarena.data import interactions
from recarena.data.folders import dataset_names, load_dataset


def list_everything(project: Project) -> None:
    """Print the benchmarks and the implementations."""
    rows = [
        {
            "benchmark": one.name,
            "asks": ", ".join(f"{name} ({parse(ask.metrics[0]).label})" for name, ask in one.asks.items()),
            "what": one.title,
        }
        for one in project.benchmarks(["*"])
        if not one.name.startswith(TINY)
    ]
    table(pd.DataFrame(rows, columns=["benchmark", "asks", "what"]), ["left", "left", "left"])
    console.print()
    rows = [
        {
            "implementation": one.name,
            "by": one.author,
            "answers": ", ".join(sorted(one.kinds)),
            "settings": ", ".join(f"{name}={value!r}" for name, value in one.hyperparameters.items()),
        }
        for one in project.found.implementations
    ]
    columns = ["implementation", "by", "answers", "settings"]
    table(pd.DataFrame(rows, columns=columns), ["left", "left", "left", "left"])
    for name, reason in project.found.broken.items():
        fail(f"{name}: {reason}")


def list_datasets(project: Project) -> None:
    """Print the datasets, their sizes and licences, and whether they can be had."""
    for name in dataset_names(project.root):
        dataset = load_dataset(project.root, name)
        found = interactions.availability(dataset, project.cache)
        counts = dataset.expect
        console.print(
            f"[bold]{name}[/] · {dataset.title} · {counts.users:,} users, {counts.items:,} items, "
            f"{counts.interactions:,} rows · {found.state}: {found.why}\n"
            f"  licence: {' '.join(dataset.licence.split())}",
            soft_wrap=True,
        )


def fetch_datasets(project: Project, names: list[str]) -> None:
    """Fetch datasets, check them against their recipes, and say where they came from."""
    for name in names:
        loaded = interactions.load(load_dataset(project.root, name), project.cache, progress=True)
        console.print(f"{name}: {len(loaded.raw):,} rows from {loaded.source}, as the recipe expects")
