"""Metrics: worked by hand, held to their properties, and compared with two independent libraries."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena import Ragged, RankQueries, RateQueries, RecarenaError, top_k
from recarena.contract import metrics
from recarena.contract.answers import RankAnswers, RateAnswers
from recarena.contract.errors import PredictionError
from recarena.contract.metrics import evaluate, evaluate_all, evaluation, listed_in, lookup, parse, summary
from recarena.contract.validation import ValidationAsk
from recarena.judge.statistics import Scores, compare, estimate

RATE_METRICS = ("rmse", "mae", "auc", "log_loss")
LIST_METRICS = ("coverage", "gini", "novelty")
RANK_METRICS = ("recall", "capped_recall", "precision", "hr", "ndcg", "mrr", "map")


def rank_queries(n_queries: int, k: int, n_items: int) -> RankQueries:
    nothing = Ragged.from_lists([[]] * n_queries)
    return RankQueries(user=None, history=nothing, exclude=None, candidates=None, k=k, n_items=n_items)


def rate_queries(n_queries: int) -> RateQueries:
    return RateQueries(user=np.zeros(n_queries, np.int32), item=np.zeros(n_queries, np.int32))


def judge(lists: list[list[int]], relevant: list[list[int]], name: str, n_items: int = 100) -> list[float]:
    prediction = np.array(lists, dtype=np.int32)
    queries = rank_queries(*prediction.shape, n_items)
    return evaluate(queries, RankAnswers(Ragged.from_lists(relevant)), prediction, name).tolist()


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_says_kind_cut_off_direction_and_label() -> None:
    assert parse("ndcg@10") == metrics.Metric("ndcg@10", "rank", 10, higher_is_better=True, label="NDCG@10")
    assert parse("rmse") == metrics.Metric("rmse", "rate", None, higher_is_better=False, label="RMSE")
    assert parse("capped_recall@20").label == "Capped recall@20"
    assert [parse(f"{base}@7").k for base in RANK_METRICS] == [7] * len(RANK_METRICS)
    lower = [name for name in [*RATE_METRICS, "gini@1", "coverage@1", "novelty@1"] if not parse(name).higher_is_better]
    assert lower == ["rmse", "mae", "log_loss", "gini@1"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", 'unknown metric "ndgc@10" (did you mean "ndcg@k"?)'),
        ("rsme", 'unknown metric "rsme" (did you mean "rmse"?)'),
        ("gini", 'metric "gini": it has no cut-off; write how many items count, such as "gini@10"'),
        ("auc@5", 'metric "auc@5": auc judges ratings and takes no cut-off; write "auc"'),
        ("xyz", 'unknown metric "xyz" (known: auc, capped_recall@k, coverage@k'),
        ("ndcg", 'metric "ndcg": it has no cut-off; write how many items count, such as "ndcg@10"'),
        ("ndcg@", 'metric "ndcg@": "" is no cut-off'),
        ("hr@0", '"0" is no cut-off'),
        ("hr@010", '"010" is no cut-off'),
        ("hr@²", '"²" is no cut-off'),
        ("hr@-1", '"-1" is no cut-off'),
        ("rmse@5", 'metric "rmse@5": rmse judges ratings and takes no cut-off; write "rmse"'),
    ],
)
def test_a_wrong_name_is_told_what_to_write(name: str, message: str) -> None:
    with pytest.raises(RecarenaError) as error:
        parse(name)
    assert message in str(error.value)


# --- worked by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # the list 7 3 9 1 5 against {3, 5, 8}: hits at ranks 2 and 5, |R| = 3
        ("recall@5", 2 / 3),
        ("recall@2", 1 / 3),
        ("recall@1", 0.0),
        ("capped_recall@5", 2 / 3),  # min(5, 3) = 3
        ("capped_recall@2", 1 / 2),  # min(2, 3) = 2
        ("precision@5", 2 / 5),
        ("precision@2", 1 / 2),
        ("hr@5", 1.0),
        ("hr@1", 0.0),
        ("mrr@5", 1 / 2),
        ("mrr@1", 0.0),
        # (1/log2(3) + 1/log2(6)) / (1/log2(2) + 1/log2(3) + 1/log2(4)) = (.63093 + .38685) / (1 + .63093 + .5)
        ("ndcg@5", (1 / math.log2(3) + 1 / math.log2(6)) / (1 + 1 / math.log2(3) + 1 / 2)),
        # .63093 / (1 + .63093): the ideal list is cut at 2
        ("ndcg@2", (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
        # precision at the hits: 1/2 and 2/5, over min(5, 3)
        ("map@5", (1 / 2 + 2 / 5) / 3),
        # 1/2 over min(2, 3) = 2; trec_eval would say 1/2 over 3
        ("map@2", (1 / 2) / 2),
    ],
)
def test_rank_by_hand(name: str, value: float) -> None:
    assert judge([[7, 3, 9, 1, 5]], [[3, 5, 8]], name) == pytest.approx([value], abs=1e-15)


def test_the_worked_number_of_the_docs() -> None:
    assert judge([[7, 3, 9, 1, 5]], [[3, 5, 8]], "ndcg@5")[0] == pytest.approx(0.47762, abs=5e-6)


def test_rmse_and_mae_by_hand() -> None:
    queries, answers = rate_queries(3), RateAnswers(np.array([4.0, 1.0, 5.0], np.float32))
    prediction = np.array([3.0, 3.0, 5.0], np.float32)  # errors -1, 2, 0
    assert evaluate(queries, answers, prediction, "rmse").tolist() == [1.0, 4.0, 0.0]
    assert evaluate(queries, answers, prediction, "mae").tolist() == [1.0, 2.0, 0.0]
    assert summary("rmse", np.array([1.0, 4.0, 0.0])) == math.sqrt(5 / 3)
    assert summary("mae", np.array([1.0, 2.0, 0.0])) == 1.0
    assert summary("ndcg@10", np.array([0.0, 1.0])) == 0.5


def test_errors_are_computed_in_float64() -> None:
    # in float16, 4.1 - 4.0 would be .1016
    values = evaluate(rate_queries(1), RateAnswers(np.array([4.0], np.float32)), np.array([4.1]), "mae")
    assert values.dtype == np.float64
    assert values[0] == pytest.approx(0.1, abs=1e-12)


def test_pads_are_misses_and_an_empty_list_scores_zero() -> None:
    for base in RANK_METRICS:
        assert judge([[-1, -1, -1]], [[0]], f"{base}@3") == [0.0]
    # the pad of query 1 must not be taken for the last item of query 0, nor for the last of the catalogue
    assert judge([[99, -1], [-1, -1], [3, -1]], [[99], [0], [99]], "recall@2", n_items=100) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("base", ["capped_recall", "hr", "ndcg", "mrr", "map"])
@pytest.mark.parametrize("n_relevant", [1, 2, 3, 4, 5, 9, 40])
def test_a_perfect_list_is_exactly_one(base: str, n_relevant: int) -> None:
    for k in (1, 2, 4, 5, 17, 50):
        lists = [[*range(n_relevant), *range(50, 100)][:k]]
        assert judge(lists, [list(range(n_relevant))], f"{base}@{k}") == [1.0]


def test_recall_and_precision_may_not_reach_one() -> None:
    assert judge([[0, 1]], [[0, 1, 2]], "recall@2") == [2 / 3]
    assert judge([[0, 1]], [[0]], "precision@2") == [1 / 2]


def test_many_metrics_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    prediction = np.argsort(rng.random((20, 30)), axis=1)[:, :10]
    queries = rank_queries(20, 10, 30)
    relevant = [rng.choice(30, size=rng.integers(1, 20), replace=False) for _ in range(20)]
    answers = RankAnswers(Ragged.from_lists(relevant))
    names = [f"{base}@{k}" for base in RANK_METRICS for k in (1, 5, 10)]
    together = evaluate_all(queries, answers, prediction, names)
    assert list(together) == names
    for name in names:
        np.testing.assert_array_equal(together[name], evaluate(queries, answers, prediction, name))
        assert together[name].dtype == np.float64


def test_validation_scores_by_the_same_definitions() -> None:
    ask = ValidationAsk(rank_queries(2, 2, 5), RankAnswers(Ragged.from_lists([[1], [2]])), "recall@1")
    prediction = np.array([[1, 0], [0, 2]])
    assert ask.score(prediction) == 0.5
    assert ask.score(prediction, "recall@2") == 1.0


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_metric_of_the_wrong_kind() -> None:
    with pytest.raises(RecarenaError, match=r'"ndcg@10" judges a rank ask, but this one is a rate ask.*rmse, mae'):
        evaluate(rate_queries(1), RateAnswers(np.ones(1)), np.ones(1), "ndcg@10")
    with pytest.raises(RecarenaError, match=r'"rmse" judges a rate ask, but this one is a rank ask.*ndcg@k'):
        judge([[1]], [[1]], "rmse")


def test_a_query_without_an_answer_is_no_zero() -> None:
    with pytest.raises(ValueError, match="query 1 has no held-out item"):
        judge([[1], [1]], [[1], []], "hr@1")
    with pytest.raises(ValueError, match="3 answers for 2 queries"):
        judge([[1], [1]], [[1], [1], [1]], "hr@1")
    with pytest.raises(ValueError, match="no queries"):
        summary("hr@1", np.empty(0))


def test_predictions_that_cannot_be_judged() -> None:
    with pytest.raises(PredictionError, match="lists 2 items a query, expected at least 10"):
        judge([[1, 2]], [[1]], "hr@10")
    with pytest.raises(PredictionError, match="ids from 1 to 100, expected 0 to 99"):
        judge([[1, 100]], [[1]], "hr@1")
    with pytest.raises(PredictionError, match="ids from -2 to 1"):
        judge([[1, -2]], [[1]], "hr@1")
    queries, answers = rank_queries(1, 2, 5), RankAnswers(Ragged.from_lists([[1]]))
    for wrong in (np.ones((1, 2)), np.ones(2, int), np.ones((2, 2), int)):
        with pytest.raises(PredictionError, match=r"expected whole item ids of shape \(1, 2\)"):
            evaluate(queries, answers, wrong, "hr@1")
    with pytest.raises(PredictionError, match=r"shape \(1, 1\), expected \(1,\)"):
        evaluate(rate_queries(1), RateAnswers(np.ones(1)), np.ones((1, 1)), "rmse")


# --- properties -------------------------------------------------------------------------------------------------------

N_ITEMS = 12


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, list[list[int]], int]:
    """Lists, padded at random, their held-out items, and a cut-off."""
    n_queries = draw(st.integers(1, 6))
    k = draw(st.integers(1, 8))
    ids = st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=k)
    lists = [row + [-1] * (k - len(row)) for row in draw(st.lists(ids, min_size=n_queries, max_size=n_queries))]
    held_out = st.lists(st.integers(0, N_ITEMS - 1), unique=True, min_size=1)
    return np.array(lists), draw(st.lists(held_out, min_size=n_queries, max_size=n_queries)), draw(st.integers(1, k))


def values_of(lists: np.ndarray, relevant: list[list[int]], k: int) -> dict[str, np.ndarray]:
    answers = RankAnswers(Ragged.from_lists(relevant))
    return evaluate_all(rank_queries(*lists.shape, N_ITEMS), answers, lists, [f"{base}@{k}" for base in RANK_METRICS])


@given(cases())
def test_bounds(case: tuple[np.ndarray, list[list[int]], int]) -> None:
    for values in values_of(*case).values():
        assert ((values >= 0) & (values <= 1)).all()


@given(cases(), st.randoms(use_true_random=False))
def test_permuting_queries_permutes_the_values(case: tuple[np.ndarray, list[list[int]], int], random) -> None:
    lists, relevant, k = case
    order = list(range(len(lists)))
    random.shuffle(order)
    before, after = values_of(lists, relevant, k), values_of(lists[order], [relevant[i] for i in order], k)
    for name in before:
        np.testing.assert_array_equal(before[name][order], after[name])


@given(cases(), st.data())
def test_moving_a_relevant_item_up_never_hurts(
    case: tuple[np.ndarray, list[list[int]], int], data: st.DataObject
) -> None:
    lists, relevant, k = case
    row = data.draw(st.integers(0, len(lists) - 1))
    low = data.draw(st.integers(0, lists.shape[1] - 1))
    high = data.draw(st.integers(0, low))
    if lists[row, low] not in relevant[row]:
        return
    better = lists.copy()
    better[row, [high, low]] = lists[row, [low, high]]
    before, after = values_of(lists, relevant, k), values_of(better, relevant, k)
    for name in before:
        assert after[name][row] >= before[name][row] - 1e-15, name


@given(cases())
def test_what_lies_below_the_cut_off_does_not_matter(case: tuple[np.ndarray, list[list[int]], int]) -> None:
    lists, relevant, k = case
    whole, cut = values_of(lists, relevant, k), values_of(lists[:, :k], relevant, k)
    for name in whole:
        np.testing.assert_array_equal(whole[name], cut[name])


@given(cases(), st.permutations(range(N_ITEMS)))
def test_renaming_the_items_changes_nothing(case: tuple[np.ndarray, list[list[int]], int], names: list[int]) -> None:
    lists, relevant, k = case
    renamed = np.where(lists >= 0, np.array(names)[lists], -1)
    before = values_of(lists, relevant, k)
    after = values_of(renamed, [[names[i] for i in row] for row in relevant], k)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


@given(cases(), st.integers(1, 40))
@settings(max_examples=50)
def test_the_block_size_of_the_lookup_changes_nothing(
    case: tuple[np.ndarray, list[list[int]], int], table_items: int
) -> None:
    lists, relevant, _ = case
    expected = [[item in held_out for item in row] for row, held_out in zip(lists, relevant, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "TABLE_ITEMS", table_items)
        assert listed_in(Ragged.from_lists(relevant), lists, N_ITEMS).tolist() == expected


# --- labels -----------------------------------------------------------------------------------------------------------


def judge_labels(prediction: list[float], label: list[float], name: str) -> np.ndarray:
    return evaluate(rate_queries(len(label)), RateAnswers(np.array(label, np.float32)), np.array(prediction), name)


def test_auc_by_hand() -> None:
    # positives .8 .4, negatives .4 .1 .6: of 6 pairs .8 wins 3, .4 wins 1 and ties 1: 4.5 / 6
    values = judge_labels([0.8, 0.4, 0.1, 0.6, 0.4], [1, 0, 0, 0, 1], "auc")
    assert summary("auc", values) == pytest.approx(0.75, abs=1e-15)
    # V: .8 beats 3/3; the positive .4 beats .1 and ties .4: 1.5/3; negatives: .4 1.5/2, .1 2/2, .6 1/2
    v = np.array([1, 0.75, 1, 0.5, 0.5])
    np.testing.assert_allclose(values, 0.75 + (v - 0.75) * np.array([5 / 2, 5 / 3, 5 / 3, 5 / 3, 5 / 2]), atol=1e-15)


def test_log_loss_by_hand() -> None:
    values = judge_labels([0.8, 0.8, 0.5, 1.0, 0.0], [1, 0, 1, 1, 1], "log_loss")
    eps = np.finfo(np.float64).eps
    np.testing.assert_allclose(values, [-math.log(0.8), -math.log(0.2), math.log(2), eps, -math.log(eps)], atol=1e-15)
    assert values[4] == pytest.approx(36.04, abs=0.01)


def test_labels_that_cannot_be_judged() -> None:
    for name in ("auc", "log_loss"):
        with pytest.raises(RecarenaError, match=rf'"{name}" judges labels of 0 and 1, but query 1 was rated 3.5; give'):
            judge_labels([0.5, 0.5], [1, 3.5], name)
    for label in (0, 1):
        with pytest.raises(RecarenaError, match=f'"auc": all 2 labels are {label}, so there is no pair to order'):
            judge_labels([0.5, 0.2], [label, label], "auc")
    for wrong in (-0.1, 1.5, np.nan):
        with pytest.raises(PredictionError, match=r'"log_loss": query 1 has .*, expected the probability of a 1'):
            judge_labels([0.5, wrong], [1, 0], "log_loss")


def test_a_constant_has_an_auc_of_one_half_and_order_is_all_that_counts() -> None:
    label = (np.random.default_rng(0).random(200) < 0.3).astype(float).tolist()
    assert summary("auc", judge_labels([0.7] * 200, label, "auc")) == pytest.approx(0.5, abs=1e-15)
    assert summary("auc", judge_labels(label, label, "auc")) == 1.0
    score = np.random.default_rng(1).standard_normal(200)
    one, other = judge_labels(score.tolist(), label, "auc"), judge_labels(np.exp(score).tolist(), label, "auc")
    np.testing.assert_array_equal(one, other)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60))
@settings(deadline=None)  # scipy.stats takes a second to import
def test_auc_is_mann_and_whitneys(rows: list[tuple[int, bool]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    score, label = np.array([s for s, _ in rows], float), np.array([one for _, one in rows])
    m, n = label.sum(), (~label).sum()
    if not (m and n):
        return
    values = judge_labels(score.tolist(), label.astype(float).tolist(), "auc")
    u = stats.mannwhitneyu(score[label], score[~label], method="asymptotic").statistic if m * n > 1 else None
    pairs = np.sign(score[label][:, None] - score[~label][None])
    area = ((pairs + 1) / 2).mean()
    assert summary("auc", values) == pytest.approx(area, abs=1e-12)
    if u is not None and np.ptp(score) > 0:
        assert summary("auc", values) == pytest.approx(u / (m * n), abs=1e-12)


def delong(score: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The structural components of every row of scores, from all pairs: (rows, m) and (rows, n)."""
    wins = (np.sign(score[:, label][:, :, None] - score[:, ~label][:, None]) + 1) / 2
    return wins.mean(axis=2), wins.mean(axis=1)


