"""``recarena doctor``: what is here, what can run, and why the rest cannot."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil

import pandas as pd

from recarena.arena.machine import default_device, machine
from recarena.cli.project import Project
from recarena.cli.show import console, fail, table
from recarena.data.prepare import availability
from recarena.data.sources import mirror_folder

PACKAGES = ("recarena", "numpy", "scipy", "numba", "torch", "pandas", "tabulate", "pooch", "recbole")


def examine(project: Project) -> None:
    """Print the examination."""
    facts = machine()
    free = shutil.disk_usage(project.cache if project.cache.exists() else project.root).free
    lines = {
        "python": f"{platform.python_version()} on {facts['platform']}",
        "packages": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        "processor": f"{facts['cpu']}, {facts['cores']} cores usable, {facts['memory_bytes'] / 2**30:.0f} GiB",
        "device": default_device(),
        "checkout": str(project.root),
        "results": str(project.results),
        "cache": f"{project.cache} ({free / 2**30:.0f} GiB free)",
        "mirror": str(mirror_folder() or "RECARENA_MIRROR is not set"),
    }
    for name, text in lines.items():
        console.print(f"[bold]{name:<10}[/] {text}", soft_wrap=True)
    rows = []
    for benchmark in project.benchmarks([]):
        found = availability(project.root, benchmark.name, cache=project.cache)
        rows.append({"benchmark": benchmark.name, "can run": WORDS[found.state], "because": found.why})
    console.print()
    table(pd.DataFrame(rows, columns=["benchmark", "can run", "because"]), ["left", "left", "left"])
    for name, reason in project.found.broken.items():
        fail(f"{name}: {reason}")


WORDS = {"ready": "yes", "download": "after a download", "blocked": "no"}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
