"""Matrix factorisation: on planted matrices, against dense algebra, and for who was never seen."""

import sys

import numpy as np
import pytest
from tests.conftest import load_class

from recarena import Interactions, Ragged, RankQueries, RateQueries, Run, Skip, Train


def load(name):
    return load_class("mf", name)


def fitted(name, question, seed=0, threads=1, **settings):
    model = load(name)(**settings)
    model.fit(question, Run(seed, threads=threads))
    return model


def ask(histories, n_items, k, user=None):
    history = Ragged.from_lists(histories)
    return RankQueries(user, history, history, None, k, n_items)


@pytest.fixture(scope="module")
def ratings():
    """A planted rank-2 matrix on a scale from 1 to 5; two thirds are for training, the last user and item have none."""
    rng = np.random.default_rng(1)
    truth = 3 + rng.uniform(-1, 1, (60, 2)) @ rng.uniform(-1, 1, (2, 40))  # (60, 40)
    user, item = np.nonzero(rng.random((60, 40)) < 2 / 3)
    known = np.zeros((60, 40), bool)
    known[user, item] = True
    question = Train(
        Interactions(user.astype(np.int32), item.astype(np.int32), truth[user, item].astype(np.float32), None, 61, 41)
    )
    return question, truth, ~known


@pytest.fixture(scope="module")
def events():
    """200 random events of 30 users and 20 items; user 30 and item 20 have none."""
    rng = np.random.default_rng(2)
    user, item = np.unravel_index(np.sort(rng.choice(600, 200, replace=False)), (30, 20))
    return Train(Interactions(user.astype(np.int32), item.astype(np.int32), None, None, 31, 21))


def test_sgd_recovers_a_planted_rank_two_matrix(ratings):
    question, truth, held_out = ratings
    model = fitted("sgd", question, n_factors=2, n_epochs=400, learning_rate=0.05, regularisation=0.01, init_std=0.3)
    user, item = np.nonzero(held_out)
    guess = model.rate(RateQueries(user.astype(np.int32), item.astype(np.int32)))
    assert np.sqrt(np.mean((guess - truth[held_out]) ** 2)) < 0.1 * truth.std()


def test_sgd_first_step_by_hand():
    seen = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([4], np.float32), None, 1, 1)
    model = load("sgd")(n_factors=3, n_epochs=1, learning_rate=0.1, regularisation=0.5, bias_regularisation=0.2)
    model.fit(Train(seen), Run(7))
    rng = np.random.default_rng(7)
    p, q = (np.float32(model.init_std) * rng.standard_normal((1, 3), np.float32)[0] for _ in range(2))
    e = 4 - (4 + p @ q)  # the mean is 4 and the biases are 0
    assert model.p[0] == pytest.approx(p + 0.1 * (e * q - 0.5 * p), rel=1e-5)
    assert model.q[0] == pytest.approx(q + 0.1 * (e * p - 0.5 * q), rel=1e-5)
    assert model.b_user[0] == pytest.approx(0.1 * e, rel=1e-4)


def test_sgd_falls_back_on_the_biases(ratings):
    question = ratings[0]
    model = fitted("sgd", question, n_epochs=5)
    guess = model.rate(RateQueries(np.array([60, 60, 0], np.int32), np.array([40, 0, 40], np.int32)))
    assert guess == pytest.approx([model.mean, model.mean + model.b_item[0], model.mean + model.b_user[0]])


def test_sgd_stays_on_the_scale(ratings):
    question = ratings[0]
    user, item = np.indices((61, 41)).reshape(2, -1).astype(np.int32)
    guess = fitted("sgd", question).rate(RateQueries(user, item))
    value = question.interactions.value
    assert value.min() <= guess.min() <= guess.max() <= value.max()


def test_sgd_same_seed_same_bits_other_seed_other_bits(ratings):
    one, two, other = (fitted("sgd", ratings[0], seed, n_epochs=3) for seed in (3, 3, 4))
    assert np.array_equal(one.q, two.q)
    assert np.array_equal(one.p, two.p)
    assert not np.array_equal(one.q, other.q)


def test_sgd_refuses_events_without_ratings(events):
    with pytest.raises(Skip, match="no ratings"):
        fitted("sgd", events)


def one_rating(value=4):
    return Train(Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([value], np.float32), None, 1, 1))


