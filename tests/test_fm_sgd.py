"""The gradient learners of factorization machines: steps by hand, gradients by autograd, planted and real data."""

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT, load_class

from recarena import Features, Interactions, Ragged, RankQueries, RateQueries, Run, Skip, Train
from recarena.contract.answers import RateAnswers
from recarena.contract.metrics import evaluate, summary
from recarena.contract.validation import ValidationAsk
from recarena.data.prepare import open_benchmark

QUICK = {
    "sgd": {"n_factors": 4, "n_epochs": 3},
    "logistic": {"n_factors": 4, "n_epochs": 3},
    "torch_sgd": {"n_factors": 4, "n_epochs": 3, "batch_size": 64},
    "bpr": {"n_factors": 4, "n_epochs": 3},
}
ALL = ("user", "gender", "item", "genres")


def fitted(name, train, seed=0, **settings):
    model = load_class("fm", name)(**QUICK[name] | settings)
    model.fit(train, Run(seed))
    return model


def shared(name):
    load_class("fm", "torch_sgd")  # brings what it shares
    return sys.modules[f"contender.fm.{name}"]


def events(user, item, value=None, n_users=None, n_items=None):
    user, item = np.asarray(user, np.int32), np.asarray(item, np.int32)
    value = None if value is None else np.asarray(value, np.float32)
    return Interactions(user, item, value, None, n_users or int(user.max()) + 1, n_items or int(item.max()) + 1)


def sample(seed=1, n_users=30, n_items=20, binary=False):
    """A planted FM over user, gender, item and genres (several an item); the last user and item have no row."""
    rng = np.random.default_rng(seed)
    gender = rng.integers(0, 2, n_users + 1).astype(np.int32)
    genres = Ragged.from_lists([np.flatnonzero(rng.random(4) < 0.5) for _ in range(n_items + 1)])
    users = Features({"gender": gender}, {}, {}, {"gender": np.array(["F", "M"])})
    items = Features({}, {"genres": genres}, {}, {"genres": np.array(list("abcd"))})
    of_user, of_item = rng.standard_normal((n_users, 2)), rng.standard_normal((n_items, 2))
    truth = 3 + of_user @ of_item.T
    user, item = np.nonzero(rng.random((n_users, n_items)) < 0.7)
    value = truth[user, item] > 3 if binary else truth[user, item]
    return Train(events(user, item, value, n_users + 1, n_items + 1), users=users, items=items), truth


def double_loop(x, w0, w, v):
    """Rendle 2010, (1), as it is written."""
    pairs = itertools.combinations(range(len(x)), 2)
    return w0 + w @ x + sum((v[j] @ v[k]) * x[j] * x[k] for j, k in pairs)


def dense_rows(table, rows):
    """(n, n_columns) the feature vector of every row."""
    x = np.zeros((len(rows), table.n_columns))
    for n, row in enumerate(rows):
        for r in row:
            part = slice(table.start[r], table.start[r + 1])
            x[n, table.column[part]] = table.x[part]
    return x


def test_one_step_by_hand():
    # user 0, item 0 and the item's one genre of weight 1: x = (1, 1, 1); d = 2; target 2
    sgd = shared("_sgd")
    v = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
    w = np.array([0.5, -0.5, 0.25], np.float32)
    start, column, x = np.array([0, 1, 3]), np.array([0, 1, 2], np.int32), np.ones(3, np.float32)
    # y = 1 + (0.5 - 0.5 + 0.25) + v0.v1 + v0.v2 + v1.v2 = 1.25 + 0 + 1 + 2 = 4.25, so e = 2.25; S = (2, 3)
    lam_w, lam_v = np.full(3, 0.1, np.float32), np.array([0.1, 0.2, 0.4], np.float32)
    rows, target = np.array([[0, 1]], np.int32), np.array([2], np.float32)
    w0, loss = sgd.epoch(
        np.zeros(1, np.int32), rows, target, start, column, x, np.float32(1), w, v, np.float32(0.1), lam_w, lam_v, False
    )
    assert loss == pytest.approx(2.25**2 / 2)
    assert w0 == pytest.approx(1 - 0.225)
    assert w == pytest.approx([0.5 - 0.225 - 0.005, -0.5 - 0.225 + 0.005, 0.25 - 0.225 - 0.0025])
    # v0 -= 0.225 (S - v0 = (1, 3)) + 0.1 x 0.1 (1, 0); v1: S - v1 = (2, 1); v2: S - v2 = (1, 2)
    assert v[0] == pytest.approx([1 - 0.225 - 0.01, -0.675])
    assert v[1] == pytest.approx([-0.45, 2 - 0.225 - 0.04])
    assert v[2] == pytest.approx([1 - 0.225 - 0.04, 1 - 0.45 - 0.04])


