"""Quality on real data: every contender plays ML-100K behind the wall and lands where it should."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.conftest import ROOT

BOARDS = {"ml-100k-rate": "rmse", "ml-100k-strong": "ndcg@100", "ml-100k-top-n": "ndcg@10"}

# a band holds the number on any machine, and is narrow enough to notice a change that matters
BANDS = {
    ("ml-100k-rate", "mf/sgd"): (0.9060, 0.003),
    ("ml-100k-rate", "mf/svd"): (0.9385, 0.003),
    ("ml-100k-rate", "mf/svdpp"): (0.9222, 0.003),
    ("ml-100k-rate", "baselines/knn_baseline"): (0.9154, 0.001),
    ("ml-100k-rate", "baselines/bias"): (0.9413, 0.001),
    ("ml-100k-rate", "baselines/global_mean"): (1.1256, 0.0005),
    ("ml-100k-rate", "baselines/random"): (1.592, 0.01),  # sqrt(2) x 1.1256
    ("ml-100k-strong", "mf/ials"): (0.473, 0.01),
    ("ml-100k-strong", "baselines/ease"): (0.4789, 0.001),
    ("ml-100k-strong", "baselines/item_knn"): (0.4270, 0.002),
    ("ml-100k-strong", "baselines/popularity"): (0.2586, 0.005),
    ("ml-100k-top-n", "mf/ials"): (0.336, 0.006),
    ("ml-100k-top-n", "baselines/ease"): (0.3302, 0.001),
    ("ml-100k-top-n", "baselines/item_knn"): (0.2745, 0.002),
    ("ml-100k-top-n", "baselines/popularity"): (0.1420, 0.003),
}
BEATS = [
    ("mf/sgd", "baselines/bias"),
    ("mf/sgd", "mf/svd"),
    ("mf/svdpp", "mf/svd"),
    ("mf/ials", "baselines/item_knn"),
    ("mf/ials", "baselines/popularity"),
]


@pytest.fixture(scope="module")
def boards(tmp_path_factory) -> dict[str, dict[str, dict]]:
    results = tmp_path_factory.mktemp("results")
    named = [argument for name in BOARDS for argument in ("-b", name)]
    command = [sys.executable, "-m", "recarena"]
    run = [*command, "run", *named, "--seeds", "1", "--results", str(results)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    if "no source can be had" in done.stderr:
        pytest.skip(f"ML-100K cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    shown = [*command, "board", *BOARDS, "--json", "--results", str(results)]
    asks = json.loads(subprocess.run(shown, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    return {
        ask["benchmark"]: {row["implementation"]: row for row in ask["rows"] if row["status"] == "ok"} for ask in asks
    }


@pytest.mark.parametrize(("board", "who"), list(BANDS))
def test_bands(boards, board, who):
    value, tolerance = BANDS[board, who]
    assert boards[board][who]["metrics"][BOARDS[board]]["mean"] == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize(("better", "worse"), BEATS)
def test_a_method_beats_what_it_should_beat(boards, better, worse):
    for rows in boards.values():
        if better in rows and worse in rows:
            assert rows[better]["rank"] < rows[worse]["rank"], "not even significantly better"