def test_svd_first_step_by_hand():
    model = fitted("svd", one_rating(), 7, n_factors=3, n_epochs=1, learning_rate=0.1, regularisation=0.5)
    rng = np.random.default_rng(7)
    p, q = (np.float32(model.init_std) * rng.standard_normal((1, 3), np.float32)[0] for _ in range(2))
    e = 4 - (4 + p @ q)  # the mean is 4 and the biases are 0
    assert model.p[0] == pytest.approx(p + 0.1 * (e * q - 0.5 * p), rel=1e-5)
    assert model.q[0] == pytest.approx(q + 0.1 * (e * p - 0.5 * q), rel=1e-5)
    assert model.b_user[0] == pytest.approx(0.1 * e, rel=1e-4)


def test_svdpp_moves_every_implicit_vector_as_the_plain_form_does(ratings):
    seen = ratings[0].interactions
    rng = np.random.default_rng(3)
    b_user, b_item = np.zeros(61), np.zeros(41)
    p, q, y = (0.1 * rng.standard_normal((n, 4)) for n in (61, 41, 41))
    offset, order, gamma, lam, mu = seen.histories().offsets, rng.permutation(61), 0.05, 0.1, 3.0
    fast = [a.astype(np.float32) for a in (b_user, b_item, p, q, y)]
    epoch = sys.modules[load("svdpp").__module__]._epoch
    for _ in range(3):
        epoch(order, offset, seen.item, seen.value, np.float32(mu), *fast, np.float32(gamma), np.float32(lam))
        for u in order:  # Koren 2008: after each rating, every y_j of the user takes its step
            rated = seen.item[offset[u] : offset[u + 1]]
            for row in range(offset[u], offset[u + 1]):
                i, root = seen.item[row], np.sqrt(len(rated))
                z = y[rated].sum(axis=0) / root
                e = seen.value[row] - (mu + b_user[u] + b_item[i] + q[i] @ (p[u] + z))
                b_user[u] += gamma * (e - lam * b_user[u])
                b_item[i] += gamma * (e - lam * b_item[i])
                p_u, q_i = p[u].copy(), q[i].copy()
                p[u] += gamma * (e * q_i - lam * p_u)
                q[i] += gamma * (e * (p_u + z) - lam * q_i)
                y[rated] += gamma * (e * q_i / root - lam * y[rated])
    for ours, plain in zip(fast, (b_user, b_item, p, q, y), strict=True):
        assert ours == pytest.approx(plain, abs=2e-5)


@pytest.mark.parametrize("who", ["svd", "svdpp"])
def test_plain_sgd_recovers_a_planted_matrix(ratings, who):
    question, truth, held_out = ratings
    model = fitted(who, question, n_factors=2, n_epochs=400, learning_rate=0.02, regularisation=0.005)
    user, item = np.nonzero(held_out)
    guess = model.rate(RateQueries(user.astype(np.int32), item.astype(np.int32)))
    assert np.sqrt(np.mean((guess - truth[held_out]) ** 2)) < 0.3 * truth.std()


@pytest.mark.parametrize("who", ["svd", "svdpp"])
def test_plain_sgd_falls_back_on_the_biases(ratings, who):
    model = fitted(who, ratings[0], n_epochs=5)
    guess = model.rate(RateQueries(np.array([60, 60, 0], np.int32), np.array([40, 0, 40], np.int32)))
    assert guess == pytest.approx([model.mean, model.mean + model.b_item[0], model.mean + model.b_user[0]])


@pytest.mark.parametrize("who", ["svd", "svdpp"])
def test_plain_sgd_same_seed_same_bits_other_seed_other_bits(ratings, who):
    one, two, other = (fitted(who, ratings[0], seed, n_epochs=3) for seed in (3, 3, 4))
    assert np.array_equal(one.q, two.q)
    assert not np.array_equal(one.q, other.q)


@pytest.mark.parametrize("who", ["svd", "svdpp"])
def test_plain_sgd_refuses_events_without_ratings(events, who):
    with pytest.raises(Skip, match="no ratings"):
        fitted(who, events)


def checkerboard():
    """Even users take even items, odd users odd items; each has missed two."""
    rng = np.random.default_rng(0)
    missed = [set(rng.choice(np.arange(u % 2, 20, 2), 2, replace=False).tolist()) for u in range(60)]
    rows = np.array([(u, i) for u in range(60) for i in range(u % 2, 20, 2) if i not in missed[u]], np.int32)
    return Train(Interactions(rows[:, 0], rows[:, 1], None, None, 60, 20)), missed


