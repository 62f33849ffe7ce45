"""Review sheets: filled from records, blank where only a person can say, the same for the same records."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from tests.conftest import ROOT
from tests.test_boards import ABOUT, CODE, claim, ranked
from tests.test_runner import RATE, recarena
from tests.test_verify import played as ran
from tests.test_verify import receipt

from recarena.boards.board import Judged, make
from recarena.boards.review import Played, of, sheet
from recarena.cli.project import Project
from recarena.cli.review import review
from recarena.contract.errors import RecarenaError
from recarena.data.folders import load_benchmark, load_dataset

FACTS = {
    "environment": {"python": "3.11", "packages": {"numpy": "2.4.6"}},
    "machine": {"cpu": "A|B", "cores": 2, "memory_bytes": 16e9, "platform": "Linux", "python": "3.11.7"},
    "limits": {"time_seconds": 60, "memory_bytes": 2e9, "threads": 2, "device": "cpu"},
    "curve": [
        {"epoch": 1.0, "validation": 0.25},
        {"epoch": 2.0, "validation": 0.75},
        {"epoch": 3.0, "validation": 0.5},
    ],
}
BENCHMARK = load_benchmark(ROOT, "tiny-top-n").model_copy(
    update={"name": ABOUT.name, "asks": {"top-n": load_benchmark(ROOT, "ml-100k-top-n").asks["top-n"]}}
)


def played(judged, probes=None, name: str = "mf/ada", claims=()) -> Played:
    board = make(ABOUT, judged, CODE, [("mf", one) for one in claims])
    return Played(BENCHMARK, load_dataset(ROOT, "tiny"), board, of(name, judged), probes or {})


def test_a_sheet_holds_what_the_checklist_asks_for():
    judged = [*ranked("mf/ada", 0.5, **FACTS), *ranked("mf/bo", 0.3, **FACTS)]
    page = sheet("mf/ada", [played(judged, claims=[claim()])], CODE["mf/ada"])
    for words in (
        "| demo-top-n | mf/ada | 1 of 2 | NDCG@10 ",  # summary
        "per_user_ratio (ratios 0.6 0.2 0.2, seed 2020); 1 fold",  # split
        "numpy 2.4.6", "(the same today)", "commit: 0123456789",  # code and dependencies
        "`k`", "none declared",  # parameters and departures
        "2 records, 2 ok; seeds 0, 1", "1 version judged",  # runs, seeds, looks
        "fit 2.00 s, answers 0.50 s", "60 s, 2 GB, 2 threads, cpu", r"A\|B, 2 cores, 16 GB",  # budget, infrastructure
        "0.2500 to 0.7500", "0.5000",  # validation beside test
        "`docs/metrics/ndcg.md`", "to 0.",  # metric definitions and intervals
        "MF, the paper's", "0.5000", "page 3 (source)",  # claims
        "By nobody yet", "not probed", "- [ ] How the parameters were chosen", "Reviewer: ______",
    ):  # fmt: skip
        assert words in page, words
    assert "mf/bo" not in page


def test_the_same_records_make_the_same_page_in_any_order():
    judged = [*ranked("mf/ada", 0.5, **FACTS), *ranked("mf/bo", 0.3, **FACTS)]
    whole = played(judged)
    orders = itertools.permutations(whole.judged)
    assert len({sheet("mf/ada", [replace(whole, judged=order)], None) for order in orders}) == 1


def test_receipts_probes_and_changed_code_are_told():
    first, second = ranked("mf/ada", 0.5, **FACTS)
    verified = Judged(first.row, first.record, first.values, (receipt(metrics_difference=0.00002),))
    page = sheet("mf/ada", [played([verified, second], {"id permutation": "clean"})], "0" * 64)
    assert "verified by kim (1 of 2 runs)" in page and "2e-05" in page and "2026-01-01" in page
    assert "id permutation: clean" in page and "not probed" not in page
    assert "its file has changed since" in page and "its file is gone" in sheet("mf/ada", [played([first])], None)


def test_runs_that_failed_and_predictions_only_are_told():
    failed = ranked("mf/ada", 0.5, status="failed", reason="went | wrong", asks={}, cost=None, **FACTS)
    page = sheet("mf/ada", [played(failed)], CODE["mf/ada"])
    assert "**Not ranked**" in page and r"failed: went \| wrong (2 runs)" in page and "No ranked row." in page
    facts = ranked("mf/ada", 0.5)[0].record.implementation.model_dump() | {"kind": "submission", "hyperparameters": {}}
    handed_in = ranked("mf/ada", 0.5, seeds=1, implementation=facts, cost=None, isolation="none")
    page = sheet("mf/ada", [played(handed_in)], None)
    assert "Predictions only" in page and "self-reported" in page and "- [ ] Where the code is" in page
    assert "runtime, budget and machine: not known" in page and "None recorded." in page
    with pytest.raises(RecarenaError, match="has no record to review"):
        sheet("mf/ada", [played(handed_in, name="mf/none")], None)


def test_review_on_the_command_line(project, tmp_path, monkeypatch):
    project.contender("demo/mean", RATE)
    ran(project, "c" * 40, overrides={"shift": "0.5"})
    out = tmp_path / "sheet.md"
    done = recarena(project, "review", "demo/mean", "--out", str(out), "--results", str(project.results))
    assert done.returncode == 0, done.stderr
    page = out.read_text(encoding="utf-8")
    assert "demo/mean+shift=0.5" in page and "0.5*" in page and page.count("## tiny-rate") == 1
    monkeypatch.setenv("RECARENA_ROOT", str(project.root))
    with pytest.raises(RecarenaError, match='did you mean "demo/mean"'):
        review(Project(project.results), "demo/meen", [], None)