def test_intervals_and_tests_of_auc_are_delongs() -> None:
    rng = np.random.default_rng(4)
    label = rng.random(600) < 0.3
    score = np.round(label + rng.standard_normal((2, 600)) * [[1.0], [1.3]], 1)  # ties
    m, n = int(label.sum()), int((~label).sum())
    ones, zeros = delong(score, label)
    area = ones.mean(axis=1)
    covariance = np.cov(ones) / m + np.cov(zeros) / n
    values = [evaluate(rate_queries(600), RateAnswers(label.astype(np.float32)), s, "auc") for s in score]
    rows = [Scores(str(i), "auc", [v[None]], [None]) for i, v in enumerate(values)]
    z = 1.96
    for i in range(2):
        found = estimate(rows[i])
        assert found.mean == pytest.approx(area[i], abs=1e-12)
        # his variance divides by m - 1 and n - 1, ours by m, n and then by (m + n - 1) / (m + n)
        assert found.half_width == pytest.approx(z * math.sqrt(covariance[i, i]), rel=0.01)
    pair = compare(*rows)
    spread = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert pair.difference == pytest.approx(area[0] - area[1], abs=1e-12)
    assert (pair.high - pair.low) / 2 == pytest.approx(z * spread, rel=0.01)


def test_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    label = (rng.random(2000) < 0.2).astype(float)
    p = np.round(np.clip(0.3 * label + rng.random(2000) * 0.7, 0, 1), 2)
    assert summary("auc", judge_labels(p.tolist(), label.tolist(), "auc")) == pytest.approx(
        sklearn.roc_auc_score(label, p), abs=1e-12
    )
    assert summary("log_loss", judge_labels(p.tolist(), label.tolist(), "log_loss")) == pytest.approx(
        sklearn.log_loss(label, p), abs=1e-12
    )