SAMPLED = [("bpr", {"n_epochs": 200}), ("logistic", {"n_epochs": 150, "learning_rate": 0.05})]


@pytest.mark.parametrize(("who", "settings"), SAMPLED)
def test_sampled_losses_learn_a_checkerboard(who, settings):
    question, missed = checkerboard()
    model = fitted(who, question, n_factors=4, **settings)
    lists = model.rank(ask(list(question.interactions.histories()), 20, 2, np.arange(60, dtype=np.int32)))
    assert np.mean([set(row) == those for row, those in zip(lists.tolist(), missed, strict=True)]) > 0.95


@pytest.mark.parametrize("who", ["bpr", "logistic"])
def test_sampled_losses_same_seed_same_bits_other_seed_other_bits(events, who):
    queries = ask(list(events.interactions.histories()), 21, 21, np.arange(31, dtype=np.int32))
    one, two, other = (fitted(who, events, seed, n_epochs=3).rank(queries) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    popular = np.bincount(events.interactions.item, minlength=21)[one[30]]
    assert popular.tolist() == sorted(popular, reverse=True)  # user 30 has no history and gets what is popular


@pytest.mark.parametrize("who", ["bpr", "logistic"])
def test_sampled_losses_have_nothing_for_users_never_seen(events, who):
    with pytest.raises(Skip, match="never seen"):
        fitted(who, events, n_epochs=1).rank(ask([[0]], 21, 5))


def test_bpr_steps_by_hand():
    steps = sys.modules[load("bpr").__module__]._steps
    x, y = np.array([[1, 2]], np.float32), np.array([[0.5, 0.25], [1, -1]], np.float32)
    zero, one = np.zeros(1, np.int32), np.ones(1, np.int32)
    assert steps(zero, zero, one, x, y, np.float32(0.1), np.float32(0.5)) == 1
    # x_uij = 1 (.5 - 1) + 2 (.25 + 1) = 2, 1 - sigma(2) = 1 / (1 + e^2)
    g = 1 / (1 + np.exp(2))
    assert x[0] == pytest.approx([1 + 0.1 * (g * -0.5 - 0.5 * 1), 2 + 0.1 * (g * 1.25 - 0.5 * 2)])
    assert y[0] == pytest.approx([0.5 + 0.1 * (g * 1 - 0.5 * 0.5), 0.25 + 0.1 * (g * 2 - 0.5 * 0.25)])
    assert y[1] == pytest.approx([1 + 0.1 * (-g * 1 - 0.5 * 1), -1 + 0.1 * (-g * 2 + 0.5 * 1)])


def test_bpr_draws_evenly_from_what_was_not_taken():
    draw = sys.modules[load("bpr").__module__]._negatives
    # user 0 took 1 and 3 of five items (2,000 rows of each would change nothing), user 1 nothing, user 2 everything
    offset, item = np.array([0, 2, 2, 7]), np.array([1, 3, 0, 1, 2, 3, 4], np.int32)
    drawn = np.array([draw(offset, item, 5, np.uint64(seed)) for seed in range(3000)])
    assert (drawn[:, 2:] == -1).all()
    assert np.bincount(drawn[:, :2].ravel(), minlength=5) == pytest.approx([2000, 0, 2000, 0, 2000], abs=150)


def test_logistic_step_by_hand():
    # no negatives: one event, one step
    seen = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), None, None, 1, 1)
    model = fitted(
        "logistic", Train(seen), 5, n_factors=2, n_epochs=1, learning_rate=0.1, regularisation=0.5, n_negatives=0
    )
    rng = np.random.default_rng(5)
    p, q = (np.float32(0.1) * rng.standard_normal((1, 2), np.float32)[0] for _ in range(2))
    g = 1 - 1 / (1 + np.exp(-p @ q))
    assert model.p[0] == pytest.approx(p + 0.1 * (g * q - 0.5 * p), rel=1e-5)
    assert model.q[0] == pytest.approx(q + 0.1 * (g * p - 0.5 * q), rel=1e-5)
    assert model.b_item[0] == pytest.approx(0.1 * g, rel=1e-5)


