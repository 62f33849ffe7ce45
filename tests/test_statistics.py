"""Intervals, comparisons and ranks: against scipy, by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recarena.judge.statistics import ROUNDING, Comparison, Scores, compare, estimate, holm, ranks


def scores(*folds: object, metric: str = "ndcg@10", clusters: list[object] | None = None, name: str = "row") -> Scores:
    values = [np.atleast_2d(np.asarray(fold, dtype=np.float64)) for fold in folds]
    return Scores(name, metric, values, clusters or [None] * len(values))  # type: ignore[arg-type]


# --- estimate ---------------------------------------------------------------------------------------------------------


def test_one_seed_and_one_query_a_cluster_is_the_textbook_interval() -> None:
    values = np.random.default_rng(0).random(40)
    found = estimate(scores(values))
    low, high = stats.t.interval(0.95, 39, loc=values.mean(), scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high), abs=1e-12)
    assert found.half_width == pytest.approx((high - low) / 2, abs=1e-12)
    assert found.seeds == 1
    assert math.isnan(found.seed_sd)


def test_a_cluster_of_copies_counts_once() -> None:
    values = np.random.default_rng(0).random(40)
    single, tripled = scores(values), scores(np.repeat(values, 3), clusters=[np.repeat(np.arange(40), 3)])
    assert estimate(tripled).half_width == pytest.approx(estimate(single).half_width, rel=1e-12)
    # the same users in three folds are the same 40 witnesses
    folds = scores(values, values, values, clusters=[np.arange(40)] * 3)
    assert estimate(folds).half_width == pytest.approx(estimate(single).half_width, rel=1e-12)
    # but queries of their own are 120
    assert estimate(scores(values, values, values)).half_width < 0.6 * estimate(single).half_width


def test_cluster_numbers_are_only_names() -> None:
    rng = np.random.default_rng(1)
    folds, users = [rng.random(30), rng.random(20)], [rng.integers(0, 9, 30), rng.integers(0, 9, 20)]
    plain = estimate(scores(*folds, clusters=users))
    renamed = estimate(scores(*folds, clusters=[7_000_000 - 1000 * u for u in users]))
    assert plain.half_width == pytest.approx(renamed.half_width, rel=1e-12)
    order = rng.permutation(30)
    shuffled = estimate(scores(folds[0][order], folds[1], clusters=[users[0][order], users[1]]))
    assert plain.half_width == pytest.approx(shuffled.half_width, rel=1e-12)


def test_clusters_by_hand() -> None:
    # values 0 0 1 | 1 of users a a a | b, mean 1/2, terms -1/8 -1/8 +1/8 | +1/8, sums -1/8 | +1/8
    # variance = (1/64 + 1/64) * 2 / 1 = 1/16, standard error 1/4, t(1 degree) = 12.7062
    found = estimate(scores([0, 0, 1, 1], clusters=[np.array([4, 4, 4, 2])]))
    assert found.mean == 0.5
    assert found.half_width == pytest.approx(12.7062 / 4, abs=1e-4)


def test_rmse_is_the_mean_of_the_folds_and_takes_the_delta_method() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(50), 4 * rng.random(80)
    found = estimate(scores(first, second, metric="rmse"))
    roots = [math.sqrt(first.mean()), math.sqrt(second.mean())]
    assert found.mean == pytest.approx(sum(roots) / 2, abs=1e-12)
    # se(rmse) = se(mse) / (2 rmse) in each fold; the mean of two independent ones is half the root of their squares
    one_fold = estimate(scores(first, metric="rmse"))
    assert one_fold.half_width == pytest.approx(stats.sem(first) / (2 * roots[0]) * stats.t.ppf(0.975, 49), rel=1e-12)
    errors = [stats.sem(values) / (2 * root) for values, root in zip((first, second), roots, strict=True)]
    assert found.half_width == pytest.approx(math.hypot(*errors) / 2 * stats.t.ppf(0.975, 129), rel=0.03)


def test_seeds_by_hand() -> None:
    # seeds score 1/4, 2/4, 3/4: mean .5, sd .25, variance of their mean 1/48.
    # mean over seeds of each query: 1 1 0 0 -> variance over queries (1/4 * 4) / 3 / 4 = 1/12, with 3 degrees
    values = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 2, 0, 0]]
    found = estimate(scores(values))
    variance = 1 / 12 + 1 / 48
    freedom = variance**2 / ((1 / 12) ** 2 / 3 + (1 / 48) ** 2 / 2)
    assert found.mean == 0.5
    assert found.seeds == 3
    assert found.seed_sd == pytest.approx(0.25)
    assert found.half_width == pytest.approx(math.sqrt(variance) * stats.t.ppf(0.975, freedom))


def test_a_perfect_row_has_no_spread() -> None:
    assert estimate(scores([1, 1, 1])).half_width == 0
    assert estimate(scores([0, 0, 0], metric="rmse")).half_width == 0


def test_with_one_cluster_there_is_no_interval() -> None:
    found = estimate(scores([0.2, 0.6], clusters=[np.array([3, 3])]))
    assert found.mean == pytest.approx(0.4)
    assert all(math.isnan(x) for x in (found.low, found.high, found.half_width))


def simulated(rng: np.random.Generator, metric: str, n_users: int = 150, n_folds: int = 2, n_seeds: int = 3) -> Scores:
    """Users who differ in how well they are served, asked a different number of times, by seeds of different luck."""
    lucky = rng.normal(0, 0.02, (n_seeds, 1))
    spread = rng.gamma(4, 0.25, n_users)  # mean 1
    folds, clusters = [], []
    for _ in range(n_folds):
        user = np.repeat(np.arange(n_users), rng.integers(0, 8, n_users))
        error = rng.normal(size=len(user)) * np.sqrt(spread[user]) * np.ones((n_seeds, 1))
        value = (error * (1 + lucky)) ** 2 if metric == "rmse" else 0.1 * spread[user] + 0.02 * error + lucky
        folds.append(value)
        clusters.append(user)
    return Scores("simulated", metric, folds, clusters)


# true values: rmse -> E |1 + luck| = 1; the mean -> .1 E spread = .1
@pytest.mark.parametrize(("metric", "truth"), [("rmse", 1.0), ("mae", 0.1)])
@pytest.mark.parametrize("n_seeds", [1, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(metric: str, truth: float, n_seeds: int) -> None:
    rng = np.random.default_rng(42)
    covered = 0
    for _ in range(300):
        # one seed knows nothing of its own luck, so there it has none
        drawn = simulated_without_luck(rng, metric) if n_seeds == 1 else simulated(rng, metric, n_seeds=n_seeds)
        found = estimate(drawn)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def simulated_without_luck(rng: np.random.Generator, metric: str) -> Scores:
    user = np.repeat(np.arange(150), rng.integers(0, 8, 150))
    spread = rng.gamma(4, 0.25, 150)[user]
    error = rng.normal(size=len(user)) * np.sqrt(spread)
    value = error**2 if metric == "rmse" else 0.1 * spread + 0.02 * error
    return Scores("simulated", metric, [value[None]], [user])


def test_an_interval_that_forgets_the_users_is_too_narrow() -> None:
    rng = np.random.default_rng(7)
    drawn = simulated_without_luck(rng, "mae")
    forgetful = Scores("forgetful", "mae", drawn.values, [None])
    assert estimate(forgetful).half_width < 0.7 * estimate(drawn).half_width


# --- compare ----------------------------------------------------------------------------------------------------------


def test_unclustered_comparison_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(60), rng.random(60) + 0.1
    found, expected = compare(scores(a), scores(b)), stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.n == 60


def test_pairing_sees_what_the_intervals_cannot() -> None:
    rng = np.random.default_rng(4)
    a = rng.random(200)
    b = a + rng.normal(0.01, 0.01, 200)
    assert estimate(scores(a)).high > estimate(scores(b)).low
    assert compare(scores(a), scores(b)).p < 1e-6


def test_rmse_is_compared_on_squared_errors() -> None:
    rng = np.random.default_rng(5)
    a = rng.normal(size=400) ** 2
    b = (np.sqrt(a) + rng.normal(0.02, 0.2, 400)) ** 2
    found = compare(scores(a, metric="rmse"), scores(b, metric="rmse"))
    assert found.difference == pytest.approx(math.sqrt(a.mean()) - math.sqrt(b.mean()))
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=0.15)  # the same to first order


def test_swapping_the_sides_turns_the_sign() -> None:
    rng = np.random.default_rng(6)
    users = [rng.integers(0, 20, 50), rng.integers(0, 20, 40)]
    a, b = (scores(rng.random((3, 50)), rng.random((3, 40)), clusters=users) for _ in range(2))
    there, back = compare(a, b), compare(b, a)
    assert back.difference == -there.difference
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.p == pytest.approx(there.p)
    assert there.n == 20


def test_equal_rows_are_equal() -> None:
    values = np.random.default_rng(8).random((2, 30))
    assert compare(scores(values), scores(values)) == Comparison(0.0, *compare_ends(values), p=1.0, n=30)
    assert compare(scores(values[0]), scores(values[0])) == Comparison(0.0, 0.0, 0.0, 1.0, 30)
    assert compare(scores([0, 0]), scores([0, 0])).p == 1.0


def compare_ends(values: np.ndarray) -> tuple[float, float]:
    """With equal rows of two seeds, only the seeds are left: var / 2 on both sides, on 1 + 1 degrees of freedom."""
    half = math.sqrt(2 * values.mean(axis=1).var(ddof=1) / 2) * float(stats.t.ppf(0.975, 2))
    return -half, half


def test_what_float32_cannot_tell_is_equal() -> None:
    values = np.random.default_rng(9).random(1000)
    assert compare(scores(values), scores(values * (1 + ROUNDING / 2))).p == 1.0
    assert compare(scores(values), scores(values * (1 + ROUNDING * 100))).p < 1e-6


def test_a_constant_difference_is_as_sure_as_the_coin_is() -> None:
    # three queries, each better by 1: a sign-flip test gives 2 of the 8 signings
    assert compare(scores([1, 1, 1]), scores([0, 0, 0])).p == 1 / 4
    assert compare(scores([1, 2, 3]), scores([1.5, 2.5, 3.5])).p == 1 / 4
    assert compare(scores(np.ones(60)), scores(np.zeros(60))).p < 1e-15


def test_with_one_cluster_nothing_can_be_told() -> None:
    user = [np.array([3, 3])]
    found = compare(scores([1, 1], clusters=user), scores([0, 0.1], clusters=user))
    assert found.p == 1.0
    assert math.isnan(found.low)
    assert found.n == 1


def test_seeds_that_scatter_make_a_difference_doubtful() -> None:
    rng = np.random.default_rng(10)
    a = rng.random(500) + rng.normal(0, 0.01, (2, 500))
    steady, shaky = a + 0.03, a + np.array([[-0.17], [0.23]])  # both better by .03 on average
    assert compare(scores(steady), scores(a)).p < 1e-3
    assert compare(scores(shaky), scores(a)).p > 0.3


def test_false_alarms_are_as_rare_as_they_should_be() -> None:
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(400):
        user = np.repeat(np.arange(60), rng.integers(1, 6, 60))
        apart = rng.normal(0, 0.1, 60)[user]  # a user likes one of the rows better, at no net gain
        a = rng.random(len(user))
        alarms += compare(scores(a, clusters=[user]), scores(a + apart, clusters=[user])).p < 0.05
    assert 0.02 <= alarms / 400 <= 0.085


# --- holm -------------------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1 = .02 .03 .06 .04, never below an earlier one = .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    assert sorted(adjusted) == [adjusted[i] for i in np.argsort(p_values, kind="stable")]


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1])
def test_holm_takes_probabilities_only(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        holm([0.1, wrong])


# --- ranks ------------------------------------------------------------------------------------------------------------


def row(shift: float, spread: float, seed: int, metric: str = "ndcg@10") -> Scores:
    base = np.random.default_rng(12).random(300)
    return scores(base + np.random.default_rng(seed).normal(shift, spread, 300), metric=metric)


def test_rows_that_nothing_separates_share_a_rank() -> None:
    rows = [row(0.0, 0.01, 1), row(0.5, 0.01, 2), row(0.5, 0.01, 3), row(0.2, 0.01, 4)]
    assert ranks(rows) == [4, 1, 1, 3]
    assert ranks(rows[::-1]) == [3, 1, 1, 4]


def test_errors_rank_upwards() -> None:
    assert ranks([row(0.0, 0.01, 1, "mae"), row(0.5, 0.01, 2, "mae"), row(0.2, 0.01, 4, "mae")]) == [1, 3, 2]


def test_being_apart_is_not_transitive() -> None:
    # b is too noisy to be told from either neighbour
    a, b, c = row(0.10, 0.01, 1), row(0.05, 2.0, 2), row(0.0, 0.01, 3)
    assert compare(a, c).p < 1e-3
    assert min(compare(a, b).p, compare(b, c).p) > 0.05
    assert ranks([a, b, c]) == [1, 1, 2]


def test_more_rows_need_more_evidence() -> None:
    a, b = row(0.0, 0.1, 21), row(0.014, 0.1, 22)
    p = compare(a, b).p
    assert 0.0005 < p < 0.05
    assert ranks([a, b]) == [2, 1]
    assert ranks([a, b] + [a] * 20) == [1] * 22


def test_small_boards() -> None:
    assert ranks([]) == []
    assert ranks([row(0, 1, 1)]) == [1]
    user = [np.array([3, 3])]
    assert ranks([scores([1, 1], clusters=user), scores([0, 0], clusters=user)]) == [1, 1]


# --- what cannot be compared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scores([0, 1], metric="hr@10"), r"ndcg@10 cannot be compared with hr@10"),
        (scores([0, 1, 1]), "different numbers of queries"),
        (scores([0, 1], [0, 1]), "different numbers of queries"),
        (scores([0, 1], clusters=[np.array([0, 1])]), "fold 0 has different clusters"),
    ],
)
def test_rows_of_different_boards(other: Scores, message: str) -> None:
    for call in (lambda: compare(scores([0, 1]), other), lambda: ranks([scores([0, 1]), other])):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([], [], "0 folds of values"),
        ([np.ones((1, 2))], [], "1 folds of values and 0 of clusters"),
        ([np.ones(2)], [None], r"fold 0 has values of shape \(2,\)"),
        ([np.ones((1, 0))], [None], "at least one query"),
        ([np.ones((2, 3)), np.ones((1, 3))], [None, None], r"fold 1 has values of shape \(1, 3\), expected \(2 seeds"),
        ([np.ones((1, 3))], [np.arange(2)], "fold 0 has 3 queries, but clusters"),
        ([np.array([[1, np.nan]])], [None], "fold 0 has values that are not finite"),
    ],
)
def test_scores_that_do_not_fit_together(values: list, clusters: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scores("row", "ndcg@10", values, clusters)
