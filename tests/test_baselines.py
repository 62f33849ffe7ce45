"""The baselines against arithmetic by hand, and on data whose right answer is visible."""

import sys

import numpy as np
import pytest
from scipy import sparse
from tests.conftest import load_class

from recarena import Interactions, Ragged, RankQueries, RateQueries, Run, Skip, Train


def load(name):
    return load_class("baselines", name)


def train(rows, n_users, n_items, value=None):
    user, item = np.array(sorted(rows), dtype=np.int32).T
    value = None if value is None else np.array([value[u, i] for u, i in zip(user, item, strict=True)], np.float32)
    return Train(Interactions(user, item, value, None, n_users, n_items))


def ask(histories, n_items, k):
    history = Ragged.from_lists(histories)
    return RankQueries(None, history, history, None, k, n_items)


def rates(user, item):
    return RateQueries(np.array(user, dtype=np.int32), np.array(item, dtype=np.int32))


def fitted(name, question, seed=0, **settings):
    model = load(name)(**settings)
    model.fit(question, Run(seed))
    return model


RATINGS = {(0, 0): 5, (0, 1): 3, (1, 0): 4, (1, 1): 2, (2, 0): 1}
THREE = train(RATINGS, n_users=4, n_items=3, value=RATINGS)  # user 3 and item 2 have no row
TAKEN = train([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 2), (3, 2)], n_users=4, n_items=4)  # nobody took item 3
RANKERS = ["random", "popularity", "item_knn", "ease"]
RATERS = ["random", "global_mean", "bias", "knn_baseline"]


def test_popularity_counts_and_leaves_out_what_is_known():
    model = fitted("popularity", TAKEN)
    # items 0, 1, 2, 3 were taken 3, 2, 2 and 0 times
    assert model.rank(ask([[2], [0, 1]], 4, 2)).tolist() == [[0, 1], [2, 3]]


def test_random_rates_by_the_training_ratings_and_misses_by_root_two_deviations():
    value = {(u, i): 1 + (u * 7 + i) % 5 for u in range(100) for i in range(50)}
    question = train(value, 100, 50, value)
    user, item = np.indices((100, 50)).reshape(2, -1)
    guess = fitted("random", question).rate(rates(user, item))
    truth = question.interactions.value
    assert set(guess) <= {1, 2, 3, 4, 5}
    # E(a - b)^2 = 2 var for two independent draws
    assert np.sqrt(np.mean((guess - truth) ** 2)) == pytest.approx(np.sqrt(2 * truth.var()), abs=0.05)


def test_random_lists_every_item_as_often_as_any_other():
    lists = fitted("random", TAKEN).rank(ask([[]] * 4000, 4, 1))
    assert np.bincount(lists[:, 0], minlength=4) == pytest.approx([1000] * 4, abs=110)  # 4 standard deviations


def test_global_mean():
    assert fitted("global_mean", THREE).rate(rates([0, 3], [2, 2])).tolist() == [3, 3]


def test_bias_of_one_sweep_by_hand():
    model = fitted("bias", THREE, n_sweeps=1, item_shrinkage=1, user_shrinkage=2)
    # mean 3; item 0: residuals 2, 1, -2 -> 1 / (1 + 3); item 1: 0, -1 -> -1 / (1 + 2)
    assert model.item_bias == pytest.approx([1 / 4, -1 / 3, 0])
    # user 0: (2 - 1/4) + (0 + 1/3); user 1: (1 - 1/4) + (-1 + 1/3); both over 2 + 2; user 2: (-2 - 1/4) / (2 + 1)
    assert model.user_bias == pytest.approx([(2 + 1 / 12) / 4, (1 / 12) / 4, -2.25 / 3, 0])
    assert model.rate(rates([0, 3, 3], [0, 1, 2])) == pytest.approx([3 + 1 / 4 + (2 + 1 / 12) / 4, 3 - 1 / 3, 3])


def test_bias_without_shrinkage_finds_planted_biases():
    value = {(u, i): 3 + 0.2 * (u - 2) + 0.1 * (i - 2) for u in range(5) for i in range(5)}
    model = fitted("bias", train(value, 5, 5, value), item_shrinkage=0, user_shrinkage=0)
    user, item = np.indices((5, 5)).reshape(2, -1)
    assert model.rate(rates(user, item)) == pytest.approx(list(value.values()), abs=1e-6)