# --- what is listed ---------------------------------------------------------------------------------------------------


def judge_lists(lists: np.ndarray, popularity: np.ndarray | None, name: str, n_items: int) -> np.ndarray:
    relevant = Ragged.from_lists([[0]] * len(lists))
    return evaluate(rank_queries(*lists.shape, n_items), RankAnswers(relevant, popularity), lists, name)


def test_coverage_gini_and_novelty_by_hand() -> None:
    lists = np.array([[0, 1], [0, 2], [0, -1], [-1, -1]])  # of 5 items: 0 in three lists, 1 and 2 in one
    # 3 of 5 are listed; item 0 gives a third to each of its lists; times 4 / 5
    values = judge_lists(lists, None, "coverage@2", 5)
    np.testing.assert_allclose(values, np.array([4 / 3, 4 / 3, 1 / 3, 0]) * 4 / 5, atol=1e-15)
    assert summary("coverage@2", values) == pytest.approx(3 / 5, abs=1e-15)
    # counts upwards 0 0 1 1 3: (2 * 3 - 6) * 1 + (2 * 4 - 6) * 1 + (2 * 5 - 6) * 3 = 14, over 5 * 5
    assert summary("gini@2", judge_lists(lists, None, "gini@2", 5)) == pytest.approx(14 / 25, abs=1e-15)
    # of 8 rows: item 0 has 4 (1 bit), 1 has 2 (2 bits), 2 has none and counts as 1 (3 bits)
    popularity = np.array([4, 2, 0, 2, 0])
    np.testing.assert_allclose(judge_lists(lists, popularity, "novelty@2", 5), [1.5, 2, 1, 0], atol=1e-15)
    np.testing.assert_allclose(judge_lists(lists, popularity, "novelty@1", 5), [1, 1, 1, 0], atol=1e-15)


