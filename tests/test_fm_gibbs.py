"""FM's Gibbs sampler and ALS: by hand, against a plain sampler that knows nothing of blocks, on planted data, on u1."""

import gzip
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import load_class

from recarena import Features, Interactions, RateQueries, Run, Skip, Train

load_class("fm", "mcmc")
gibbs, one_hot, parts = (sys.modules[f"contender.fm.{name}"] for name in ("_gibbs", "_one_hot", "_features"))


def block(name, x, families):
    """A block of the nonzeros of x, (rows, columns); families: name -> how many columns."""
    row, column = np.nonzero(x)
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(x)))])
    first = np.concatenate([[0], np.cumsum(list(families.values()))])
    return parts.Block(
        name, tuple(families), first, start, column.astype(np.int32), x[row, column].astype(np.float32)
    )  # fmt: skip


def dense(b):
    """The (rows, columns) of a block."""
    x = np.zeros((b.n_rows, b.n_columns))
    x[np.repeat(np.arange(b.n_rows), np.diff(b.start)), b.column] = b.x
    return x


def feature_vectors(blocks, rows):
    """(n, all columns) x of every training row."""
    return np.hstack([dense(b)[row] for b, row in zip(blocks, rows, strict=True)])


def double_loop(x, w0, w, v):
    """Rendle 2010, equation (1), as it is written; v is (columns, d)."""
    y = np.full(len(x), float(w0)) + x @ w
    for j in range(len(w)):
        for k in range(j + 1, len(w)):
            y += (v[j] @ v[k]) * x[:, j] * x[:, k]
    return y


@pytest.fixture
def small():
    """Five users with tags and a set, six items with a real-valued fact, three days; 40 rows."""
    rng = np.random.default_rng(5)
    tags = (rng.random((5, 4)) < 0.5) * rng.choice([0.5, 1.0, 1.5], (5, 4))
    fact = rng.uniform(0.5, 1.5, (6, 2))
    blocks = (
        block("user", np.hstack([np.eye(5), tags]), {"user": 5, "tags": 4}),
        block("item", np.hstack([np.eye(6), fact]), {"item": 6, "fact": 2}),
        block("day", np.eye(3), {"day": 3}),
    )
    rows = tuple(rng.integers(b.n_rows, size=40).astype(np.int32) for b in blocks)
    return blocks, rows, rng.normal(3, 1, 40).astype(np.float32)


@pytest.fixture
def ratings():
    """300 ratings of 30 users and 20 items, by user; user 29 and item 19 have none."""
    rng = np.random.default_rng(6)
    user, item = np.unravel_index(np.sort(rng.choice(29 * 19, 300, replace=False)), (29, 19))
    blocks = (block("user", np.eye(30), {"user": 30}), block("item", np.eye(20), {"item": 20}))
    return blocks, (user.astype(np.int32), item.astype(np.int32)), rng.integers(1, 6, 300).astype(np.float32)


def sampler(data, seed=0, **settings):
    blocks, rows, target = data
    return gibbs.Sampler(blocks, rows, target, rng=np.random.default_rng(seed), **{"dim": 2, **settings})


def parameters(s):
    return np.concatenate(s.w), np.hstack(s.v).T.astype(float)  # (columns,), (columns, d)


