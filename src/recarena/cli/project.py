"""What every command needs of the project: its folders, its recipes, its boards."""

from __future__ import annotations

import fnmatch
import os
import tempfile
from pathlib import Path

from recarena.arena.discovery import Found, find
from recarena.boards.board import About, Board, load, make
from recarena.contract.errors import RecarenaError, did_you_mean
from recarena.data.folders import benchmark_names, find_root, load_benchmark
from recarena.data.recipes import Benchmark
from recarena.data.sources import default_cache
from recarena.judge.claims import Claim, load_paper

TINY = "tiny-"  # conformance boards: played by `check`, never ranked


class Project:
    """A checkout and where its results and caches are.

    Attributes:
        root: of the checkout.
        results: folder of the records.
        cache: folder for downloads, questions, code and values too large for git.
        found: every implementation.
    """

    def __init__(self, results: Path | None = None) -> None:
        self.root = find_root()
        named = os.environ.get("RECARENA_RESULTS")
        self.results = results or (Path(named) if named else self.root / "results")
        self.cache = default_cache()
        self.found: Found = find(self.root)

    def benchmarks(self, names: list[str]) -> list[Benchmark]:
        """Return the benchmarks that names or patterns such as ``ml-100k-*`` pick; all but the tiny ones by default."""
        known = benchmark_names(self.root)
        if not names:
            return [load_benchmark(self.root, name) for name in known if not name.startswith(TINY)]
        picked: dict[str, None] = {}
        for name in names:
            hits = fnmatch.filter(known, name)
            if not hits:
                raise RecarenaError(f'no benchmark "{name}" under benchmarks/{did_you_mean(name, known)}')
            picked |= dict.fromkeys(hits)
        return [load_benchmark(self.root, name) for name in picked]

    def claims(self, benchmark: str) -> list[tuple[str, Claim]]:
        """Return (paper, claim) for every claim about a benchmark."""
        folders = sorted(p.parent for p in (self.root / "reproductions").glob("*/paper.toml"))
        known = benchmark_names(self.root)
        claims = [(folder.name, claim) for folder in folders for claim in load_paper(folder).claims]
        for paper, claim in claims:
            where = f'{paper}/paper.toml: a claim about benchmark "{claim.benchmark}"'
            if claim.benchmark not in known:
                raise RecarenaError(f"{where}, which is not there{did_you_mean(claim.benchmark, known)}")
            asks = load_benchmark(self.root, claim.benchmark).asks
            if claim.ask not in asks:
                raise RecarenaError(f'{where} has ask "{claim.ask}", which is not there{did_you_mean(claim.ask, asks)}')
            if claim.metric not in asks[claim.ask].metrics:
                metrics = asks[claim.ask].metrics
                raise RecarenaError(f'{where} has metric "{claim.metric}"{did_you_mean(claim.metric, metrics)}')
        return [(paper, claim) for paper, claim in claims if claim.benchmark == benchmark]

    def board(self, benchmark: Benchmark) -> Board:
        """Return a board made from the records there are."""
        about = About(
            name=benchmark.name,
            version=benchmark.version,
            title=benchmark.title,
            describe=benchmark.describe,
            asks={name: ask.metrics for name, ask in benchmark.asks.items()},
            folds=benchmark.folds,
            as_published=benchmark.numbering == "as-published",
        )
        code = {one.name: one.code for one in self.found.implementations}
        judged, unreadable = load(self.results, benchmark.name)
        return make(about, judged, code, self.claims(benchmark.name), unreadable)

    def check_results(self) -> None:
        """Raise before hours of work if the results cannot be written."""
        try:
            self.results.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.results):
                pass
        except OSError as error:
            raise RecarenaError(
                f"cannot write to {self.results}: {error.strerror or error}; give --results another folder"
            ) from error

    def recorded(self) -> list[Benchmark]:
        """Return the benchmarks that have a folder of records."""
        return [b for b in self.benchmarks(["*"]) if (self.results / b.name).is_dir()]