def test_one_logistic_step_by_hand():
    sgd = shared("_sgd")
    v, w = np.array([[1], [2]], np.float32), np.zeros(2, np.float32)
    none = np.zeros(2, np.float32)
    start, column, x = np.array([0, 1, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32)
    w0, loss = sgd.epoch(
        np.zeros(1, np.int32),
        np.array([[0, 1]], np.int32),
        np.array([1], np.float32),
        start,
        column,
        x,
        np.float32(0),
        w,
        v,
        np.float32(0.5),
        none,
        none,
        True,
    )
    wrong = 1 / (1 + np.exp(2))  # y = 1 x 2
    assert loss == pytest.approx(np.log(1 + np.exp(-2)), rel=1e-5)
    assert w0 == pytest.approx(0.5 * wrong, rel=1e-5)
    assert v[:, 0] == pytest.approx([1 + 0.5 * wrong * 2, 2 + 0.5 * wrong], rel=1e-5)


@given(seed=st.integers(0, 2**31), binary=st.booleans(), d=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_both_gradients_equal_autograd_of_the_double_loop(seed, binary, d):
    torch = pytest.importorskip("torch")
    train, _ = sample(seed, 6, 5, binary)
    if len(train.interactions) == 0:
        return
    features, sgd = shared("_features"), shared("_sgd")
    families = [name for name in ALL if name in features.available(train)]
    table = sgd.table(features.design(train, families))
    rows = table.rows(train.interactions)
    rng = np.random.default_rng(seed)
    v = (0.3 * rng.standard_normal((table.n_columns, d))).astype(np.float32)
    decay_w, decay_v = rng.random((2, table.n_columns)).astype(np.float32)
    target = train.interactions.value

    w0, w, big_v = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (0.5, np.zeros(len(v)), v))
    x = torch.from_numpy(dense_rows(table, rows))
    y = torch.stack([double_loop(one, w0, w, big_v) for one in x])
    wanted = torch.from_numpy(target.astype(np.float64))
    each = torch.nn.functional.binary_cross_entropy_with_logits if binary else lambda y, t: 0.5 * ((y - t) ** 2).mean()
    decay = (torch.from_numpy(decay_w) * w**2).sum() + (torch.from_numpy(decay_v)[:, None] * big_v**2).sum()
    (each(y, wanted) + 0.5 * decay).backward()

    machine = load_class("fm", "torch_sgd")
    machine = sys.modules[machine.__module__].Machine(table, 0.5, v.copy(), decay_w, decay_v, binary, "cpu")
    machine.gradient(machine.put(rows), torch.from_numpy(target))
    for ours, theirs in zip(machine.parameters, (w0, w, big_v), strict=True):
        assert ours.grad.numpy() == pytest.approx(theirs.grad.numpy(), rel=2e-4, abs=2e-5)

    # element-wise: the step on one row is eta times its gradient
    first, eta, none = rows[:1], 1e-3, np.zeros(len(v), np.float32)
    for parameter in (w0, w, big_v):
        parameter.grad = None
    each(double_loop(x[0], w0, w, big_v)[None], wanted[:1]).backward()
    new_w, new_v = np.zeros(len(v), np.float32), v.copy()
    order = np.zeros(1, np.int32)
    start, column, value = table.start, table.column, table.x
    sgd.epoch(
        order,
        first,
        target[:1],
        start,
        column,
        value,
        np.float32(0.5),
        new_w,
        new_v,
        np.float32(eta),
        none,
        none,
        binary,
    )
    assert -new_w / eta == pytest.approx(w.grad.numpy(), rel=1e-3, abs=1e-4)
    assert (v - new_v) / eta == pytest.approx(big_v.grad.numpy(), rel=1e-2, abs=2e-3)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_block_rows_predict_what_the_double_loop_says(seed):
    features, sgd = shared("_features"), shared("_sgd")
    train, _ = sample(seed, 6, 5)
    families = [name for name in (*ALL, "rated", "rated_by") if name in features.available(train)]
    table = sgd.table(features.design(train, families))
    rows = table.rows(train.interactions)
    rng = np.random.default_rng(seed)
    w, v = rng.standard_normal(table.n_columns).astype(np.float32), rng.standard_normal((table.n_columns, 3))
    v = v.astype(np.float32)
    guess = sgd.predict(rows, 0.25, *sgd.block_rows(table.start, table.column, table.x, w, v))
    plain = [double_loop(x, 0.25, w, v) for x in dense_rows(table, rows)]
    assert guess == pytest.approx(plain, rel=1e-4, abs=1e-4)


def test_shuffled_is_a_permutation_user_by_user():
    sgd = shared("_sgd")
    counts = np.array([3, 0, 2, 4])
    one, other = (sgd.shuffled(counts, np.uint64(seed)) for seed in (1, 2))
    assert sorted(one) == sorted(other) == list(range(9))
    assert list(one) != list(other)
    user = np.repeat(np.arange(4), counts)[one]
    assert (np.diff(user) != 0).sum() == 2  # three users with rows, each in one run


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sgd", {"n_epochs": 600, "learning_rate": 0.05}),
        ("torch_sgd", {"n_epochs": 400, "learning_rate": 0.02, "families": ("user", "item")}),
    ],
)
def test_a_planted_interaction_is_found(name, settings):
    # y = 1 where user and item are of the same kind, else -1: no w can say it, one factor does
    user, item = np.nonzero(np.random.default_rng(0).random((20, 20)) < 0.6)
    train = Train(events(user, item, np.where(user % 2 == item % 2, 1, -1), 20, 20))
    tiny = {"regularisation": (0.001,), "linear_regularisation": (0.001,), "init_std": 0.1, "n_factors": 2}
    model = fitted(name, train, **tiny | settings)
    every_user, every_item = np.indices((20, 20)).reshape(2, -1).astype(np.int32)
    guess = model.rate(RateQueries(every_user, every_item))
    assert guess == pytest.approx(np.where(every_user % 2 == every_item % 2, 1, -1), abs=0.2)


