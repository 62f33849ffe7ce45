"""How time and memory grow: each point in a fresh process, ours alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from synthetic import ML_20M, write_inter

WANTED = {10_000_000: {"seconds": 3.0, "peak_bytes": 1.5e9}}  # of file to split
FEATURES_WANTED = {20_000_263: {"peak_bytes": 6 * 2**30}}  # of ids and both implicit histories
# rows, users, items: MovieLens' shapes where there is one, and between them
ROWS = [
    (100_000, 943, 1_682),
    (300_000, 2_000, 2_500),
    (1_000_000, 6_040, 3_706),
    (3_000_000, 20_000, 6_000),
    (10_000_000, 69_878, 10_677),
    (20_000_263, *ML_20M),
]


def point(benchmark: Any, curve: str, axis: str, at: int, job: dict[str, Any], rounds: int, **more: Any) -> None:
    """Measure one point; where it is run several times the fastest counts, and the highest peak."""
    told: list[dict[str, float]] = []
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def child() -> None:
        command = [sys.executable, str(Path(__file__).parent / "growth.py"), json.dumps(job)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=surroundings)
        told.append(json.loads(done.stdout))

    benchmark.group = f"{curve} (whole processes)"
    benchmark.pedantic(child, rounds=rounds)
    best = {"seconds": min(t["seconds"] for t in told), "peak_bytes": max(t["peak_bytes"] for t in told)}
    benchmark.extra_info["growth"] = {"curve": curve, "axis": axis, "at": at, "runs": rounds, **best, **more}


@pytest.mark.parametrize(("n", "n_users", "n_items"), ROWS, ids=[f"{n}-rows" for n, _, _ in ROWS])
def test_growth_of_preparing(benchmark, tmp_path, n, n_users, n_items):
    file = tmp_path / "rows.inter"
    counts = write_inter(file, n, n_users, n_items)
    job = {"work": "prepare", "file": str(file), "counts": counts}
    point(benchmark, "file to split", "rows", n, job, 3 if n <= 10**7 else 2, wanted=WANTED.get(n, {}))
    file.unlink()


@pytest.mark.parametrize("n_users", [2_500, 5_000, 10_000, 20_000])
def test_growth_of_ranking_with_users(benchmark, n_users):
    job = {"work": "rank", "n_users": n_users, "n_items": 20_000}
    point(benchmark, "top 100 of 20,000 items", "users", n_users, job, 2)


@pytest.mark.parametrize("n_items", [5_000, 10_000, 20_000, 40_000, 80_000])
def test_growth_of_ranking_with_items(benchmark, n_items):
    job = {"work": "rank", "n_users": 5_000, "n_items": n_items}
    point(benchmark, "top 100 for 5,000 users", "items", n_items, job, 2)


@pytest.mark.parametrize("n_queries", [3_000, 10_000, 30_000, 100_000, 300_000])
def test_growth_of_judging(benchmark, n_queries):
    point(benchmark, "NDCG@100 and recall@100", "lists", n_queries, {"work": "judge", "n_queries": n_queries}, 2)


FM_ROWS = [ROWS[0], ROWS[2], ROWS[4], ROWS[5]]


@pytest.mark.parametrize(("n", "n_users", "n_items"), FM_ROWS, ids=[f"{n}-ratings" for n, _, _ in FM_ROWS])
def test_growth_of_a_sweep_with_ratings(benchmark, threads, n, n_users, n_items):
    job = {"work": "sweep", "n": n, "n_users": n_users, "n_items": n_items, "dim": 10, "threads": threads}
    point(benchmark, "FM, a Gibbs sweep at dim 10", "ratings", n, job, 3 if n <= 10**6 else 1)


@pytest.mark.parametrize("dim", [4, 8, 16, 32, 64])
def test_growth_of_a_sweep_with_factors(benchmark, threads, dim):
    n, n_users, n_items = ROWS[2]
    job = {"work": "sweep", "n": n, "n_users": n_users, "n_items": n_items, "dim": dim, "threads": threads}
    point(benchmark, "FM, a Gibbs sweep of 1M ratings", "factors", dim, job, 2)


@pytest.mark.parametrize(("n", "n_users", "n_items"), FM_ROWS[1:], ids=[f"{n}-events" for n, _, _ in FM_ROWS[1:]])
def test_growth_of_features(benchmark, n, n_users, n_items):
    job = {"work": "design", "n": n, "n_users": n_users, "n_items": n_items}
    point(benchmark, "FM, ids and both implicit histories", "events", n, job, 1, wanted=FEATURES_WANTED.get(n, {}))
