"""One point of a growth curve, in a process of its own so that its peak memory is its own.

``python growth.py JOB`` prints seconds and peak bytes as JSON. The work runs once, small, before the clock starts:
nothing is compiled or imported inside it.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import factorization
from synthetic import write_inter
from work import Ranking, judging, preparing


def prepare(file: str, counts: dict[str, int]) -> Callable[[], Any]:
    """File to split."""
    with tempfile.TemporaryDirectory() as small:
        path = Path(small) / "small.inter"
        preparing(path, write_inter(path, 1000, 100, 200))()
    return preparing(Path(file), counts)


def rank(n_users: int, n_items: int) -> Callable[[], Any]:
    """Factors to the 100 best items of every user."""
    Ranking(10, 500).rank()
    return Ranking(n_users, n_items).rank


def judge(n_queries: int) -> Callable[[], Any]:
    """Lists of 100 to two metrics."""
    judging(10, 20_000, 100)()
    return judging(n_queries, 20_000, 100)


WORKS = {
    "prepare": prepare,
    "rank": rank,
    "judge": judge,
    "sweep": factorization.sweeping,
    "design": factorization.designing,
}

if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    once = WORKS[job.pop("work")](**job)
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    result = once()
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in kilobytes on Linux
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))  # noqa: T201
