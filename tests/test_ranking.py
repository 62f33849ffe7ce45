"""top_k: against a brute-force ranking, and fair wherever scores are equal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recarena import Ragged, RankQueries, top_k
from recarena.contract import ranking
from recarena.contract.answers import RankAnswers
from recarena.contract.metrics import evaluate


def ask(
    n_queries: int,
    k: int,
    n_items: int,
    exclude: list[list[int]] | None = None,
    candidates: np.ndarray | None = None,
) -> RankQueries:
    nothing = Ragged.from_lists([[]] * n_queries)
    seen = None if exclude is None else Ragged.from_lists(exclude)
    return RankQueries(user=None, history=nothing, exclude=seen, candidates=candidates, k=k, n_items=n_items)


def brute_force(score: np.ndarray, queries: RankQueries) -> list[list[int]]:
    out = []
    for q in range(len(queries)):
        allowed = set(range(queries.n_items)) if queries.candidates is None else set(queries.candidates[q].tolist())
        if queries.exclude is not None:
            allowed -= set(queries.exclude[q].tolist())
        best = sorted(allowed, key=lambda item: -score[q, item])[: queries.k]
        out.append(best + [-1] * (queries.k - len(best)))
    return out


@st.composite
def asks(draw: st.DrawFn) -> RankQueries:
    n_queries, n_items = draw(st.integers(0, 7)), draw(st.integers(1, 12))
    exclude = [draw(st.lists(st.integers(0, n_items - 1))) for _ in range(n_queries)]
    candidates = None
    if draw(st.booleans()):
        width = draw(st.integers(1, n_items))
        rows = [sorted(draw(st.permutations(range(n_items)))[:width]) for _ in range(n_queries)]
        candidates = np.array(rows, dtype=np.int32).reshape(n_queries, width)
    return ask(n_queries, draw(st.integers(1, 15)), n_items, exclude if draw(st.booleans()) else None, candidates)


@given(asks(), st.integers(0, 99), st.sampled_from([np.float32, np.float64, np.int64]))
def test_equals_a_brute_force_ranking(queries: RankQueries, seed: int, dtype: type) -> None:
    shape = (len(queries), queries.n_items)
    # a permutation a row: no ties, and negative scores too
    score = (np.argsort(np.random.default_rng(seed).random(shape), axis=1) - 4).astype(dtype)
    best = top_k(score, queries)
    assert best.dtype == np.int32
    assert best.tolist() == brute_force(score, queries)


@given(asks(), st.integers(0, 99), st.integers(1, 60))
def test_the_size_of_the_chunks_changes_nothing(queries: RankQueries, seed: int, chunk: int) -> None:
    score = np.random.default_rng(seed).integers(0, 3, (len(queries), queries.n_items))  # many ties
    whole = top_k(score, queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "CHUNK_FLOATS", chunk)
        np.testing.assert_array_equal(top_k(score, queries), whole)
        np.testing.assert_array_equal(top_k(lambda rows: score[rows].astype(float), queries), whole)


@given(asks(), st.integers(0, 99))
def test_with_ties_a_list_is_still_a_best_one(queries: RankQueries, seed: int) -> None:
    score = np.random.default_rng(seed).integers(0, 3, (len(queries), queries.n_items))
    for q, (found, expected) in enumerate(
        zip(top_k(score, queries).tolist(), brute_force(score, queries), strict=True)
    ):
        listed = [i for i in found if i >= 0]
        assert len(set(listed)) == len(listed)
        assert found == listed + [-1] * (queries.k - len(listed))
        assert [score[q, i] for i in listed] == [score[q, i] for i in expected if i >= 0]
        if queries.exclude is not None:
            assert not set(listed) & set(queries.exclude[q].tolist())
        if queries.candidates is not None:
            assert set(listed) <= set(queries.candidates[q].tolist())


def test_one_dimension_two_and_a_function_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CHUNK_FLOATS", 64)
    score = np.random.default_rng(1).integers(0, 6, 20).astype(np.float32)
    matrix = np.tile(score, (30, 1))
    queries = ask(30, 5, 20, [[q % 20] for q in range(30)])
    calls = []

    def rows_of(rows: slice) -> np.ndarray:
        calls.append(rows)
        return matrix[rows]

    expected = top_k(score, queries)
    np.testing.assert_array_equal(top_k(matrix, queries), expected)
    np.testing.assert_array_equal(top_k(rows_of, queries), expected)
    assert calls == [slice(i, i + 3) for i in range(0, 30, 3)]


def test_the_scores_are_left_as_they_were() -> None:
    score = np.arange(12.0).reshape(2, 6)
    before = score.copy()
    top_k(score, ask(2, 3, 6, [[5], [4]]))
    top_k(lambda rows: score[rows], ask(2, 3, 6, [[5], [4]]))
    np.testing.assert_array_equal(score, before)


def test_infinite_scores_are_scores() -> None:
    # -inf is the worst score, but no prohibition: only exclude and candidates forbid
    score = np.array([-np.inf, 1.0, np.inf, 0.0])
    assert top_k(score, ask(1, 4, 4, [[3]])).tolist() == [[2, 1, 0, -1]]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (np.zeros(4), r"the scores have shape \(4,\), expected \(5,\) or \(3, 5\)"),
        (np.zeros((2, 5)), r"the scores have shape \(2, 5\), expected"),
        (np.zeros((4, 5)), r"the scores have shape \(4, 5\), expected"),  # a row too many: whose row is missing?
        (np.zeros((1, 5)), r"the scores have shape \(1, 5\), expected"),
        (lambda _: np.zeros(5), r"scores of queries 0..2 have shape \(5,\), expected \(3, 5\)"),
        (np.array([0, 1, np.nan, 0, 0]), "the score of query 0, item 2 is NaN; did training diverge"),
        (lambda _: np.where(np.arange(15).reshape(3, 5) == 8, np.nan, 0), "the score of query 1, item 3 is NaN"),
    ],
)
def test_scores_that_cannot_be_ranked(score: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(score, ask(3, 2, 5))  # type: ignore[arg-type]


# --- law 2: a constant scorer gets the value of a random order -------------------------------------------------------


def near(count: float, n: int, share: float) -> bool:
    """Is a binomial count within four and a half standard errors of what it should be?"""
    return abs(count - n * share) < 4.5 * np.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("k", [1, 10, 99])
def test_a_constant_scorer_gets_the_value_of_a_random_order(k: int) -> None:
    n_queries, n_items = 20_000, 100
    rng = np.random.default_rng(5)
    queries = ask(n_queries, k, n_items)
    best = top_k(np.zeros(n_items), queries)
    for target in (rng.integers(0, n_items, n_queries), np.zeros(n_queries, int), np.full(n_queries, n_items - 1)):
        answers = RankAnswers(Ragged.from_lengths(np.ones(n_queries, int), target))
        assert near(evaluate(queries, answers, best, f"hr@{k}").sum(), n_queries, k / n_items)
    listed = np.bincount(best.ravel(), minlength=n_items)
    assert all(near(count, n_queries, k / n_items) for count in listed)
    assert all(near(count, n_queries, 1 / n_items) for count in np.bincount(best[:, 0], minlength=n_items))


def test_a_constant_scorer_with_candidates_gets_it_too() -> None:
    n_queries, n_items, width = 20_000, 1000, 101
    rng = np.random.default_rng(6)
    # the target sits at the end of a stretch that holds nothing else: a rotation of the catalogue would favour it
    candidates = np.sort(np.column_stack([np.full(n_queries, 999), rng.random((n_queries, 500)).argsort()[:, :100]]))
    queries = ask(n_queries, 10, n_items, candidates=candidates.astype(np.int32))
    best = top_k(np.zeros(n_items), queries)
    assert near((best == 999).sum(), n_queries, 10 / width)


def test_excluded_neighbours_give_no_advantage() -> None:
    n_queries, n_items = 20_000, 100
    queries = ask(n_queries, 1, n_items, [list(range(10, 90))] * n_queries)
    best = top_k(np.zeros(n_items), queries)
    counts = np.bincount(best[:, 0], minlength=n_items)
    assert all(near(count, n_queries, 1 / 20) for count in counts[[*range(10), *range(90, 100)]])


def test_neighbours_share_a_tie_fairly() -> None:
    # two items next to each other, tied for the one place that is left: each must win half of the time
    score = np.zeros(50)
    score[[7, 30, 31]] = [2, 1, 1]
    best = top_k(score, ask(20_000, 2, 50))
    assert (best[:, 0] == 7).all()
    assert near((best[:, 1] == 30).sum(), 20_000, 1 / 2)
    assert near((best[:, 1] == 31).sum(), 20_000, 1 / 2)


def test_every_order_of_a_tie_is_as_likely() -> None:
    score = np.zeros(40)
    score[[3, 4, 5]] = 1
    best = top_k(score, ask(30_000, 3, 40))
    for order in itertools.permutations([3, 4, 5]):
        assert near((best == order).all(axis=1).sum(), 30_000, 1 / 6)
