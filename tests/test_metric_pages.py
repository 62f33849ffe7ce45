"""The facts about metrics: complete, in the documents as in the command, and true of the functions."""

from __future__ import annotations

import re

import pytest
from tests.conftest import ROOT
from typer.testing import CliRunner

from recarena.cli.app import app
from recarena.cli.metrics import OURS, explain, facts, index, page
from recarena.contract.errors import RecarenaError
from recarena.contract.metrics.names import RANK, RATE

PAGES = ROOT / "docs" / "metrics"
KEYS = {"formula", "what", "range", "source", "edge", "same", "alike"}


def test_every_metric_has_its_facts() -> None:
    assert set(facts()) == set(OURS) == {*RANK, *RATE}
    for base, about in facts().items():
        assert set(about) - {"example"} == KEYS, base
        assert about["formula"] and about["what"].endswith(".") and about["source"].endswith("."), base
        assert about["same"] or about["alike"], base
        assert (ROOT / "src/recarena/contract/metrics" / f"{OURS[base]}.py").exists()


@pytest.mark.parametrize("base", sorted({*RANK, *RATE}))
def test_the_pages_are_what_the_command_says(base: str) -> None:
    written = (PAGES / f"{base}.md").read_text(encoding="utf-8")
    assert written == page(base), "run: recarena metrics pages docs/metrics"


def test_no_page_is_left_over_and_the_index_is_fresh() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*RANK, *RATE, "README"}
    assert index() in (PAGES / "README.md").read_text(encoding="utf-8"), "put recarena.cli.metrics.index() there"


def test_explain_says_who_prints_the_number_and_who_does_not() -> None:
    text = explain("ndcg@10")
    assert text.startswith("ndcg@10: ")
    for part in ("RecBole NDCG@k", "ranx ndcg@k", "trec_eval ndcg_cut_k", "looks alike, is not", "higher"):
        assert part in text
    assert explain("ndcg") == explain("ndcg@k") == text.replace("ndcg@10:", "ndcg@k:", 1)
    assert "lower" in explain("rmse")
    with pytest.raises(RecarenaError, match=r'unknown metric "ndgc@10" \(did you mean "ndcg@k"'):
        explain("ndgc@10")


def test_the_commands() -> None:
    shown = CliRunner().invoke(app, ["metrics", "explain", "map@10"])
    assert shown.exit_code == 0
    assert shown.output.strip() == explain("map@10").strip()
    listed = CliRunner().invoke(app, ["metrics", "ls"]).output
    for base in [*(f"{base}@k" for base in RANK), *RATE]:
        assert re.search(rf"(^|\W){re.escape(base)}\W", listed), base


def test_pages_are_written_again(tmp_path) -> None:
    assert CliRunner().invoke(app, ["metrics", "pages", str(tmp_path)]).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{base}.md" for base in [*RANK, *RATE]}