def test_the_extremes_of_coverage_and_gini() -> None:
    everybody_the_same, all_equally = np.tile([3, 1], (6, 1)), np.arange(12).reshape(6, 2)
    nothing = np.full((6, 2), -1)
    for lists, coverage, gini in ((everybody_the_same, 2 / 12, 10 / 12), (all_equally, 1, 0), (nothing, 0, 0)):
        assert summary("coverage@2", judge_lists(lists, None, "coverage@2", 12)) == pytest.approx(coverage, abs=1e-12)
        assert summary("gini@2", judge_lists(lists, None, "gini@2", 12)) == pytest.approx(gini, abs=1e-12)
    assert judge_lists(nothing, np.zeros(12, int), "novelty@2", 12).tolist() == [0] * 6


def test_novelty_needs_the_training_counts() -> None:
    lists = np.array([[0, 1]])
    with pytest.raises(RecarenaError, match='"novelty" needs to know how often each item occurs in training'):
        judge_lists(lists, None, "novelty@2", 5)
    with pytest.raises(ValueError, match=r"popularity has shape \(4,\), expected \(5,\)"):
        judge_lists(lists, np.ones(4, int), "novelty@2", 5)


@given(cases(), st.integers(0, 99))
def test_the_means_over_queries_are_the_plain_formulas(
    case: tuple[np.ndarray, list[list[int]], int], seed: int
) -> None:
    lists, _, k = case
    popularity = np.random.default_rng(seed).integers(0, 5, N_ITEMS)
    listed = lists[:, :k]
    count = np.array([(listed == i).sum() for i in range(N_ITEMS)])
    found = {
        base: summary(f"{base}@{k}", judge_lists(lists, popularity, f"{base}@{k}", N_ITEMS)) for base in LIST_METRICS
    }
    assert found["coverage"] == pytest.approx((count > 0).mean(), abs=1e-12)
    # half the mean absolute difference, relative to the mean
    apart = np.abs(count[:, None] - count[None]).mean() / 2
    assert found["gini"] == pytest.approx(apart / count.mean() if count.any() else 0, abs=1e-12)
    share = np.maximum(popularity, 1) / max(popularity.sum(), 1)
    bits = [np.mean([-np.log2(share[i]) for i in row if i >= 0]) if (row >= 0).any() else 0 for row in listed]
    assert found["novelty"] == pytest.approx(np.mean(bits), abs=1e-12)


