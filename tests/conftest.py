"""What tests share: a small project of their own, and the real data where this machine has it."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from recarena.contract.worker import load_module

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
from dataclasses import dataclass
import numpy as np
from recarena import RankQueries, RateQueries, Run, Skip, Train, implementation, top_k
"""


def load_class(paper: str, who: str) -> type:
    """Return the class of ``reproductions/<paper>/<who>.py``, for a test that calls it in its own process."""
    # the name that the worker gives it: numba keeps it in what it caches
    module = load_module(ROOT / "reproductions" / paper / f"{who}.py", f"contender.{paper}.{who}")
    return next(thing for thing in vars(module).values() if getattr(thing, "__recarena__", False))


class SmallProject:
    """A checkout in a temporary folder: the tiny dataset and boards, and whatever contenders a test writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results"
        self.cache = root / "cache"
        for folder in ("datasets", "benchmarks", "reproductions"):
            (root / folder).mkdir()
        shutil.copy(ROOT / "datasets" / "tiny.toml", root / "datasets")
        for recipe in (ROOT / "benchmarks").glob("tiny-*.toml"):
            shutil.copy(recipe, root / "benchmarks")

    def contender(self, name: str, body: str, head: str = HEAD) -> Path:
        """Write ``reproductions/<paper>/<who>.py``; the body follows the usual imports."""
        paper, who = name.split("/")
        path = self.root / "reproductions" / paper / f"{who}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + textwrap.dedent(body), encoding="utf-8")
        return path

    def environment(self) -> dict[str, str]:
        """For a command line in a process of its own."""
        return os.environ | {"RECARENA_ROOT": str(self.root), "RECARENA_CACHE": str(self.cache)}


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    """Return an empty small project."""
    root = tmp_path / "project"
    root.mkdir()
    return SmallProject(root)


@pytest.fixture(scope="session")
def mirror() -> Callable[[str], Path]:
    """Return a function from a path inside the mirror to the file; skips where there is none."""

    def find(path: str) -> Path:
        folder = os.environ.get("RECARENA_MIRROR")
        if not folder:
            pytest.skip("RECARENA_MIRROR is not set: real data cannot be had")
        file = Path(folder) / path
        if not file.exists():
            pytest.skip(f"the mirror has no {path}")
        return file

    return find
