"""Boards: what counts, who shares a rank, what is said of the rest; a pure function of the records."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from recarena.boards.board import About, Judged, make
from recarena.boards.render import as_json, markdown, overview
from recarena.judge.claims import Claim, verdict
from recarena.judge.records import Record

ABOUT = About("demo-top-n", 2, "list films", "Known users, new films.", {"top-n": ["ndcg@10", "recall@10", "hr@10"]})
RATE = About("demo-rate", 1, "guess ratings", "Ratings.", {"rate": ["rmse", "mae"]}, folds=("u1", "u2"))
CODE = {"mf/ada": "a" * 64, "mf/bo": "b" * 64, "baselines/popularity": "c" * 64}


def record(name: str, seed: int, asks: dict, about: About = ABOUT, fold: str = "", **changes) -> Record:
    paper, who = name.split("/")
    facts = {
        "key": f"{name}{seed}{fold}", "question": f"question {fold}", "seed": seed, "isolation": "process",
        "benchmark": {"name": about.name, "version": about.version, "fold": fold},
        "implementation": {
            "paper": paper, "who": who, "author": who, "kind": "baseline" if paper == "baselines" else "implementation",
            "code": CODE[name], "departs": [], "deterministic": False, "hyperparameters": {"k": 1}, "overridden": [],
        },
        "environment": {}, "machine": {}, "limits": {}, "status": "ok", "reason": None, "last_lines": [], "asks": asks,
        "cost": {
            "load_seconds": 0.1, "fit_seconds": 2.0, "answer_seconds": dict.fromkeys(asks, 0.5), "wall_seconds": 3.0,
            "peak_memory_bytes": 300_000_000, "peak_gpu_bytes": None, "parameters": 1234,
        },
        "curve": [], "values": None, "test_looks": 1, "looked": ["x"], "limited": None,
        "commit": "0123456789", "dirty": False,
        "finished_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Record.model_validate(facts | changes)


def ranked(name: str, level: float, seeds: int = 2, spread: float = 0.1, **changes) -> list[Judged]:
    """Per-query values around a level, the same queries for everyone."""
    out = []
    for seed in range(seeds):
        hard = np.random.default_rng(0).normal(0, 0.2, 400)
        own = np.random.default_rng([seed, *name.encode()]).normal(0, spread, 400)
        values = {f"top-n.{m}": np.clip(level + hard + own, 0, 1).astype(np.float32) for m in ABOUT.asks["top-n"]}
        metrics = {m: float(values[f"top-n.{m}"].mean()) for m in ABOUT.asks["top-n"]}
        asks = changes.get("asks", {"top-n": {"queries": 400, "metrics": metrics}})
        others = {key: value for key, value in changes.items() if key != "asks"}
        out.append(Judged(name.replace("/", "."), record(name, seed, asks, **others), values))
    return out


def claim(**changes) -> Claim:
    facts = {
        "implementation": "ada", "benchmark": "demo-top-n", "ask": "top-n", "metric": "ndcg@10", "value": 0.5,
        "tolerance": 0.01, "model": "MF, the paper's", "protocol": "the same", "comparable": True, "source": "page 3",
        "confidence": "source",
    }  # fmt: skip
    return Claim.model_validate(facts | changes)


def test_rows_that_cannot_be_told_apart_share_a_rank():
    rows = [*ranked("mf/ada", 0.50), *ranked("mf/bo", 0.501), *ranked("baselines/popularity", 0.3)]
    ranking = make(ABOUT, rows, CODE, []).rankings[0]
    assert [(row.rank, row.name) for row in ranking.rows][2] == (3, "baselines/popularity")
    assert {row.rank for row in ranking.rows[:2]} == {1}
    first = ranking.rows[0].metrics["ndcg@10"]
    assert first.low < first.mean < first.high


def test_a_board_is_a_pure_function_of_the_set_of_records():
    rows = [*ranked("mf/ada", 0.5), *ranked("mf/bo", 0.4), *ranked("baselines/popularity", 0.3)]
    pages = {
        markdown(make(ABOUT, order, CODE, [("mf", claim())]))
        for order in itertools.islice(itertools.permutations(rows), 20)
    }
    assert len(pages) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"benchmark": {"name": "demo-top-n", "version": 1, "fold": ""}}, "stale: benchmark version 1, now 2"),
        ({"implementation": {"paper": "mf", "who": "bo", "author": "bo", "kind": "implementation", "code": "0" * 64,
          "departs": [], "deterministic": False, "hyperparameters": {}, "overridden": []}}, "stale: its code"),
        ({"status": "failed", "reason": "61 predictions are NaN", "asks": {}}, "failed: 61 predictions are NaN (seed"),
        ({"status": "timeout", "reason": "ran past the time limit", "asks": {}}, "timeout: ran past the time limit"),
        ({"status": "skipped", "reason": "needs known users", "asks": {}}, "skipped: needs known users"),
        ({"limited": 50}, "limited to 50 queries"),
        ({"question": "another"}, "stale: it answered another question"),
    ],
)  # fmt: skip
def test_what_does_not_count_is_shown_with_its_reason(changes, said):
    board = make(ABOUT, [*ranked("mf/ada", 0.5), *ranked("mf/bo", 0.6, seeds=1, **changes)], CODE, [])
    assert [row.name for row in board.rankings[0].rows] == ["mf/ada"]
    assert said in dict(board.not_ranked).get("mf/bo", dict(board.not_ranked).get("mf/bo (limited)", ""))
    assert said in markdown(board), "as it is told on the page"


def test_a_row_without_every_fold_is_not_ranked():
    def rated(name: str, fold: str) -> Judged:
        values = {"rate.error": np.ones(10, np.float32), "rate.user": np.arange(10, dtype=np.int32)}
        asks = {"rate": {"queries": 10, "metrics": {"rmse": 1.0, "mae": 1.0}}}
        return Judged(name.replace("/", "."), record(name, 0, asks, RATE, fold), values)

    board = make(RATE, [rated("mf/ada", "u1"), rated("mf/ada", "u2"), rated("mf/bo", "u1")], CODE, [])
    assert [row.name for row in board.rankings[0].rows] == ["mf/ada"]
    assert board.rankings[0].queries == 20 and board.rankings[0].folds == 2
    assert dict(board.not_ranked) == {"mf/bo": "incomplete: no record of u2"}


def test_rmse_on_a_board_is_the_mean_over_folds():
    judged = []
    for fold, error in (("u1", 1.0), ("u2", 3.0)):  # RMSE 1 and 3: mean 2, not sqrt((1 + 9) / 2)
        values = {"rate.error": np.full(8, error, np.float32), "rate.user": np.arange(8, dtype=np.int32)}
        asks = {"rate": {"queries": 8, "metrics": {"rmse": error, "mae": error}}}
        judged.append(Judged("mf.ada", record("mf/ada", 0, asks, RATE, fold), values))
    row = make(RATE, judged, CODE, []).rankings[0].rows[0]
    assert row.metrics["rmse"].mean == pytest.approx(2.0)
    assert row.fit_seconds == pytest.approx(4.0), "seconds are summed over folds"


def test_a_row_whose_values_are_too_large_for_git_is_ranked_by_its_mean():
    far = [Judged(one.row, one.record, None) for one in ranked("mf/bo", 0.9)]
    ranking = make(ABOUT, [*ranked("mf/ada", 0.5), *far], CODE, []).rankings[0]
    assert [row.name for row in ranking.rows] == ["mf/bo", "mf/ada"]
    assert np.isnan(ranking.rows[0].metrics["ndcg@10"].half_width)


@pytest.mark.parametrize(
    ("value", "metric", "ours", "expected"),
    [
        (0.5, "ndcg@10", 0.5049, ("reproduced", "✓ +.0049")),
        (0.5, "ndcg@10", 0.52, ("above", "above .0200")),
        (0.5, "ndcg@10", 0.48, ("short", "short .0200")),
        (0.9, "rmse", 0.88, ("above", "above .0200")),  # lower is better: .88 beats the claim
        (0.9, "rmse", 0.92, ("short", "short .0200")),
        (0.9, "rmse", 0.8951, ("reproduced", "✓ −.0049")),
    ],
)
def test_verdicts(value, metric, ours, expected):
    assert verdict(claim(value=value, metric=metric), ours) == expected


def test_claims_of_another_protocol_are_never_compared():
    other = claim(comparable=False, why_not="random folds", value=0.1)
    board = make(ABOUT, ranked("mf/ada", 0.5), CODE, [("mf", other)])
    assert board.rankings[0].rows[0].claim == ("not comparable", "not comparable")
    page = markdown(board)
    assert "Not comparable: random folds" in page and "✓" not in page
    with pytest.raises(ValueError, match="why_not"):
        claim(comparable=False)
    with pytest.raises(ValueError, match="memory"):
        claim(confidence="memory")


def test_json_has_the_documented_shape():
    board = make(ABOUT, [*ranked("mf/ada", 0.5), *ranked("mf/bo", 0.6, seeds=1, status="failed", reason="x", asks={})],
                 CODE, [("mf", claim())])  # fmt: skip
    (ask,) = json.loads(json.dumps(as_json(board), allow_nan=False))
    assert (ask["benchmark"], ask["ask"]) == ("demo-top-n", "top-n")
    row, published, failed = ask["rows"]
    assert {
        "rank": 1,
        "implementation": "mf/ada",
        "kind": "implementation",
        "status": "ok",
        "seeds": 2,
    }.items() <= row.items()
    assert set(row["metrics"]) == {"ndcg@10", "recall@10", "hr@10"}
    assert set(row["metrics"]["ndcg@10"]) == {"mean", "low", "high"}
    assert row["cost"]["fit_seconds"] == 2.0 and row["claim"]["verdict"] in {"reproduced", "short", "above"}
    assert published["kind"] == "claim" and published["metrics"]["ndcg@10"]["mean"] == 0.5
    assert failed["status"] == "failed" and failed["rank"] is None


def test_a_page_is_readable_at_100_columns_and_one_line_a_row():
    rows = [*ranked("mf/ada", 0.5), *ranked("baselines/popularity", 0.3)]
    board = make(ABOUT, rows, CODE, [("mf", claim())])
    for line in markdown(board).splitlines():
        if line.startswith("|"):
            assert len(line) <= 100, line
    assert overview([board]).count("demo-top-n") >= 1


def test_an_empty_board_says_how_to_fill_it():
    assert "`recarena run`" in markdown(make(ABOUT, [], CODE, []))
    assert "No board has a row yet" in overview([make(ABOUT, [], CODE, [])])


def test_seeds_that_miss_a_fold_do_not_count_and_what_is_stale_does_not_spoil_a_complete_row():
    def rated(seed: int, fold: str, error: float, **changes) -> Judged:
        values = {"rate.error": np.full(10, error, np.float32), "rate.user": np.arange(10, dtype=np.int32)}
        asks = {"rate": {"queries": 10, "metrics": {"rmse": error, "mae": error}}}
        return Judged("mf.ada", record("mf/ada", seed, asks, RATE, fold, **changes), values)

    old = dict(record("mf/ada", 2, {}, RATE, "u1").implementation.model_dump(), code="0" * 64)
    rows = [rated(0, "u1", 1.0), rated(0, "u2", 1.0), rated(1, "u1", 5.0), rated(2, "u1", 9.0, implementation=old)]
    board = make(RATE, rows, CODE, [])
    (row,) = board.rankings[0].rows
    assert row.seeds == 1 and row.metrics["rmse"].mean == pytest.approx(1.0)
    assert board.not_ranked == []


def test_a_row_with_one_seed_is_not_surer_than_its_rivals():
    rows = [*ranked("mf/ada", 0.50, seeds=5, spread=0.3), *ranked("mf/bo", 0.53, seeds=1, spread=0.3)]
    for number, one in enumerate(rows[:5]):  # five seeds that differ by much
        values = {name: np.clip(v + 0.08 * (number - 2), 0, 1) for name, v in one.values.items()}
        rows[number] = Judged(one.row, one.record, values)
    ranking = make(ABOUT, rows, CODE, []).rankings[0]
    assert {row.rank for row in ranking.rows} == {1}, "one lucky seed won"


def test_a_contenders_words_stay_words():
    evil = "oops*)\n\n| rank | implementation |\n|--|--|\n| 1 | mf/bo | `x` <b> [y](z)"
    page = markdown(make(ABOUT, [*ranked("mf/ada", 0.5), *ranked("mf/bo", 0.6, status="failed", reason=evil, asks={})],
                         CODE, []))  # fmt: skip
    assert "\n| 1 | mf/bo" not in page
    assert "\\| 1 \\| mf/bo" in page and "\\<b>" in page and "\\[y\\](z)" in page
