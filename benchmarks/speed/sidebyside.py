"""Ours and a peer's on the same work in the same minutes: a round of one, a round of the other.

The peer is a process of its own that times itself (``peers/serve.py``); ours is timed by pytest-benchmark. Rounds
alternate so that a noisy machine is noisy for both, and each side pauses first, until the other's threads sleep.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

PEERS = Path(__file__).parent / "peers"
PAUSE_S = 0.25  # thread pools spin for up to 0.2 s after their work
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Peer:
    """A peer's process, loaded and waiting; a context manager.

    Args:
        python: its interpreter.
        file: its script under ``peers/``.
        threads: of every thread pool it may have.
        job: which work, and that work's settings; must be JSON.
        variables: further environment variables.
    """

    def __init__(self, python: str, file: str, threads: int, job: Mapping[str, Any], **variables: str) -> None:
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        surroundings |= dict.fromkeys(THREADS, str(threads)) | variables
        self.seconds: list[float] = []
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(PEERS / file), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env=surroundings,
        )
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._words.close()

    def round(self) -> None:
        """Let it work once; its seconds are kept."""
        time.sleep(PAUSE_S)
        self.seconds.append(self._answer("round")["seconds"])
        time.sleep(PAUSE_S)

    def judge(self) -> dict[str, Any]:
        """Return the quality of its last round's result."""
        return self._answer("judge")

    def _answer(self, line: str | None = None) -> dict[str, Any]:
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] and pipes[1]
        if line:
            pipes[0].write(line + "\n")
            pipes[0].flush()
        told = pipes[1].readline()
        if not told:
            self._process.wait()
            self._words.seek(0)
            last = "\n".join(self._words.read().strip().splitlines()[-15:])
            raise RuntimeError(f"the peer ended with exit code {self._process.returncode}; its last words:\n{last}")
        return json.loads(told)


@dataclass
class Comparison:
    """One row of the table.

    Attributes:
        what: the work, in a few words.
        peer: name and version.
        size: of the data, in words.
        threads: of each side.
        wanted: the ratio that the project wants.
        per: what a round is divided by, such as 10 for seconds an epoch, with its unit.
        quality: name -> (peer's, ours); filled in by ``agree``.
    """

    what: str
    peer: str
    size: str
    threads: int
    wanted: float
    per: tuple[int, str] = (1, "")
    quality: dict[str, tuple[float, float]] = field(default_factory=dict)


def compare(
    benchmark: Any, comparison: Comparison, ours: Callable[[], Any], peer: Peer, rounds: int, *, warm_up: bool = True
) -> Any:
    """Time both sides in turn, put the row into the report, and return our last result.

    Args:
        benchmark: pytest-benchmark's fixture.
        comparison: the row.
        ours: our work, once.
        peer: the peer's.
        rounds: that count; the same number for both.
        warm_up: whether the peer has a round before those, too; compiled ahead, some have nothing to warm up.
    """
    benchmark.group = comparison.what
    ours()
    if warm_up:
        peer.round()
        peer.seconds.clear()
    result = benchmark.pedantic(ours, setup=peer.round, rounds=rounds)
    seconds = peer.seconds
    benchmark.extra_info["comparison"] = asdict(comparison) | {"peer_seconds": seconds}
    mine = benchmark.stats.stats
    print(  # noqa: T201 - what a person waits for
        f"\n{comparison.what}, {comparison.peer}: {min(seconds):.3f} s, ours {mine.min:.3f} s; ratio "
        f"{min(seconds) / mine.min:.1f} of minima, {statistics.median(seconds) / mine.median:.1f} of medians; "
        f"wanted {comparison.wanted:g}"
    )
    return result


def agree(
    benchmark: Any,
    peer: Mapping[str, float],
    ours: Mapping[str, float],
    within: float,
    *,
    lower_is_better: bool | None = None,
) -> None:
    """Report the quality of both sides, and fail where ours is not the same work done as well.

    Args:
        benchmark: pytest-benchmark's fixture, after ``compare``.
        peer: name -> value.
        ours: name -> value, the same names.
        within: how far the two may be apart.
        lower_is_better: None where the values must be equal; else ours may be better by any amount.
    """
    benchmark.extra_info["comparison"]["quality"] = {name: (peer[name], ours[name]) for name in ours}
    for name, value in ours.items():
        worse = abs(value - peer[name])
        if lower_is_better is not None:
            worse = value - peer[name] if lower_is_better else peer[name] - value
        if not worse <= within:
            pytest.fail(f"{name} is {value:.6f}, the peer's {peer[name]:.6f}; wanted within {within:g}: unequal work")
