"""The protocol that a team member's one class keeps, and what a run gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import numpy as np

from recarena.contract.arrays import Floats, Ints
from recarena.contract.queries import DetectQueries, RankQueries, RateQueries
from recarena.contract.questions import Train

T = TypeVar("T", bound=type)


def implementation(*, author: str, departs: tuple[str, ...] = (), deterministic: bool = False) -> Callable[[T], T]:
    """Mark the one class of a file as the implementation.

    Hyper-parameters are the annotated fields of the dataclass (the defaults are the paper's); they are recorded,
    hashed, and overridable with ``--set name=value``. The arguments here and the fields' defaults must be literals:
    the runner reads them without running the file.

    Args:
        author: who wrote it, as the board's "by" column shows it.
        departs: every departure from the paper, a few words each.
        deterministic: True where the seed changes nothing; one seed is then enough.
    """
    del author, departs, deterministic  # read from the source by the runner, never by running it

    def mark(cls: T) -> T:
        cls.__recarena__ = True  # type: ignore[attr-defined]
        return cls

    return mark


@dataclass
class Run:
    """What the arena lends to one run.

    Attributes:
        seed: the run's seed; everything random must come from it.
        rng: a numpy generator made from the seed.
        device: "cpu" or "cuda".
        threads: how many cores are this run's.
        scratch: an empty folder, deleted after the run.
    """

    seed: int
    device: str = "cpu"
    threads: int = 1
    scratch: Path = field(default_factory=Path)
    rng: np.random.Generator = field(init=False)
    _events: IO[str] | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def log(self, **numbers: float) -> None:
        """Add a point to the run's learning curves, such as ``run.log(epoch=3, rmse=0.91)``."""
        self._send({"event": "log", "values": {name: float(value) for name, value in numbers.items()}})

    def progress(self, done: int, total: int) -> None:
        """Move the run's progress bar: ``run.progress(3, 20)``."""
        self._send({"event": "progress", "done": int(done), "total": int(total)})

    def _send(self, event: dict[str, Any]) -> None:
        if self._events is not None:
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()


class Fits(Protocol):
    """Every implementation learns from the question's train."""

    def fit(self, train: Train, run: Run) -> None:
        """Learn; called once, before any ask."""
        ...


class Rates(Fits, Protocol):
    """An implementation that guesses ratings."""

    def rate(self, queries: RateQueries) -> Floats:
        """Return (q,) ratings."""
        ...


class Detects(Fits, Protocol):
    """An implementation that finds histories that do not look like the others."""

    def detect(self, queries: DetectQueries) -> Floats:
        """Return (q,) scores, the higher the more suspicious."""
        ...


class Ranks(Fits, Protocol):
    """An implementation that lists items."""

    def rank(self, queries: RankQueries) -> Ints:
        """Return (q, k) item ids, best first; ``top_k`` turns scores into such a list."""
        ...