def test_three_features_by_hand():
    # x = (1, 2 | 1): y = 1 + (.1 + 2 * .2 + .3) + 2 * <v1, v2> + <v1, v3> + 2 * <v2, v3>
    #   = 1 + .8 + 2 * .5 + 2 + 2 * (.5 * 2 + 1 * -.5) = 1.8 + 1 + 2 + 1 = 5.8
    blocks = (block("user", np.array([[1.0, 2.0]]), {"a": 1, "b": 1}), block("item", np.eye(1), {"item": 1}))
    zero = (np.zeros(1, np.int32), np.zeros(1, np.int32))
    s = sampler((blocks, zero, np.array([6], np.float32)))
    s.w0, s.w = 1.0, (np.array([0.1, 0.2], np.float32), np.array([0.3], np.float32))
    s.v = (np.array([[1, 0.5], [0, 1]], np.float32), np.array([[2], [-0.5]], np.float32))
    s.rebuild()
    draw = s.draw()
    assert draw.q[0][0] == pytest.approx([2, 2])  # v1 + 2 v2
    assert draw.c[0] == pytest.approx([0.1 + 0.4 + 1])  # w1 + 2 w2 + 2 <v1, v2>
    assert gibbs.predict(draw, zero) == pytest.approx([5.8])
    assert s.e == pytest.approx([0.2], abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), n_blocks=st.integers(2, 4), dim=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_block_scores_equal_the_fast_form_and_the_double_loop(seed, n_blocks, dim):
    rng = np.random.default_rng(seed)
    blocks, rows = [], []
    for b in range(n_blocks):
        shape = rng.integers(1, 6, 2)
        blocks.append(block(f"b{b}", rng.normal(size=shape) * (rng.random(shape) < 0.6), {"a": int(shape[1])}))
        rows.append(rng.integers(shape[0], size=7).astype(np.int32))
    s = sampler((blocks, rows, np.zeros(7, np.float32)), dim=dim, init_std=1)
    (w, v), x = parameters(s), feature_vectors(blocks, rows)
    slow = double_loop(x, s.w0, w, v)
    fast = s.w0 + x @ w + 0.5 * ((x @ v) ** 2 - x**2 @ v**2).sum(axis=1)  # Rendle 2010, lemma 3.1
    assert fast == pytest.approx(slow, abs=1e-9)
    assert gibbs.predict(s.draw(), rows) == pytest.approx(slow, rel=1e-4, abs=1e-4)


# --- a sampler that knows nothing of blocks: every conditional from the density itself, in float64 ---


def log_density(y, x, w0, w, v, alpha):
    """log p(y | all parameters), as far as they matter."""
    return 0.5 * len(y) * np.log(alpha) - 0.5 * alpha * np.sum((y - double_loop(x, w0, w, v)) ** 2)


def gamma_log_density(value, shape, rate):
    return (shape - 1) * np.log(value) - rate * value


def normal_of(log_p):
    """Mean and standard deviation of the normal distribution with that log-density: a parabola through three points."""
    below, middle, above = log_p(-1.0), log_p(0.0), log_p(1.0)
    precision = -(below - 2 * middle + above)
    return (above - below) / 2 / precision, 1 / np.sqrt(precision)


def alpha_conditional(e):
    return (1 + len(e)) / 2, (1 + np.sum(e**2)) / 2


def lambda_conditional(theta, mu):
    return (1 + len(theta) + 1) / 2, (mu**2 + 1 + np.sum((theta - mu) ** 2)) / 2


def mu_conditional(theta, lam):
    return np.sum(theta) / (len(theta) + 1), 1 / np.sqrt((len(theta) + 1) * lam)


class PlainSampler:
    """One sweep of ``Sampler`` with the same random numbers, every draw from a parabola through the joint density."""

    def __init__(self, like, data, rng):
        blocks, rows, self.y = data
        self.x, self.rng = feature_vectors(blocks, rows), rng
        self.w0, (self.w, self.v) = like.w0, (a.astype(float) for a in parameters(like))
        self.group, self.sizes = np.concatenate(like.group), [b.n_columns for b in blocks]
        n_groups = self.group.max() + 1
        self.mu, self.lam = np.zeros((n_groups, self.v.shape[1] + 1)), np.zeros((n_groups, self.v.shape[1] + 1))
        for theta in (self.w, *like.v):  # as the first draws were made
            rng.standard_normal(theta.shape, np.float32)

    def normals(self):
        return np.concatenate([self.rng.standard_normal(size, np.float32) for size in self.sizes])

    def log_p(self, value, f=None, j=None):
        w0, w, v = self.w0, self.w.copy(), self.v.copy()
        if j is None:
            return log_density(self.y, self.x, value, w, v, self.alpha)
        (w if f < 0 else v[:, f])[j] = value
        mu, lam = self.mu[self.group[j], f + 1], self.lam[self.group[j], f + 1]
        return log_density(self.y, self.x, w0, w, v, self.alpha) - 0.5 * lam * (value - mu) ** 2

    def sweep(self):
        e = self.y - double_loop(self.x, self.w0, self.w, self.v)
        shape, rate = alpha_conditional(e)
        self.alpha = self.rng.standard_gamma(shape) / rate
        mean, std = normal_of(self.log_p)
        self.w0 = mean + std * self.rng.standard_normal(1, np.float32)[0]
        everything = [self.w, *self.v.T]
        for f, theta in enumerate(everything):
            members = [theta[self.group == g] for g in range(len(self.mu))]
            shape, rate = np.array([lambda_conditional(t, m) for t, m in zip(members, self.mu[:, f], strict=True)]).T
            self.lam[:, f] = self.rng.standard_gamma(shape) / rate
            mean, std = np.array([mu_conditional(t, k) for t, k in zip(members, self.lam[:, f], strict=True)]).T
            self.mu[:, f] = mean + std * self.rng.standard_normal(len(self.mu))
        for f, theta in enumerate(everything, start=-1):
            for j, z in enumerate(self.normals()):
                mean, std = normal_of(lambda value, f=f, j=j: self.log_p(value, f, j))
                theta[j] = mean + std * z