@pytest.mark.parametrize("name", ["logistic", "torch_sgd"])
def test_a_planted_interaction_is_found_in_labels(name):
    user, item = np.nonzero(np.random.default_rng(0).random((20, 20)) < 0.6)
    train = Train(events(user, item, user % 2 == item % 2, 20, 20))
    few = {"n_epochs": 200, "regularisation": (0.02,), "learning_rate": 0.1 if name == "logistic" else 0.02}
    model = fitted(name, train, n_factors=2, **few)
    every_user, every_item = np.indices((20, 20)).reshape(2, -1).astype(np.int32)
    chance = model.rate(RateQueries(every_user, every_item))
    assert ((chance > 0.5) == (every_user % 2 == every_item % 2)).all()
    assert chance.min() > 0
    assert chance.max() < 1


def test_bpr_finds_a_planted_interaction_through_an_items_genre():
    # users of each gender take the items of one genre; item 9 has a genre, but no event
    gender = np.arange(20, dtype=np.int32) % 2
    genres = Ragged.from_lists([[i % 2] for i in range(10)])
    users = Features({"gender": gender}, {}, {}, {"gender": np.array(["F", "M"])})
    items = Features({}, {"genres": genres}, {}, {"genres": np.array(["a", "b"])})
    rng = np.random.default_rng(0)
    user, item = np.nonzero((gender[:, None] == np.arange(9) % 2) & (rng.random((20, 9)) < 0.7))
    train = Train(events(user, item, None, 20, 10), users=users, items=items)
    model = fitted("bpr", train, families=("gender", "genres"), n_epochs=100, learning_rate=0.1)
    who = np.unique(user).astype(np.int32)  # without events a user gets what is popular
    queries = RankQueries(who, train.interactions.histories().take(who), None, None, 5, 10)
    assert (model.rank(queries)[:, :4] % 2 == gender[who, None]).all()


