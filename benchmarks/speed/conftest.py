"""What the speed tests share. Run them with ``tox run -e speed``; docs/speed.md says how to read what comes out."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the suite's own modules; it is no package

from environments import interpreter
from sidebyside import PEERS, Peer

from recarena.arena.machine import machine, usable_cores
from recarena.contract.errors import ImplementationError, Skip
from recarena.data.sources import default_cache

THREADS = min(2, usable_cores())


def pytest_configure(config: pytest.Config) -> None:
    """A test that is skipped has not used its benchmark fixture; that is no error."""
    config.addinivalue_line("filterwarnings", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")


@pytest.fixture(scope="session")
def threads() -> int:
    """Threads of each side where the work can use several."""
    return THREADS


@pytest.fixture(scope="session")
def start() -> Callable[..., Peer]:
    """Return a function that starts a peer's process; it skips with pip's words where the peer cannot be built."""
    built: dict[str, str] = {}

    def peer(file: str, threads: int, job: dict[str, Any], **variables: str) -> Peer:
        if file not in built:
            try:
                built[file] = interpreter(PEERS / file, default_cache())
            except (ImplementationError, Skip) as error:
                pytest.skip(f"{file}: {error}")
        return Peer(built[file], file, threads, job, **variables)

    return peer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what is handed to the peers: gigabytes, so it goes with the session."""
    path = tmp_path_factory.mktemp("speed")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Add what the table's head says to the report."""
    del config, benchmarks
    names = ("numpy", "numba", "polars", "scipy")
    output_json["versions"] = {name: importlib.metadata.version(name) for name in names}
    output_json["machine"] = machine()
