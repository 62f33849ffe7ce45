"""top_k: against a brute-force ranking, and fair wherever scores are equal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena import Ragged, RankQueries, top_k
from recarena.contract import products, ranking, selection
from recarena.contract.answers import RankAnswers
from recarena.contract.metrics import evaluate
from recarena.contract.ranking import Factors


def ask(
    n_queries: int,
    k: int,
    n_items: int,
    exclude: list[list[int]] | None = None,
    candidates: list[list[int]] | None = None,
) -> RankQueries:
    nothing = Ragged.from_lists([[]] * n_queries)
    seen = None if exclude is None else Ragged.from_lists(exclude)
    only = None if candidates is None else Ragged.from_lists(candidates)
    return RankQueries(user=None, history=nothing, exclude=seen, candidates=only, k=k, n_items=n_items)


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
        one = st.sets(st.integers(0, n_items - 1))  # of any length, 0 too
        candidates = [sorted(draw(one)) for _ in range(n_queries)]
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
        (Factors(np.zeros((3, 2)), np.zeros((4, 2))), r"shapes \(3, 2\) and \(4, 2\), expected \(3, d\) and \(5, d\)"),
        (Factors(np.zeros((3, 2)), np.zeros((5, 3))), r"shapes \(3, 2\) and \(5, 3\), expected"),
        (np.array([0, 1, np.nan, 0, 0]), "the score of query 0, item 2 is NaN; did training diverge"),
        (lambda _: np.where(np.arange(15).reshape(3, 5) == 8, np.nan, 0), "the score of query 1, item 3 is NaN"),
    ],
)
def test_scores_that_cannot_be_ranked(score: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(score, ask(3, 2, 5))  # type: ignore[arg-type]


# --- the short way: every list is the one that the definition gives, bit for bit --------------------------------------


def by_definition(score: np.ndarray, queries: RankQueries) -> np.ndarray:
    """Sort every allowed item by falling score and then by its coin; -inf counts as the lowest finite score."""
    n_queries, n_items = len(queries), queries.n_items
    score = np.broadcast_to(score, (n_queries, n_items))
    score = score if score.dtype in (np.float32, np.float64) else score.astype(np.float64)
    out = np.full((n_queries, queries.k), -1, np.int32)
    for q in range(n_queries):
        allowed = np.ones(n_items, bool) if queries.candidates is None else np.zeros(n_items, bool)
        if queries.candidates is not None:
            allowed[queries.candidates[q]] = True
        if queries.exclude is not None:
            allowed[queries.exclude[q]] = False
        items = np.flatnonzero(allowed)
        falling = -np.maximum(score[q, items], np.finfo(score.dtype).min)
        best = items[np.lexsort((selection.coins(q, items), falling))][: queries.k]
        out[q, : len(best)] = best
    return out


KINDS = [
    "smooth",
    "few values",
    "constant",
    "mostly -inf",
    "some inf",
    "zeros of both signs",
    "lowest",
    "ints",
    "halves",
]


def scores_of(kind: str, shape: tuple[int, ...], rng: np.random.Generator, dtype: type) -> np.ndarray:
    smooth = rng.standard_normal(shape).astype(dtype)
    if kind == "few values":
        return rng.integers(0, 4, shape).astype(dtype)
    if kind == "constant":
        return np.full(shape, 3, dtype)
    if kind == "mostly -inf":
        return np.where(rng.random(shape) < 0.9, -np.inf, smooth).astype(dtype)
    if kind == "some inf":
        return np.where(rng.random(shape) < 0.1, np.inf, smooth).astype(dtype)
    if kind == "zeros of both signs":
        return np.where(rng.random(shape) < 0.5, -0.0, 0.0).astype(dtype)
    if kind == "lowest":
        return np.where(rng.random(shape) < 0.9, np.finfo(dtype).min, -np.inf).astype(dtype)
    if kind == "ints":
        return rng.integers(-9, 9, shape)
    if kind == "halves":
        return smooth.astype(np.float16)
    return smooth


@st.composite
def large_asks(draw: st.DrawFn) -> tuple[RankQueries, int]:
    """Catalogues in which k is a small part, or not; excluded items among the best; candidates; short of items."""
    seed = draw(st.integers(0, 9999))
    rng = np.random.default_rng(seed)
    n_queries, n_items, k = draw(st.integers(1, 9)), draw(st.integers(1, 400)), draw(st.integers(1, 40))
    share = draw(st.sampled_from([0.0, 0.05, 0.5, 0.98, 1.0]))
    exclude = [rng.choice(n_items, int(share * n_items)).tolist() for _ in range(n_queries)]  # some of them twice
    candidates = None
    if draw(st.integers(0, 3)) == 0:
        candidates = [np.flatnonzero(rng.random(n_items) < rng.random()).tolist() for _ in range(n_queries)]
    return ask(n_queries, k, n_items, exclude if draw(st.booleans()) else None, candidates), seed


@given(large_asks(), st.sampled_from(KINDS), st.sampled_from([np.float32, np.float64]), st.booleans())
@settings(max_examples=400, deadline=None)
def test_lists_are_those_of_the_definition(
    case: tuple[RankQueries, int], kind: str, dtype: type, one_a_query: bool
) -> None:
    queries, seed = case
    shape = (len(queries), queries.n_items) if one_a_query else (queries.n_items,)
    score = scores_of(kind, shape, np.random.default_rng(seed), dtype)
    before = score.copy()
    expected = by_definition(score, queries)
    np.testing.assert_array_equal(top_k(score, queries), expected)
    np.testing.assert_array_equal(score, before)
    with pytest.MonkeyPatch.context() as patch:  # in threads, and in chunks
        patch.setattr(ranking, "SHARE_FLOATS", 8)
        patch.setattr(ranking, "_threads", lambda: 3)
        patch.setattr(ranking, "CHUNK_FLOATS", 3 * queries.n_items + 1)
        np.testing.assert_array_equal(top_k(score, queries), expected)


@given(large_asks(), st.sampled_from(["few values", "smooth"]), st.sampled_from([np.float32, np.float64]))
@settings(deadline=None)
def test_factors_are_their_products(case: tuple[RankQueries, int], kind: str, dtype: type) -> None:
    queries, seed = case
    rng = np.random.default_rng(seed)
    x, y = (scores_of(kind, (n, 3), rng, dtype) for n in (len(queries), queries.n_items))
    # the products of whole numbers are exact, however they are summed; of others, the lists may differ by rounding
    if kind == "smooth":
        x, y = np.round(x * 8), np.round(y * 8)
    np.testing.assert_array_equal(top_k(Factors(x, y), queries), by_definition(x @ y.T, queries))


@pytest.mark.parametrize("where", ["exclude", "tail", "middle"])
def test_a_nan_is_found_wherever_it_is(where: str) -> None:
    score = np.random.default_rng(0).random((4, 101), dtype=np.float32)
    item = {"exclude": 7, "tail": 100, "middle": 50}[where]
    score[2, item] = np.nan
    for queries in (ask(4, 3, 101, [[7]] * 4), ask(4, 90, 101, [[7]] * 4), ask(4, 3, 101, [[7]] * 4, [[1, 2]] * 4)):
        with pytest.raises(ValueError, match=f"the score of query 2, item {item} is NaN"):
            top_k(score, queries)
        assert np.isnan(score).sum() == 1 and np.isfinite(score[:, 7]).sum() == (3 if where == "exclude" else 4)


def test_scores_that_cannot_be_written_to_are_copied() -> None:
    score = np.random.default_rng(0).random((5, 60)).astype(np.float32)
    score.flags.writeable = False
    queries = ask(5, 4, 60, [[1, 2, 3]] * 5)
    np.testing.assert_array_equal(top_k(lambda rows: score[rows], queries), by_definition(score, queries))
    turned = np.asfortranarray(score)
    np.testing.assert_array_equal(top_k(turned, queries), by_definition(score, queries))


def test_an_error_in_a_thread_is_the_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SHARE_FLOATS", 8)
    monkeypatch.setattr(ranking, "_threads", lambda: 2)
    score = np.zeros((6, 50))
    score[[1, 5], 9] = np.nan
    with pytest.raises(ValueError, match="the score of query 1, item 9"):
        top_k(score, ask(6, 2, 50))


def test_the_runner_tells_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert ranking._threads() == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    assert ranking._threads() >= 1


# --- every way from scores to lists: whole arrays, functions, products; in chunks and threads ------------------------


def small_pieces(patch: pytest.MonkeyPatch, n_items: int) -> None:
    """Chunks of a few queries, products of a few queries with 16 items, three threads."""
    patch.setattr(ranking, "SHARE_FLOATS", 1)
    patch.setattr(ranking, "OWN_FLOATS", 4 * n_items)
    patch.setattr(ranking, "CHUNK_FLOATS", 5 * n_items)
    patch.setattr(ranking, "_threads", lambda: 3)
    for module in (ranking, products):
        patch.setattr(module, "PIECE_ROWS", 2)
    patch.setattr(products, "LEAST_ITEMS", 1)


@given(
    large_asks(),
    st.sampled_from(["smooth", "few values", "constant", "ints"]),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_every_way_gives_the_lists_of_the_definition(
    case: tuple[RankQueries, int], kind: str, dtype: type, small: bool
) -> None:
    queries, seed = case
    n_items = queries.n_items
    score = scores_of(kind, (len(queries), n_items), np.random.default_rng(seed), dtype).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        if small:
            small_pieces(patch, n_items)
            patch.setattr(products, "PIECE_PRODUCTS", 2 * n_items * 16 + 1)
        ways = {
            "an array": score,
            "an array by columns": np.asfortranarray(score),
            "a function": lambda rows: score[rows],
            "products": Factors(score, np.eye(n_items, dtype=dtype)),  # exact: all but one of the summands are zero
        }
        expected = by_definition(score, queries)
        for way, given_score in ways.items():
            np.testing.assert_array_equal(top_k(given_score, queries), expected, err_msg=way)


@given(st.integers(0, 20), st.integers(0, 90), st.integers(0, 9), st.integers(1, 7), st.integers(0, 99))
@settings(deadline=None)
def test_products_in_pieces_are_the_products(n_rows: int, n_items: int, d: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-9, 9, (n_rows, d)).astype(np.float32), rng.integers(-9, 9, (d, n_items)).T
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch, n_items)
        patch.setattr(products, "PIECE_PRODUCTS", 2 * max(1, d) * 16 + 1)
        part_of = products.in_pieces(x, y.astype(np.float64), most)  # of two types
        assert part_of is not None
        for start in range(0, n_rows, most):
            part = part_of(slice(start, min(start + most, n_rows)))
            assert part.dtype == np.float64
            np.testing.assert_array_equal(part, x[start : start + most] @ y.T)


def test_long_vectors_are_multiplied_whole() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-4, 4, (n, 700)).astype(np.float32) for n in (5, 300))
    assert products.in_pieces(x, y, 5) is None
    queries = ask(5, 7, 300)
    np.testing.assert_array_equal(top_k(Factors(x, y), queries), by_definition(x @ y.T, queries))


def test_a_nan_in_the_factors_is_found_by_the_thread_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    small_pieces(monkeypatch, 50)
    x, y = np.ones((9, 3), np.float32), np.ones((50, 3), np.float32)
    x[[4, 7], 1] = np.nan
    with pytest.raises(ValueError, match="the score of query 4, item 0 is NaN"):
        top_k(Factors(x, y), ask(9, 2, 50, [[48, 49]] * 9))


@given(st.integers(0, 6), st.integers(1, 70), st.integers(0, 99))
def test_scores_that_reach_their_row_s_bound_are_found(n_rows: int, n_items: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    part, bound = (
        rng.integers(0, 9, (n_rows, n_items)).astype(np.float32),
        rng.integers(0, 12, n_rows).astype(np.float32),
    )
    np.testing.assert_array_equal(selection._reaching(part, bound), np.flatnonzero(part >= bound[:, None]))


# --- tensors ----------------------------------------------------------------------------------------------------------


@given(large_asks(), st.sampled_from(KINDS), st.sampled_from([np.float32, np.float64]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_tensors_get_the_lists_of_arrays(case: tuple[RankQueries, int], kind: str, dtype: type, on_host: bool) -> None:
    torch = pytest.importorskip("torch")
    queries, seed = case
    score = scores_of(kind, (len(queries), queries.n_items), np.random.default_rng(seed), dtype)
    tensor = torch.from_numpy(score.copy())
    expected = by_definition(score, queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_on_host", lambda _: on_host)  # the way of a GPU, on the CPU
        np.testing.assert_array_equal(top_k(tensor, queries), expected)
        np.testing.assert_array_equal(top_k(lambda rows: tensor[rows], queries), expected)
        np.testing.assert_array_equal(tensor.numpy(), score)
        np.testing.assert_array_equal(top_k(tensor[0], queries), by_definition(score[0], queries))


@pytest.mark.parametrize("on_host", [True, False])
def test_tensors_with_gradients_of_halves_and_factors(on_host: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(ranking, "_on_host", lambda _: on_host)
    queries = ask(6, 5, 90, [[1, 2]] * 6)
    rng = np.random.default_rng(2)
    x, y = rng.integers(-4, 4, (6, 3)).astype(np.float32), rng.integers(-4, 4, (90, 3)).astype(np.float32)
    expected = by_definition(x @ y.T, queries)
    a, b = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    np.testing.assert_array_equal(top_k(Factors(a, b), queries), expected)
    np.testing.assert_array_equal(top_k(a @ b.T, queries), expected)
    np.testing.assert_array_equal(top_k((a @ b.T).bfloat16(), queries), expected)  # whole numbers up to 48: exact
    with pytest.raises(ValueError, match="the score of query 3, item 4 is NaN"):
        bad = (a @ b.T).detach()
        bad[3, 4] = torch.nan
        top_k(bad, queries)
    with pytest.raises(ValueError, match=r"the scores have shape \(6, 89\), expected"):
        top_k((a @ b.T)[:, :89], queries)


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
    queries = ask(n_queries, 10, n_items, candidates=candidates.tolist())
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