@given(cases(), st.randoms(use_true_random=False))
def test_permuting_queries_permutes_the_shares(case: tuple[np.ndarray, list[list[int]], int], random) -> None:
    lists, _, k = case
    order = list(range(len(lists)))
    random.shuffle(order)
    for base in LIST_METRICS:
        before, after = (judge_lists(x, np.arange(N_ITEMS), f"{base}@{k}", N_ITEMS) for x in (lists, lists[order]))
        np.testing.assert_array_equal(before[order], after)


# --- other libraries --------------------------------------------------------------------------------------------------


def random_case(seed: int) -> tuple[np.ndarray, list[list[int]]]:
    """300 lists of 20 out of 50 items, made of tied scores; some short, some empty; up to 50 held-out items."""
    rng = np.random.default_rng(seed)
    lists = top_k(rng.integers(0, 5, size=(300, 50)), rank_queries(300, 20, 50))
    length = rng.choice([0, 1, 3, 19, 20, 20, 20], size=300)
    lists[np.arange(20) >= length[:, None]] = -1
    return lists, [rng.choice(50, size=rng.integers(1, 51), replace=False).tolist() for _ in range(300)]


def trec_style(lists: np.ndarray, relevant: list[list[int]]) -> tuple[dict, dict]:
    """Lists as both libraries want them. Their scores are distinct: each breaks ties by a rule of its own.

    Neither takes a query without a list, so an item that is nobody's answer stands in for an empty one.
    """
    qrels = {f"q{q:03}": {f"d{i}": 1 for i in row} for q, row in enumerate(relevant)}
    run = {
        f"q{q:03}": {f"d{i}": 1.0 - rank / 100 for rank, i in enumerate(row) if i >= 0} or {"nothing": 1.0}
        for q, row in enumerate(lists.tolist())
    }
    return qrels, run