@pytest.mark.parametrize("n_factors", [4, 5, 7])
def test_ials_enough_conjugate_gradients_are_the_exact_solution(events, n_factors):
    model = fitted("ials", events, n_factors=n_factors, regularisation=0.5, n_epochs=2)
    histories = events.interactions.histories()
    x = np.zeros((31, n_factors), np.float32)
    model.n_steps = 3 * n_factors
    model._improve(x, histories, model.y)
    assert x == pytest.approx(model._solve(histories, model.y), abs=1e-5)


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_ials_half_step_is_a_weighted_ridge_regression(events, exponent):
    settings = {"unobserved_weight": 0.2, "regularisation": 0.3, "exponent": exponent, "n_factors": 5}
    model = fitted("ials", events, n_epochs=2, **settings)
    seen = events.interactions
    histories = seen.histories()
    x, y = model._solve(histories, model.y), model.y.astype(float)
    for u in range(seen.n_users):
        # min over x_u of  sum_i c_i (target_i - x_u . y_i)^2 + lambda_u |x_u|^2, from all 21 items: events have
        # weight 1 for target 1 and .2 for target 0, the rest .2 for target 0
        taken = np.zeros(seen.n_items)
        taken[histories[u]] = 1
        lam = 0.3 * (taken.sum() + 0.2 * seen.n_items) ** exponent
        A = y.T @ np.diag(taken + 0.2) @ y + lam * np.eye(5)
        assert x[u] == pytest.approx(np.linalg.solve(A, y.T @ taken), abs=1e-5)


def test_ials_fold_in_of_a_training_user_is_its_factor_after_the_last_half_step(events):
    model = fitted("ials", events, n_factors=4, n_epochs=3)
    histories = events.interactions.histories()
    factors = model._solve(histories, model.y)
    rows = np.array([5, 0, 17, 30])
    assert np.array_equal(model._solve(histories.take(rows), model.y), factors[rows])
    known = np.arange(31, dtype=np.int32)
    of_users, of_strangers = ask(list(histories), 21, 5, known), ask(list(histories), 21, 5)
    assert np.array_equal(model.rank(of_users), model.rank(of_strangers))


def test_ials_each_epoch_lowers_the_loss(events):
    seen = events.interactions
    histories = seen.histories()
    R = np.zeros((31, 21))
    R[seen.user, seen.item] = 1

    def loss(model):
        x = model._solve(histories, model.y)
        score = x @ model.y.T
        return (R * (1 - score) ** 2).sum() + 0.3 * (score**2).sum() + 0.5 * ((x**2).sum() + (model.y**2).sum())

    losses = [loss(fitted("ials", events, n_factors=4, regularisation=0.5, n_epochs=n)) for n in range(1, 6)]
    assert losses == sorted(losses, reverse=True)


def test_ials_learns_a_checkerboard():
    # even users take even items, odd users odd items; each has missed two
    rng = np.random.default_rng(0)
    missed = [set(rng.choice(np.arange(u % 2, 20, 2), 2, replace=False).tolist()) for u in range(60)]
    rows = np.array([(u, i) for u in range(60) for i in range(u % 2, 20, 2) if i not in missed[u]], np.int32)
    question = Train(Interactions(rows[:, 0], rows[:, 1], None, None, 60, 20))
    lists = fitted("ials", question, n_factors=2, regularisation=0.1).rank(
        ask(list(question.interactions.histories()), 20, 2)
    )
    assert [set(row) for row in lists.tolist()] == missed


def test_ials_lists_for_anyone(events):
    model = fitted("ials", events)
    lists = model.rank(ask([[], [20], list(range(20))], 21, 21))
    popular = np.bincount(events.interactions.item, minlength=21)[lists[0]]
    assert popular.tolist() == sorted(popular, reverse=True)  # who has no history gets what is popular
    assert sorted(lists[1].tolist()) == [-1, *range(20)]
    assert lists[2].tolist() == [20] + [-1] * 20


def test_ials_same_seed_same_bits_on_one_thread_and_on_two(events):
    one, again, two, other = (fitted("ials", events, s, t, n_epochs=3) for s, t in ((3, 1), (3, 1), (3, 2), (4, 1)))
    assert np.array_equal(one.y, again.y)
    assert np.array_equal(one.y, two.y)
    assert not np.array_equal(one.y, other.y)