def test_knn_baseline_by_hand():
    # biases off (shrunk to nothing): residuals are rating - 3
    value = {(0, 0): 5, (0, 1): 5, (1, 0): 1, (1, 1): 2, (2, 0): 4, (2, 2): 1}
    question = train(value, 3, 3, value)
    model = fitted("knn_baseline", question, shrinkage=2, item_shrinkage=1e12, user_shrinkage=1e12)
    # items 0 and 1 share users 0 and 1: residuals (2, -2) and (2, -1): rho = 6 / sqrt(8 * 5), s = 2 / (2 + 2) rho
    assert model.similarity[0, 1] == pytest.approx(6 / np.sqrt(40) / 2, rel=1e-5)
    # items 0 and 2 share user 2: residuals 1 and -2: rho = -1
    assert model.similarity[0, 2] == pytest.approx(-1 / 3, rel=1e-5)
    # user 2 and item 1: of items 0 and 2, only item 0 is similar: 3 + residual 1; user 0 and item 2: no neighbour
    assert model.rate(rates([2, 0], [1, 2])) == pytest.approx([4, 3], abs=1e-6)


def test_item_knn_by_hand():
    # rows of length 1: users 0, 1 and 2 give 1 / sqrt(2) to each of their two items, user 3 gives 1 to item 2;
    # lengths of items 0, 1 and 2: sqrt(3/2), 1, sqrt(3/2)
    # items 0 and 1 share users 0 and 1: cosine 1 / sqrt(3/2), times 2 / (2 + 1)
    # items 0 and 2 share user 2: cosine (1/2) / (3/2), times 1 / (1 + 1)
    one, two = 2 / 3 / np.sqrt(1.5), 1 / 6
    model = fitted("item_knn", TAKEN, n_neighbours=2, shrinkage=1)
    vote = model.vote.toarray()
    assert vote[0] == pytest.approx([0, one / (one + two), two / (one + two), 0])
    assert vote[1] == pytest.approx([1, 0, 0, 0])
    assert not vote[3].any()
    # from item 0, the vote for item 1 is the largest
    assert model.rank(ask([[0]], 4, 2)).tolist() == [[1, 2]]


def test_item_knn_keeps_the_nearest_only():
    vote = fitted("item_knn", TAKEN, n_neighbours=1, shrinkage=0).vote.toarray()
    assert vote.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_item_knn_is_the_same_in_small_pieces():
    rng = np.random.default_rng(0)
    question = train(set(zip(*rng.integers(0, [[30], [17]], (2, 200)).tolist(), strict=True)), 30, 17)
    whole = fitted("item_knn", question).vote
    model = load("item_knn")()
    sys.modules[type(model).__module__].CHUNK_FLOATS = 17 * 4  # four items at a time; load() starts afresh
    model.fit(question, Run(0))
    assert abs(model.vote - whole).max() == 0


def test_ease_is_its_formula():
    X = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    question = train(zip(*np.nonzero(X), strict=True), 4, 3)
    P = np.linalg.inv(X.T @ X + 2 * np.eye(3))
    B = [[0 if i == j else -P[i, j] / P[j, j] for j in range(3)] for i in range(3)]
    model = fitted("ease", question, l2=2)
    weight = model.regression.weight
    assert weight == pytest.approx(np.array(B), rel=1e-5)
    # and by regression: column j is the ridge regression of item j on the other items
    ridge = np.linalg.solve(X[:, 1:].T @ X[:, 1:] + 2 * np.eye(2), X[:, 1:].T @ X[:, 0])
    assert weight[1:, 0] == pytest.approx(ridge, rel=1e-5)


@pytest.mark.parametrize("block", [1, 7, 512])
def test_ease_through_the_users_is_ease_through_the_items(block):
    module = sys.modules[load("ease").__module__]
    module.BLOCK, module.CHUNK_FLOATS = block, 30 * 50  # several pieces; load() starts afresh
    rng = np.random.default_rng(0)
    X, strange = (sparse.csr_array((rng.random((n, 50)) < 0.2).astype(np.float32)) for n in (30, 9))
    primal, dual = module._Primal(X, 3.0), module._Dual(X, 3.0)
    assert dual.score(strange, None) == pytest.approx(primal.score(strange, None), abs=1e-5)
    # known users: with their training rows, and with other histories than training had
    user = np.arange(9)
    for x in (X[user], strange):
        assert dual.score(x, user) == pytest.approx(primal.score(x, user), abs=1e-5)