# ours -> theirs; theirs divide map by |R|, ours by min(k, |R|), see docs/metrics/map.md
TREC = {"recall": "recall", "precision": "P", "hr": "success", "ndcg": "ndcg_cut", "map": "map_cut"}
RANX = {"recall": "recall", "precision": "precision", "hr": "hit_rate", "ndcg": "ndcg", "mrr": "mrr", "map": "map"}
CUTS = (1, 5, 20)


def ours(lists: np.ndarray, relevant: list[list[int]], name: str) -> np.ndarray:
    values = evaluate(rank_queries(*lists.shape, 50), RankAnswers(Ragged.from_lists(relevant)), lists, name)
    base, _, cut = name.partition("@")
    if base == "map":  # to the libraries' definition
        n_relevant = np.array([len(row) for row in relevant])
        values = values * np.minimum(int(cut), n_relevant) / n_relevant
    return values


@st.composite
def tied_cases(draw: st.DrawFn) -> tuple[np.ndarray, list[list[int]]]:
    """Lists that ``top_k`` makes of tied scores; some cut short, some empty; any number of held-out items."""
    seed, n_queries, values = draw(st.integers(0, 9999)), draw(st.integers(1, 9)), draw(st.integers(1, 50))
    rng = np.random.default_rng(seed)
    lists = top_k(rng.integers(0, values, size=(n_queries, 50)), rank_queries(n_queries, 20, 50))
    length = rng.choice([0, 1, 3, 19, 20, 20, 20], size=n_queries)
    lists[np.arange(20) >= length[:, None]] = -1
    return lists, [rng.choice(50, size=rng.integers(1, 51), replace=False).tolist() for _ in range(n_queries)]