@pytest.mark.parametrize("groups", [True, False])
def test_every_draw_is_from_its_conditional(small, groups):
    blocks, rows, target = small
    s = sampler(small, seed=8, groups=groups)
    rng = np.random.default_rng(8)
    plain = PlainSampler(s, (blocks, rows, target.astype(float)), rng)
    for _ in range(3):
        s.sweep()
        plain.sweep()
        w, v = parameters(s)
        assert s.alpha == pytest.approx(plain.alpha, rel=1e-4)
        assert s.w0 == pytest.approx(plain.w0, abs=1e-4)
        assert np.column_stack([s.lambda_w, s.lambda_v.T]) == pytest.approx(plain.lam, rel=1e-3)
        assert np.column_stack([s.mu_w, s.mu_v.T]) == pytest.approx(plain.mu, abs=1e-3)
        assert w == pytest.approx(plain.w, abs=1e-3)
        assert v == pytest.approx(plain.v, abs=1e-3)


def test_precisions_and_means_are_conditionals_of_the_joint_density():
    rng = np.random.default_rng(9)
    e, theta, mu, lam = rng.normal(size=20), rng.normal(size=7), 0.3, 1.7

    def of_alpha(alpha):  # N(y | prediction, 1 / alpha), alpha ~ Gamma(1/2, 1/2)
        return 0.5 * len(e) * np.log(alpha) - 0.5 * alpha * np.sum(e**2) + gamma_log_density(alpha, 0.5, 0.5)

    def of_prior(lam, mu):  # N(theta | mu, 1 / lambda) N(mu | 0, 1 / lambda), lambda ~ Gamma(1/2, 1/2)
        normal = 0.5 * (len(theta) + 1) * np.log(lam) - 0.5 * lam * (np.sum((theta - mu) ** 2) + mu**2)
        return normal + gamma_log_density(lam, 0.5, 0.5)

    for one, two in ((0.5, 2.0), (1.3, 1.4)):
        gain = gamma_log_density(two, *alpha_conditional(e)) - gamma_log_density(one, *alpha_conditional(e))
        assert gain == pytest.approx(of_alpha(two) - of_alpha(one))
        of_lambda = lambda_conditional(theta, mu)
        gain = gamma_log_density(two, *of_lambda) - gamma_log_density(one, *of_lambda)
        assert gain == pytest.approx(of_prior(two, mu) - of_prior(one, mu))
    assert mu_conditional(theta, lam) == pytest.approx(normal_of(lambda mu: of_prior(lam, mu)))


# --- the short ways equal the long ways ---


def test_e_and_q_kept_up_to_date_equal_a_rebuild(small):
    s = sampler(small)
    for _ in range(15):
        s.sweep()
    e, q = s.e.copy(), [one.copy() for one in s.q]
    s.rebuild()
    assert e == pytest.approx(s.e, abs=1e-4)
    for kept, made in zip(q, s.q, strict=True):
        assert kept == pytest.approx(made, abs=1e-4)