def test_bpr_lists_by_the_scores_of_the_model():
    features, sgd = shared("_features"), shared("_sgd")
    labelled, _ = sample()
    seen = labelled.interactions
    train = Train(events(seen.user, seen.item, None, 31, 21), users=labelled.users, items=labelled.items)
    model = fitted("bpr", train, n_epochs=20)
    queries = RankQueries(np.arange(30, dtype=np.int32), seen.histories().part(slice(0, 30)), None, None, 21, 21)
    lists = model.rank(queries)
    assert (np.sort(lists, axis=1) == np.arange(21)).all()
    design = features.design(train, ALL)
    for user in range(30):
        asked = RateQueries(np.full(21, user, np.int32), lists[user])
        score = sgd.predict(sgd.table(design).rows(asked), 0.0, model.c, model.q)
        assert (np.diff(score) < 1e-5).all()


def test_bpr_lists_the_popular_where_there_is_no_history():
    train = Train(events([0, 0, 1, 1, 2, 2], [0, 1, 0, 2, 0, 1], None, 4, 4))
    model = fitted("bpr", train)
    nothing = Ragged.from_lists([[]])
    assert list(model.rank(RankQueries(np.array([3], np.int32), nothing, nothing, None, 3, 4))[0]) == [0, 1, 2]
    with pytest.raises(Skip, match="never seen"):
        model.rank(RankQueries(None, nothing, nothing, None, 3, 4))


@pytest.mark.parametrize("name", list(QUICK))
def test_same_seed_same_bits_other_seed_other_bits(name):
    train, _ = sample(binary=name == "logistic")
    one, two, other = (fitted(name, train, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.q, two.q)
    assert np.array_equal(one.c, two.c)
    assert not np.array_equal(one.q, other.q)


@pytest.mark.parametrize("name", ["sgd", "logistic", "torch_sgd"])
def test_who_has_no_row_gets_what_the_rest_says(name):
    train, _ = sample(binary=name == "logistic")
    model = fitted(name, train, families=("user", "item"))
    nobody, nothing = 30, 20
    y = model.w0 + np.array([0, model.c[31], model.c[0]])  # c of item 0, which is block row 31, and of user 0
    guess = model.rate(RateQueries(np.array([nobody, nobody, 0], np.int32), np.array([nothing, 0, nothing], np.int32)))
    wanted = 1 / (1 + np.exp(-y)) if name == "logistic" else np.clip(y, model.low, model.high)
    assert guess == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["sgd", "torch_sgd"])
def test_a_rating_that_is_not_a_number_is_named(name):
    with pytest.raises(ValueError, match="training event 1 is nan, expected a finite number"):
        fitted(name, Train(events([0, 0, 1], [0, 1, 1], [3, np.nan, 4])))


@pytest.mark.parametrize("name", ["sgd", "logistic", "torch_sgd"])
def test_events_without_values_are_refused(name):
    with pytest.raises(Skip, match="carry no"):
        fitted(name, Train(events([0, 1], [0, 1])))