@given(tied_cases())
@settings(deadline=None)
def test_agrees_with_trec_eval(case: tuple[np.ndarray, list[list[int]]]) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    lists, relevant = case
    qrels, run = trec_style(lists, relevant)
    wanted = {f"{theirs}.{','.join(map(str, CUTS))}" for theirs in TREC.values()} | {"recip_rank"}
    result = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    for base, theirs in TREC.items():
        for k in CUTS:
            expected = [result[q][f"{theirs}_{k}"] for q in sorted(qrels)]
            np.testing.assert_allclose(ours(lists, relevant, f"{base}@{k}"), expected, atol=1e-9, err_msg=base)
    expected = [result[q]["recip_rank"] for q in sorted(qrels)]  # has no cut-off; the lists end at 20
    np.testing.assert_allclose(ours(lists, relevant, "mrr@20"), expected, atol=1e-9)


RANX_SCRIPT = """
import json, sys, ranx
case = json.load(sys.stdin)
found = ranx.evaluate(ranx.Qrels(case["qrels"]), ranx.Run(case["run"]), case["names"], return_mean=False)
json.dump({name: values.tolist() for name, values in found.items()}, sys.stdout)
"""


def test_agrees_with_ranx() -> None:
    if importlib.util.find_spec("ranx") is None:
        pytest.skip("ranx is not installed")
    lists, relevant = random_case(11)
    qrels, run = trec_style(lists, relevant)
    case = {"qrels": qrels, "run": run, "names": [f"{name}@{k}" for name in RANX.values() for k in CUTS]}
    # a process of its own, because numba needs a minute to compile ranx, and can be told not to only before its import
    done = subprocess.run(
        [sys.executable, "-c", RANX_SCRIPT],
        input=json.dumps(case),
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    for base, name in RANX.items():
        for k in CUTS:
            np.testing.assert_allclose(
                ours(lists, relevant, f"{base}@{k}"), theirs[f"{name}@{k}"], atol=1e-9, err_msg=f"{base}@{k}"
            )


# --- docs ---------------------------------------------------------------------------------------------------


def test_every_metric_says_its_formula() -> None:
    for base, function in (evaluation.OF_HITS | evaluation.OF_LISTS).items():
        assert (inspect.getdoc(function) or "").startswith(f"{base}@k = "), base
    for base, function in evaluation.OF_RATINGS.items():
        assert (inspect.getdoc(function) or "").startswith(f"{base.capitalize()} = "), base
    assert (*evaluation.OF_HITS, *evaluation.OF_LISTS) == (*RANK_METRICS, *LIST_METRICS)
    assert tuple(evaluation.OF_RATINGS) == RATE_METRICS