def test_one_user_and_one_item_a_row_in_one_pass_or_many(ratings):
    one, many = sampler(ratings), sampler(ratings)
    assert one.fused
    many.fused = False
    many.rebuild()
    for _ in range(5):
        one.sweep()
        many.sweep()
    assert one.alpha == pytest.approx(many.alpha, rel=1e-4)
    for a, b in zip((one.e, *one.w, *one.v), (many.e, *many.w, *many.v), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_rows_in_any_order(ratings):
    blocks, (user, item), target = ratings
    order = np.random.default_rng(1).permutation(len(target))
    sorted_rows, shuffled = sampler(ratings), sampler((blocks, (user[order], item[order]), target[order]))
    assert not shuffled.fused
    for s in (sorted_rows, shuffled):
        s.sweep()
    assert sorted_rows.v[1] == pytest.approx(shuffled.v[1], abs=1e-4)


def test_threads_change_no_bit(ratings, monkeypatch):
    monkeypatch.setattr(one_hot, "LEAST_ROWS", 10)
    blocks, (user, item), target = ratings
    many = np.tile(np.arange(20), 12)  # 12 times the rows, so that they are cut into parts
    data = blocks, (np.repeat(user, 12), np.tile(item, 12)), np.repeat(target, 12)
    one, two, three = (sampler(data, threads=threads) for threads in (1, 2, 3))
    assert len(many) and len(one.bounds) > 3
    assert two.threads == 2
    for _ in range(3):
        for s in (one, two, three):
            s.sweep()
    assert np.array_equal(one.v[1], two.v[1])
    assert np.array_equal(one.e, two.e)
    assert np.array_equal(one.e, three.e)


def test_parts_hold_all_users_and_like_many_rows():
    offset = np.concatenate([[0], np.cumsum(np.full(5000, 200))])  # a million rows
    bounds = one_hot.parts(offset, 3000)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, 5000, 9)
    assert np.diff(bounds) == pytest.approx(625, abs=1)
    assert one_hot.parts(np.array([0, 0, 5, 5]), 4).tolist() == [0, 3]


def test_same_seed_same_draws(small, ratings):
    for data in (small, ratings):
        one, two, other = (sampler(data, seed) for seed in (1, 1, 2))
        for s in (one, two, other):
            s.sweep()
        assert np.array_equal(one.v[1], two.v[1])
        assert not np.array_equal(one.v[1], other.v[1])


def test_rows_and_targets_may_be_read_only(small):
    blocks, rows, target = small
    rows = (rows[0].copy(), rows[1], rows[2].astype(np.int64))
    for array in (rows[0], target):
        array.setflags(write=False)
    one, two = sampler((blocks, rows, target)), sampler(small)
    for s in (one, two):
        s.sweep()
    assert np.array_equal(one.v[2], two.v[2])
    assert np.array_equal(gibbs.predict(one.draw(), rows), gibbs.predict(two.draw(), small[1]))


def test_a_new_target_moves_e(small):
    s = sampler(small)
    s.sweep()
    y = s.target - s.e
    s.set_target(np.zeros(40, np.float32))
    assert s.e == pytest.approx(-y, abs=1e-5)
    assert s.target == pytest.approx(np.zeros(40))


def test_noise_precision_can_be_fixed(small):
    s = sampler(small, noise_precision=2.5)
    s.sweep()
    assert s.alpha == 2.5


# --- what cannot be learnt, what is refused ---


def test_a_column_without_rows_is_a_draw_from_its_prior(ratings):
    s, z = sampler(ratings), []
    for _ in range(800):
        s.sweep()
        z.append((s.v[0][0, 29] - s.mu_v[0, 0]) * np.sqrt(s.lambda_v[0, 0]))
        z.append((s.w[1][19] - s.mu_w[1]) * np.sqrt(s.lambda_w[1]))
    assert np.mean(z) == pytest.approx(0, abs=4 / np.sqrt(1600))
    assert np.var(z) == pytest.approx(1, abs=4 * np.sqrt(2 / 1600))
    guess = gibbs.predict(s.draw(), (np.array([29]), np.array([19])))
    assert np.isfinite(guess).all()