@pytest.mark.parametrize("n", [1, 5, 40, 64])
def test_ease_inverts_in_place(n):
    module = sys.modules[load("ease").__module__]
    module.BLOCK = 16
    Z = np.random.default_rng(n).standard_normal((n, n)).astype(np.float32)
    A = Z @ Z.T + 5 * np.eye(n, dtype=np.float32)
    inverse = A.copy()
    module._inverted(inverse)
    assert inverse == pytest.approx(np.linalg.inv(A.astype(float)), abs=1e-5)


def test_item_knn_with_decay_listens_to_the_latest():
    # 0 goes with 1, and 2 with 3, as often
    question = train([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3)], 4, 4)
    model = fitted("item_knn", question, decay=0.5)
    assert model._score(ask([[0, 2]], 4, 1), slice(0, 1))[0] == pytest.approx([0, 0.5, 0, 1])
    assert model.rank(ask([[0, 2], [2, 0]], 4, 1)).tolist() == [[3], [1]]


@pytest.mark.parametrize("name", ["item_knn", "ease"])
def test_a_checkerboard_is_learnt(name):
    # even users take even items, odd users odd items; each has missed two
    rng = np.random.default_rng(0)
    missed = {u: set(rng.choice(np.arange(u % 2, 20, 2), 2, replace=False).tolist()) for u in range(60)}
    rows = [(u, i) for u in range(60) for i in range(u % 2, 20, 2) if i not in missed[u]]
    question = train(rows, 60, 20)
    lists = fitted(name, question).rank(ask(list(question.interactions.histories()), 20, 2))
    assert [set(row) for row in lists.tolist()] == list(missed.values())


@pytest.mark.parametrize("name", RANKERS)
def test_rankers_give_whole_lists_to_anyone(name):
    lists = fitted(name, TAKEN).rank(ask([[], [3], [0, 1, 2]], 4, 4))
    assert sorted(lists[0].tolist()) == [0, 1, 2, 3]
    assert sorted(lists[1].tolist()) == [-1, 0, 1, 2]
    assert lists[2].tolist() == [3, -1, -1, -1]


@pytest.mark.parametrize("name", ["item_knn", "ease", "popularity"])
def test_without_a_history_the_popular_come_first(name):
    assert fitted(name, TAKEN).rank(ask([[]], 4, 1)).tolist() == [[0]]


@pytest.mark.parametrize("name", ["item_knn", "ease"])
def test_taken_twice_is_taken(name):
    once, twice = train([(0, 0), (0, 1), (1, 1)], 2, 3), train([(0, 0), (0, 0), (0, 1), (1, 1)], 2, 3)
    one, two = fitted(name, once), fitted(name, twice)
    queries = ask([[0], [1]], 3, 3)
    rows = slice(0, 2)
    assert np.array_equal(one._score(queries, rows), two._score(queries, rows))


@pytest.mark.parametrize("name", RATERS)
def test_raters_stay_on_the_scale_for_anyone(name):
    user, item = np.indices((4, 3)).reshape(2, -1)
    guess = fitted(name, THREE).rate(rates(user, item))
    assert guess.min() >= 1
    assert guess.max() <= 5
    assert np.isfinite(guess).all()


@pytest.mark.parametrize("name", RATERS)
def test_raters_refuse_events_without_ratings(name):
    with pytest.raises(Skip, match="no ratings"):
        fitted(name, TAKEN).rate(rates([0], [0]))


@pytest.mark.parametrize("name", RANKERS)
def test_the_same_seed_gives_the_same_lists(name):
    queries = ask([[0], [1], [2], []], 4, 3)
    assert np.array_equal(fitted(name, TAKEN, seed=1).rank(queries), fitted(name, TAKEN, seed=1).rank(queries))


def test_another_seed_gives_other_lists():
    queries = ask([[]] * 20, 4, 4)
    assert not np.array_equal(fitted("random", TAKEN, 1).rank(queries), fitted("random", TAKEN, 2).rank(queries))