def test_each_loss_has_its_board():
    ratings, labels = sample()[0], sample(binary=True)[0]
    with pytest.raises(Skip, match="no labels of 0 and 1"):
        fitted("logistic", ratings)
    with pytest.raises(Skip, match="labels"):
        fitted("sgd", labels)


def test_a_lambda_for_each_family_and_a_wrong_number_of_them():
    features, sgd = shared("_features"), shared("_sgd")
    families = ("item", "genres", "user", "gender")  # another order than the columns'
    table = sgd.table(features.design(sample()[0], families))
    lam = table.per_column("regularisation", (1, 2, 3, 4), families)
    assert {name: set(lam[table.family == n]) for n, name in enumerate(table.families)} == {
        "user": {3},
        "gender": {4},
        "item": {1},
        "genres": {2},
    }
    with pytest.raises(ValueError, match="regularisation has 2 numbers, expected one for all"):
        table.per_column("regularisation", (1, 2), families)


def test_the_best_epoch_by_validation_is_kept():
    train, _ = sample(binary=True)
    seen = train.interactions
    held = ValidationAsk(RateQueries(seen.user, seen.item), RateAnswers(1 - seen.value), "auc")  # the longer, the worse
    asked = Train(seen, {"ctr": held}, train.users, train.items)
    for name in ("logistic", "torch_sgd"):
        long = fitted(name, asked, n_epochs=40)
        alone = fitted(name, train, n_epochs=40)
        assert held.score(long.rate(held.queries)) > held.score(alone.rate(held.queries))


@pytest.fixture(scope="module")
def ml_100k(mirror, tmp_path_factory):
    """Return a function from a benchmark's name to its first fold."""
    mirror("ml-100k/u.data.gz")
    cache = Path(os.environ["RECARENA_CACHE"]) if "RECARENA_CACHE" in os.environ else tmp_path_factory.mktemp("cache")
    return lambda name: open_benchmark(ROOT, name, cache=cache, say=lambda _: None)[1][0]


def judged(fold, predict, metric):
    ((name, queries),) = fold.question.asks.items()
    return summary(metric, evaluate(queries, fold.answers[name], predict(queries), metric))


@pytest.mark.parametrize(("name", "rmse"), [("sgd", 0.9135), ("torch_sgd", 0.917)])
def test_ratings_of_ml_100k(ml_100k, name, rmse):
    fold = ml_100k("ml-100k-rate")
    model = load_class("fm", name)()
    model.fit(fold.question.train, Run(1))
    assert judged(fold, model.rate, "rmse") == pytest.approx(rmse, abs=0.003)


@pytest.mark.parametrize(("name", "auc"), [("logistic", 0.8665), ("torch_sgd", 0.866)])
def test_likes_of_ml_100k(ml_100k, name, auc):
    fold = ml_100k("ml-100k-rate")
    train, seen = fold.question.train, fold.question.train.interactions
    clear = seen.value != 3
    labels = events(seen.user[clear], seen.item[clear], seen.value[clear] >= 4, seen.n_users, seen.n_items)
    model = load_class("fm", name)()
    model.fit(Train(labels, users=train.users, items=train.items), Run(1))
    chance, value = model.rate(fold.question.asks["rate"]), fold.answers["rate"].value
    asked = RateQueries(np.zeros(int((value != 3).sum()), np.int32), np.zeros(int((value != 3).sum()), np.int32))
    answer = RateAnswers((value[value != 3] >= 4).astype(np.float32))
    assert summary("auc", evaluate(asked, answer, chance[value != 3], "auc")) == pytest.approx(auc, abs=0.004)


def test_lists_of_ml_100k(ml_100k):
    fold = ml_100k("ml-100k-top-n")
    model = load_class("fm", "bpr")()
    model.fit(fold.question.train, Run(1))
    assert judged(fold, model.rank, "ndcg@10") == pytest.approx(0.298, abs=0.008)