def test_an_infinite_draw_is_refused():
    draw = sys.modules["contender.fm._kernels"].draw_one
    assert draw(np.float32(2), 1.0, np.inf, 1.0, 1.0, 0.0, np.float32(0)) == 2
    assert draw(np.float32(2), 1.0, np.nan, 1.0, 1.0, 0.0, np.float32(0)) == 2
    assert draw(np.float32(2), 0.0, 0.0, 1.0, 0.0, 0.0, np.float32(1)) == 2  # neither data nor prior
    # var = 1 / (1 + 2 * 3), mean = var (2 (2 * 3 + 4) + .5)
    assert draw(np.float32(2), 3.0, 4.0, 2.0, 1.0, 0.5, np.float32(0)) == pytest.approx(20.5 / 7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_must_be_finite(small, bad):
    blocks, rows, target = small
    target = target.copy()
    target[7] = bad
    with pytest.raises(ValueError, match="target of training row 7"):
        sampler((blocks, rows, target))


def test_rows_must_be_there(small):
    with pytest.raises(ValueError, match="no training rows"):
        sampler((small[0], tuple(row[:0] for row in small[1]), small[2][:0]))


# --- ALS ---


def test_als_without_factors_ends_at_the_ridge_regression(small):
    blocks, rows, y = small
    s = sampler(small, dim=1, init_std=0.0, sample=False, regularisation=(0.0, 2.0, 1.0))
    for _ in range(300):
        s.sweep()
    x = np.hstack([np.ones((40, 1)), feature_vectors(blocks, rows)])
    penalty = 2 * np.eye(x.shape[1])
    penalty[0, 0] = 0
    best = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    assert [s.w0, *np.concatenate(s.w)] == pytest.approx(best, abs=1e-3)
    assert not any(v.any() for v in s.v)  # h is 0 while all V are


def test_als_ends_where_every_coordinate_is_its_own_ridge_solution(small):
    blocks, rows, y = small
    s = sampler(small, sample=False, regularisation=(0.0, 1.0, 1.0))
    for _ in range(600):
        s.sweep()
    (w, v), x = parameters(s), feature_vectors(blocks, rows)
    assert abs(v).max() > 0.1
    e = y - double_loop(x, s.w0, w, v)
    assert e.sum() == pytest.approx(0, abs=2e-3)
    assert x.T @ e - w == pytest.approx(np.zeros(len(w)), abs=2e-3)  # half the gradient of -(e^2 + lambda w^2)
    for f in range(2):
        h = x * ((x @ v[:, f])[:, None] - x * v[:, f])  # (n, columns)
        best = (h * (e[:, None] + h * v[:, f])).sum(axis=0) / ((h**2).sum(axis=0) + 1)
        assert v[:, f] == pytest.approx(best, abs=2e-3)


# --- the contenders ---


def planted(n_users=60, n_items=40, seed=1):
    """Ratings that are nothing but an interaction: u . i of two factors; two thirds are for training."""
    rng = np.random.default_rng(seed)
    truth = 3 + rng.uniform(-1, 1, (n_users, 2)) @ rng.uniform(-1, 1, (2, n_items))
    known = rng.random((n_users, n_items)) < 2 / 3
    user, item = (a.astype(np.int32) for a in np.nonzero(known))
    return Train(Interactions(user, item, truth[known].astype(np.float32), None, n_users, n_items)), truth, ~known


@pytest.mark.parametrize(
    ("who", "how", "error"),
    [
        ("mcmc", {"n_factors": 3, "n_sweeps": 150}, 0.08),
        ("als", {"n_factors": 2, "n_sweeps": 200, "linear_regularisation": 0.1, "regularisation": 0.02}, 0.08),
    ],
)
def test_a_planted_interaction_is_recovered(who, how, error):
    train, truth, held_out = planted()
    model = load_class("fm", who)(**how)
    model.fit(train, Run(0))
    user, item = (a.astype(np.int32) for a in np.nonzero(held_out))
    guess = model.rate(RateQueries(user, item))
    assert np.sqrt(np.mean((guess - truth[held_out]) ** 2)) < error * truth.std()


def test_a_planted_interaction_of_side_facts_is_recovered():
    # who likes what depends on gender and kind alone; half of the users and items of the questions were never rated
    rng = np.random.default_rng(2)
    gender, kind = rng.integers(2, size=80).astype(np.int32), rng.integers(2, size=60).astype(np.int32)
    truth = np.where(gender[:, None] == kind, 4.0, 2.0)
    user, item = (a.astype(np.int32) for a in np.nonzero(rng.random((40, 30)) < 0.5))
    labels = {"gender": np.array(["a", "b"])}
    train = Train(
        Interactions(user, item, truth[user, item].astype(np.float32), None, 80, 60),
        users=Features(category={"gender": gender}, labels=labels),
        items=Features(category={"kind": kind}, labels={"kind": labels["gender"]}),
    )
    model = load_class("fm", "mcmc_all")(n_factors=2, n_sweeps=100, families=("user", "gender", "item", "kind"))
    model.fit(train, Run(0))
    user, item = np.indices((80, 60)).reshape(2, -1).astype(np.int32)
    guess = model.rate(RateQueries(user, item)).reshape(80, 60)
    assert np.abs(guess - truth)[40:, 30:].mean() < 0.5


def test_chains_do_not_depend_on_threads():
    train, _, _ = planted()
    guesses = []
    for threads in (1, 2):
        model = load_class("fm", "mcmc_all")(n_factors=2, n_sweeps=6, burn_in=2, n_chains=3, keep=2)
        model.fit(train, Run(0, threads=threads))
        assert len(model.draws) == 3 * 2
        guesses.append(model.rate(RateQueries(np.zeros(5, np.int32), np.arange(5, dtype=np.int32))))
    assert np.array_equal(*guesses)


def test_answers_are_the_mean_of_clipped_draws():
    train, _, _ = planted()
    model = load_class("fm", "mcmc")(n_factors=2, n_sweeps=9, burn_in=1, keep=4)
    model.fit(train, Run(0))
    assert len(model.draws) == 2
    rows = np.indices((60, 40)).reshape(2, -1).astype(np.int32)
    low, high = train.interactions.value.min(), train.interactions.value.max()
    each = [np.clip(gibbs.predict(draw, rows), low, high) for draw in model.draws]
    assert model.rate(RateQueries(*rows)) == pytest.approx(np.mean(each, axis=0), abs=1e-5)


@pytest.mark.parametrize("who", ["mcmc", "mcmc_all", "als"])
def test_events_without_ratings_are_refused(who):
    train = Train(Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), None, None, 1, 1))
    with pytest.raises(Skip, match="no ratings"):
        load_class("fm", who)().fit(train, Run(0))


