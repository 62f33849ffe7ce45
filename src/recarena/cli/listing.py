"""``recarena ls``: what there is."""

from __future__ import annotations

import pandas as pd

from recarena.cli.project import TINY, Project
from recarena.cli.show import console, fail, table
from recarena.contract.metrics import parse


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
