"""Two rows side by side: hand-worked differences, slices that partition, refusals, pages that obey nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT
from tests.test_boards import ABOUT, CODE, RATE, ranked, record
from tests.test_runner import RATE as MEAN
from tests.test_runner import play
from typer.testing import CliRunner

from recarena.boards import figures
from recarena.boards.blocks import Bullets, Heading, Table, Text, html, markdown
from recarena.boards.board import Judged, make
from recarena.boards.duel import fight, pair
from recarena.boards.duel_render import as_json, evidence, page
from recarena.boards.slices import lower_median, slices
from recarena.boards.why import code_of, difference_of_code, explain
from recarena.cli.app import app
from recarena.contract.answers import RateAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.errors import RecarenaError
from recarena.contract.queries import Interactions, RateQueries
from recarena.contract.questions import Question, Train
from recarena.data.prepare import Catalogue, Prepared, open_benchmark
from recarena.judge import records
from recarena.judge.statistics import holm

NAMES = ("mf/ada", "mf/bo")


def rated(name: str, errors, seed: int = 0, folds=("u1", "u2"), **changes) -> list[Judged]:
    """The same errors in both folds, one user a query."""
    made = []
    for fold in folds:
        error = np.asarray(errors, np.float32)
        values = {"rate.error": error, "rate.user": np.arange(len(error), dtype=np.int32)}
        metrics = {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}
        asks = {"rate": {"queries": len(error), "metrics": metrics}}
        made.append(Judged(name.replace("/", "."), record(name, seed, asks, RATE, fold, **changes), values))
    return made


def films(fold: str, title: str = "Heat") -> Prepared:
    """Twelve queries: users 0..11 ask about item 0, which has 12 training events, or item 1, which has none."""
    user = np.arange(12, dtype=np.int32)
    seen = Interactions(user, np.zeros(12, np.int32), np.full(12, 3, np.float32), None, 12, 2)
    item = np.array([0] * 10 + [1] * 2, np.int32)
    value = np.array([1] * 6 + [5] * 6, np.float32)
    known = Catalogue(np.arange(100, 112), np.array([7, 8]), {7: title})
    return Prepared(
        fold, Question(Train(seen), {"rate": RateQueries(user, item)}), {"rate": RateAnswers(value)}, known, {}
    )


def duel(a, b, about=RATE, folds=None, names=NAMES, code=(None, None)):
    return fight(pair(about, [*a, *b], CODE, names), code, folds, "" if folds else "the data are not at hand")


def test_a_hand_worked_duel():
    # squared errors: a 1 everywhere; b 4 on the first four queries, 0 on the other eight
    a, b = rated("mf/ada", [1.0] * 12), rated("mf/bo", [2.0] * 4 + [0.0] * 8)
    (one,) = duel(a, b).asks
    rmse, mae = one.metrics
    assert rmse.a == pytest.approx(1) and rmse.b == pytest.approx(np.sqrt(16 / 12))
    assert rmse.difference == pytest.approx(1 - np.sqrt(4 / 3)) and rmse.low < rmse.difference < rmse.high
    assert (rmse.wins, rmse.ties, rmse.losses) == (8, 0, 16) and rmse.queries == 24 and rmse.pairs == 12
    assert mae.difference == pytest.approx(1 - 8 / 12)
    assert one.slices == [] and one.examples == [] and "not at hand" in one.left_out


def test_equal_values_are_ties_and_nothing_is_better():
    (one,) = duel(rated("mf/ada", [1.0, -1.0] * 6), rated("mf/bo", [-1.0, 1.0] * 6)).asks
    assert (one.metrics[0].wins, one.metrics[0].ties, one.metrics[0].losses) == (0, 24, 0)
    assert one.metrics[0].verdict == "cannot be told apart" and one.metrics[0].p == 1


def test_seeds_are_averaged_before_a_query_is_won():
    # bo's squared errors are 0 and 4, mean 2, against 1: lost on average, won by one seed
    b = [*rated("mf/bo", [0.0] * 12, 0), *rated("mf/bo", [2.0] * 12, 1)]
    (one,) = duel([*rated("mf/ada", [1.0] * 12, 0), *rated("mf/ada", [1.0] * 12, 1)], b).asks
    assert (one.metrics[0].wins, one.metrics[0].losses) == (24, 0)


def test_the_page_says_what_the_ranks_say_and_the_rest_is_adjusted_by_holm():
    rows = [*ranked("mf/ada", 0.50), *ranked("mf/bo", 0.53), *ranked("baselines/popularity", 0.3)]
    ranking = make(ABOUT, rows, CODE, []).rankings[0]
    rivals = pair(ABOUT, rows, CODE, NAMES)
    (one,) = fight(rivals, (None, None), None).asks
    ranks = {row.name: row.rank for row in ranking.rows}
    assert (one.metrics[0].verdict == "worse") == (ranks["mf/ada"] > ranks["mf/bo"])
    # metrics beside the first have equal values here: equal p, each twice the unadjusted one
    assert one.metrics[1].p == one.metrics[2].p == pytest.approx(min(1, 2 * holm([one.metrics[1].p / 2])[0]))
    assert one.metrics[1].difference == pytest.approx(one.metrics[0].difference)


@pytest.mark.parametrize("gap", [0.0, 0.004, 0.01, 0.02, 0.05])
def test_a_duel_never_contradicts_its_board(gap):
    rows = [*ranked("mf/ada", 0.5, spread=0.05), *ranked("mf/bo", 0.5 + gap, spread=0.05)]
    rank = {row.name: row.rank for row in make(ABOUT, rows, CODE, []).rankings[0].rows}
    verdict = fight(pair(ABOUT, rows, CODE, NAMES), (None, None), None).asks[0].metrics[0].verdict
    assert (verdict == "cannot be told apart") == (rank["mf/ada"] == rank["mf/bo"])


def test_slices_shares_and_examples_by_hand():
    a, b = rated("mf/ada", [1.0] * 12), rated("mf/bo", [2.0] * 4 + [0.0] * 8)
    found = duel(a, b, folds=[films("u1"), films("u2")])
    (one,) = found.asks
    lines = {line.name: line for line in one.slices}
    assert list(lines) == ["cold items (no event)", "head items (12+ events)", "rated 1", "rated 5"]
    # differences of squared errors: -3 on queries 0-3, +1 on 4-11; in all -4 a fold
    assert lines["rated 1"].share == pytest.approx((-12 + 2) / -4) and lines["rated 5"].share == pytest.approx(6 / -4)
    assert lines["cold items (no event)"].share == pytest.approx(2 / -4)
    assert not lines["cold items (no event)"].tested, "two users are too few for a test"
    assert lines["rated 1"].queries == 12 and (lines["rated 1"].wins, lines["rated 1"].losses) == (8, 4)
    first = one.examples[0]
    assert (first.fold, first.query, first.user, first.items) == ("u1", 0, "100", ("Heat",))
    assert first.answer == 1 and first.prediction == (2.0, 3.0) and first.value == (1.0, 4.0)
    assert len(one.examples) == 10 and "| user 100 " in markdown(page(found))


@pytest.mark.parametrize("name", ["tiny-rate", "tiny-top-n", "tiny-next", "tiny-strong", "tiny-candidates"])
def test_slices_partition_the_queries(name, tmp_path):
    benchmark, folds = open_benchmark(ROOT, name, cache=tmp_path)
    for ask in benchmark.asks:
        axes: dict[str, list] = {}
        for one in slices(folds, ask):
            axes.setdefault(one.axis, []).append(one.masks)
        for parts in axes.values():
            for fold, masks in zip(folds, zip(*parts, strict=True), strict=True):
                assert (np.sum(masks, axis=0) == 1).all() and len(masks[0]) == len(fold.question.asks[ask])
            assert len(parts) > 1


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=8))
def test_the_lower_median(lists):
    number = np.array([4, 0, 9, 9, 2, 7])
    expected = [sorted(number[row])[(len(row) - 1) // 2] for row in lists]
    assert lower_median(number, Ragged.from_lists(lists)).tolist() == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "failed", "reason": "61 are NaN", "asks": {}}, "failed: 61 are NaN"),
        ({"limited": 50}, "limited to 50 queries"),
        ({"benchmark": {"name": "demo-top-n", "version": 1, "fold": ""}}, "stale: benchmark version 1, now 2"),
        ({"question": "another"}, "stale: it answered another question"),
        ({"status": "skipped", "reason": "needs users", "asks": {}}, "skipped: needs users"),
    ],
)
def test_what_does_not_rank_is_refused_with_its_reason(changes, said):
    rows = [*ranked("mf/ada", 0.5), *ranked("mf/bo", 0.6, seeds=1, **changes)]
    with pytest.raises(RecarenaError, match=re.escape(said)) as caught:
        pair(ABOUT, rows, CODE, NAMES)
    assert "mf/bo" in str(caught.value) and "demo-top-n" in str(caught.value)


def test_other_refusals_say_what_to_do():
    rows = ranked("mf/ada", 0.5)
    for names, said in (
        (("mf/ada", "mf/ada"), "two different rows"),
        (("mf/ada", "mf/bo"), "recarena run -i mf/bo -b demo-top-n"),
        (("mf/ada", "mf/adda"), 'did you mean "mf/ada"'),
    ):
        with pytest.raises(RecarenaError, match=re.escape(said)):
            pair(ABOUT, rows, CODE, names)
    changed = {**CODE, "mf/bo": "0" * 64}
    with pytest.raises(RecarenaError, match="its code has changed since"):
        pair(ABOUT, [*rows, *ranked("mf/bo", 0.5)], changed, NAMES)


def test_without_values_nothing_is_called_better():
    bare = [replace(one, values=None) for one in rated("mf/bo", [9.0] * 12)]
    found = duel(rated("mf/ada", [1.0] * 12), bare)
    (one,) = found.asks
    assert one.metrics[0].verdict == "not tested" and one.metrics[0].wins is None
    strong, text = evidence(found, one)
    assert "Nothing is tested" in strong and "better" not in strong + text
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["asks"][0]["metrics"][0]["low"] is None


def test_predictions_only_are_compared_without_code_or_cost():
    who = record("mf/bo", 0, {}).implementation.model_copy(
        update={"who": "lee", "kind": "submission", "code": "9" * 64}
    )
    handed_in = [
        replace(
            one, row="mf.lee+predictions", record=one.record.model_copy(update={"implementation": who, "cost": None})
        )
        for one in rated("mf/bo", [2.0] * 12)
    ]
    found = duel(rated("mf/ada", [1.0] * 12), handed_in, names=("mf/ada", "mf/lee"))
    assert found.b.name == "mf/lee+predictions" and found.asks[0].metrics[0].losses == 0
    made = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert made["b"]["cost"] is None and made["b"]["kind"] == "submission"
    text = markdown(page(found))
    assert "predictions only" in text and "nan" not in text and "–" in text.partition("## Cost")[2]


def test_a_single_seed_is_as_unsure_as_on_the_board():
    many = [
        replace(one, values={name: np.clip(v + 0.1 * n, 0, 1) for name, v in one.values.items()})
        for n, one in enumerate(ranked("mf/ada", 0.4, seeds=4))
    ]
    (one,) = duel(many, ranked("mf/bo", 0.5, seeds=1), ABOUT).asks
    assert one.metrics[0].high - one.metrics[0].low > 0.15 and one.metrics[0].verdict == "cannot be told apart"


def test_why_lists_what_was_declared_first():
    facts = record("mf/ada", 0, {}).implementation.model_dump()
    a = record("mf/ada", 0, {}, implementation={**facts, "hyperparameters": {"k": 8, "lr": 0.1, "same": 1}},
               environment={"packages": {"numpy": "2.1"}})  # fmt: skip
    b = record("mf/bo", 0, {}, implementation={**facts, "departs": ["no biases"], "hyperparameters":
               {"k": 8, "lr": 0.2, "n_epochs": 5, "same": 1}}, environment={"packages": {"numpy": "2.4"}})  # fmt: skip
    code = [code_of([f'"""Fits by {how}."""\nx = 1\n']) for how in ("SGD", "closed form")]
    why = explain([a], [b], *code)
    told = [(one.aspect, one.setting, one.a, one.b, one.declared) for one in why.differences]
    assert told == [
        ("learner", "", "SGD", "closed form", True),
        ("departures", "", "none declared", "1 declared", True),
        ("learner", "lr", "0.1", "0.2", True),
        ("epochs", "n_epochs", "–", "5", True),
        ("package", "numpy", "2.1", "2.4", False),
    ]
    assert why.same == {"k": "8", "same": "1"} and why.largest == why.differences[0]


def test_equal_lines_are_counted():
    a, b = code_of(["x = 1\n\ny = 2\nz = 3\n"]), code_of(["x = 1\ny = 5\nz = 3\nw = 4\n"])
    found = difference_of_code(a, b)
    assert (found.a, found.b, found.equal, found.share) == (3, 4, 2, pytest.approx(4 / 7))
    assert code_of(["def ("]).docstring == "", "another language is no error"


def test_the_keys_of_the_json_are_stable():
    a, b = rated("mf/ada", [1.0] * 12), rated("mf/bo", [2.0] * 4 + [0.0] * 8)
    made = json.loads(json.dumps(as_json(duel(a, b, folds=[films("u1"), films("u2")])), allow_nan=False))
    assert list(made) == ["format", "benchmark", "version", "a", "b", "asks", "why"] and made["format"] == 1
    assert " ".join(made["a"]) == (
        "name author kind ranks seeds code hyperparameters departs environment device cost curve isolation "
        "test_looks commit dirty"
    )
    (ask,) = made["asks"]
    assert list(ask) == ["ask", "verdict", "evidence", "metrics", "slices", "examples", "left_out"]
    line = ["name", "axis", "metric", "queries", "pairs", "a", "b", "difference", "low", "high", "p", "verdict", "wins",
            "ties", "losses", "share"]  # fmt: skip
    assert list(ask["metrics"][0]) == list(ask["slices"][0]) == line
    assert list(ask["examples"][0]) == [
        "fold",
        "query",
        "user",
        "history",
        "items",
        "more",
        "answer",
        "prediction",
        "value",
    ]
    assert list(made["why"]) == ["differences", "same", "code"]


EVIL = '<script>alert(1)</script><img src=x onerror=y> **bold** [y](z) | `x` $x$ &lt; _i_ "quoted" http://evil'


def hostile():
    a, b = rated("mf/ada", [1.0] * 12), rated("mf/bo", [2.0] * 4 + [0.0] * 8)
    who = b[0].record.implementation.model_copy(update={"departs": [EVIL], "hyperparameters": {EVIL: EVIL}})
    said = {"implementation": who, "curve": [{"epoch": 1.0, EVIL: 2.0}, {"epoch": 2.0, EVIL: 1.0}]}
    b = [replace(one, record=one.record.model_copy(update=said)) for one in b]
    return duel(a, b, folds=[films("u1", EVIL), films("u2", EVIL)])


def test_html_is_one_file_that_obeys_nobody():
    text = html(page(hostile()), EVIL)
    assert "<script" not in text and "<img" not in text and "&lt;script&gt;" in text
    assert "default-src 'none'" in text and not re.search(r'(?:src|href)="(?!data:)', text)
    assert text.count("<table>") == text.count("</table>") >= 4


def test_markdown_stays_text_and_within_its_width():
    text = markdown(page(hostile()))
    outside = re.sub(r"\\.", "", text)  # what is left of it after the escapes
    assert not re.search(r"<[a-z/]|\]\(|`|\$|&lt;|://|(?<!\w)_i_", outside)
    widths = {len(re.sub(r"\\\|", "", line).split("|")) for line in text.splitlines() if line.startswith("| user ")}
    assert len(widths) == 1, "a title opened a cell of its own"
    long = "word " * 60 + "- not a list 1. nor this # nor that " * 9
    wrapped = markdown([Heading("a"), Text(long), Bullets([long])])
    assert max(map(len, wrapped.splitlines())) <= 120
    assert not [line for line in wrapped.splitlines()[4:] if re.match(r"\s*(- n|1\.|# )", line)]


def test_a_table_leaves_out_optional_columns_where_it_is_too_wide():
    table = Table([("a", "left"), ("b", "left"), ("c", "left")], [["x" * 60, "y" * 60, "z"]], optional=("b",))
    assert "y" not in markdown([table]) and "z" in markdown([table])


def test_the_figure_is_drawn_and_the_same_twice():
    pytest.importorskip("matplotlib")
    found = hostile()
    svg = figures.draw(found, "svg")
    assert svg == figures.draw(found, "svg") and b"<script" not in svg
    assert figures.draw(found, "png").startswith(b"\x89PNG")


def test_figures_say_what_they_need(monkeypatch, tmp_path):
    assert [p.name for p in figures.paths(tmp_path / "duel")] == ["duel.png", "duel.svg"]
    with pytest.raises(RecarenaError, match=r"expected \.png or \.svg"):
        figures.paths(tmp_path / "duel.pdf")
    monkeypatch.setattr(figures, "have_matplotlib", lambda: False)
    with pytest.raises(RecarenaError, match=r"recarena\[figures\]"):
        figures.draw(hostile(), "svg")


def test_the_command_end_to_end(project, monkeypatch):
    project.contender("demo/mean", MEAN)
    project.contender("demo/shift", MEAN.replace("shift: float = 0.0", "shift: float = 0.5"))
    play(project, "--seeds", "1")
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)

    def compare(*more: str, other: str = "demo/shift", catch: bool = True):
        rows = ["compare", "demo/mean", other, "-b", "tiny-rate", "--results", str(project.results), *more]
        return CliRunner().invoke(app, rows, catch_exceptions=catch)

    found = json.loads(compare("--json").stdout)
    (ask,) = found["asks"]
    rmse = {
        who: np.mean([records.read(f).asks["rate"].metrics["rmse"] for f in project.results.glob(f"*/{who}/*.json")])
        for who in ("demo.mean", "demo.shift")
    }
    assert ask["metrics"][0]["difference"] == pytest.approx(rmse["demo.mean"] - rmse["demo.shift"], rel=1e-5)
    assert ask["slices"] and ask["left_out"] is None
    setting = {"aspect": "setting", "setting": "shift", "a": "0", "b": "0.5", "declared": True}
    assert setting in found["why"]["differences"] and found["why"]["code"]["share"] > 0.8
    predicted = ask["examples"][0]["prediction"]
    assert predicted[1] - predicted[0] == pytest.approx(0.5, abs=1e-5)

    done = compare("--md", "--figure", str(project.root / "duel.svg"))
    assert "# demo/mean against demo/shift on tiny-rate" in done.stdout and "](duel.svg)" in done.stdout
    assert (project.root / "duel.svg").read_bytes().startswith(b"<?xml")
    assert compare("--html").stdout.startswith("<!DOCTYPE html>") and compare("--md", "--json").exit_code == 2
    with pytest.raises(RecarenaError, match='did you mean "demo/mean"'):
        compare(other="demo/meen", catch=False)

    recipe = project.root / "benchmarks" / "tiny-rate.toml"
    recipe.write_text(recipe.read_text().replace("seed = 42", "seed = 43"))  # and no new version: a mistake
    out = " ".join(compare("--md").stdout.split())
    assert "make another question of" in out and "cold items" not in out