@pytest.mark.parametrize("who", ["mcmc", "mcmc_all"])
@pytest.mark.parametrize("bad", [{"n_sweeps": 5, "burn_in": 5}, {"keep": 0}, {"n_sweeps": 3, "burn_in": 1, "keep": 5}])
def test_some_draw_must_be_kept(who, bad):
    with pytest.raises(ValueError, match="no draw is left"):
        load_class("fm", who)(**bad).fit(planted()[0], Run(0))


@pytest.fixture(scope="module")
def u1(mirror):
    """GroupLens' first fold: (n, 3) user, item and rating of both parts, numbered from 0."""

    def read(name):
        with gzip.open(mirror(f"ml-100k/{name}.gz"), "rt") as file:
            return np.loadtxt(file, dtype=np.int64)[:, :3] - (1, 1, 0)

    base, test = read("u1.base"), read("u1.test")
    base = base[np.lexsort(base.T[:2][::-1])].T
    user, item = base[:2].astype(np.int32)
    return Train(Interactions(user, item, base[2].astype(np.float32), None, 943, 1682)), test


@pytest.mark.parametrize(
    ("who", "how", "rmse", "tolerance"),
    [
        ("mcmc", {"n_factors": 10, "n_sweeps": 200, "burn_in": 0}, 0.9065, 0.002),  # libFM .9066, myFM .9070
        ("als", {}, 0.924, 0.003),
    ],
)
def test_error_on_u1(u1, who, how, rmse, tolerance):
    train, test = u1
    model = load_class("fm", who)(**how)
    model.fit(train, Run(0))
    guess = model.rate(RateQueries(*test[:, :2].T.astype(np.int32)))
    assert np.sqrt(np.mean((guess - test[:, 2]) ** 2)) == pytest.approx(rmse, abs=tolerance)
