"""What the runner sees of a run: its events, read from a pipe that is in the contender's hands, and their sum.

Nothing here trusts what it reads: a line is bounded, an event is believed only as far as it is well formed, and times
are those of arrival.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LAST_LINES = 30
PRINTED_BYTES = 4096  # of a printed line; the rest is dropped
EVENT_BYTES = 2**17  # of an event
CURVE_POINTS = 500
CURVE_NAMES = 10  # of numbers in one point

Event = dict[str, Any]
Status = Literal["ok", "failed", "timeout", "skipped"]


@dataclass
class Outcome:
    """What the runner saw of a run.

    Attributes:
        status: "ok", "failed", "timeout" or "skipped".
        reason: one sentence where the status is not "ok".
        last_lines: the traceback, or the last lines printed.
        seconds: phase -> seconds by the runner's clock: load, fit, ask:<name>, save.
        wall_seconds: start to exit.
        peak_memory_bytes: largest resident memory seen.
        peak_gpu_bytes: as torch reports it, or None.
        parameters: floats held after fit, or None.
        curve: points logged by the run, thinned to at most 500.
    """

    status: Status = "ok"
    reason: str | None = None
    last_lines: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_bytes: int | None = None
    parameters: int | None = None
    curve: list[dict[str, float]] = field(default_factory=list)

    def fail(self, reason: str, status: Status = "failed") -> None:
        """Keep the first reason: what follows is usually its consequence."""
        if self.status == "ok":
            self.status, self.reason = status, reason


class Lines:
    """Whole lines out of a pipe that may never send one: a line longer than the bound is cut, the rest dropped."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.rest = b""

    def read(self, fd: int) -> list[bytes] | None:
        """Return the lines that have come; None when the pipe is closed."""
        try:
            chunk = os.read(fd, 2**16)
        except BlockingIOError:
            return []
        if not chunk:
            return None
        *lines, rest = (self.rest + chunk).split(b"\n")
        self.rest = rest[: self.bound]
        return [line[: self.bound] for line in lines]


class Clock:
    """Turns events into an outcome; phases are timed by when their events arrive, and come in one order only."""

    def __init__(
        self, outcome: Outcome, asks: Sequence[str], on_event: Callable[[Event], None], started: float
    ) -> None:
        self.outcome = outcome
        self.phases = ["load", "fit", *(phase for ask in asks for phase in (f"ask:{ask}", "save"))]
        self.on_event = on_event
        self.phase = "start"
        self.since = started
        self.done = False
        self.keep_every = 1
        self.logged = 0

    def take(self, line: bytes) -> None:
        """Believe an event only as far as it is well formed: the pipe is in the contender's hands."""
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "phase":
                if event["name"] != self.next_phase():
                    return
                self.stop()
                self.phase = self.phases.pop(0)
            elif kind == "log":
                points = list(event["values"].items())[:CURVE_NAMES]
                self.log({_text(k)[:50]: float(v) for k, v in points if math.isfinite(v)})
            elif kind == "progress":
                event = {"event": "progress", "done": int(event["done"]), "total": int(event["total"])}
            elif kind == "skip":
                self.outcome.fail(_text(event["reason"])[:500], "skipped")
            elif kind == "error":
                self.outcome.fail(f"{_text(event['message'])[:500]} (in {self.phase})")
                self.outcome.last_lines = [_text(line)[:PRINTED_BYTES] for line in event["lines"][-LAST_LINES:]]
            elif kind == "result":
                self.outcome.parameters = _count(event["parameters"])
                self.outcome.peak_gpu_bytes = _count(event["gpu_bytes"])
            elif kind == "done":
                self.stop()
                self.done = True
            else:
                return
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return
        self.on_event(event)

    def next_phase(self) -> str | None:
        """Return the phase that may begin now: a contender cannot go back to one that costs it nothing."""
        return self.phases[0] if self.phases else None

    def stop(self) -> None:
        """Close the phase that runs."""
        now = time.perf_counter()
        self.outcome.seconds[self.phase] = self.outcome.seconds.get(self.phase, 0.0) + now - self.since
        self.since = now

    def log(self, values: dict[str, float]) -> None:
        """Keep a point of the curve; when there are too many, every other one goes."""
        if self.logged % self.keep_every == 0:
            self.outcome.curve.append(values)
        self.logged += 1
        if len(self.outcome.curve) > CURVE_POINTS:
            self.outcome.curve = self.outcome.curve[::2]
            self.keep_every *= 2


def _text(value: Any) -> str:
    """Return a string that can be written as UTF-8: JSON lets half a surrogate pair through."""
    return str(value).encode("utf-8", "replace").decode()


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
