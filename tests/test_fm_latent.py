"""The learners with something hidden behind a label: against scipy's truncated normals, brute force, planted data."""

import numpy as np
import pytest
from scipy import stats
from tests.conftest import ROOT, load_class

from recarena import Interactions, RateQueries, Run, Skip, Train
from recarena.contract.worker import load_module

latent = load_module(ROOT / "reproductions" / "fm" / "_latent.py", "contender.fm._latent")


def train(user, item, value, n_users, n_items):
    order = np.lexsort((item, user))
    return Train(
        Interactions(
            user[order].astype(np.int32),
            item[order].astype(np.int32),
            None if value is None else value[order].astype(np.float32),
            None,
            n_users,
            n_items,
        )
    )


def planted(value_of, n_users=80, n_items=60, share=0.6, scale=1.0, seed=3):
    """z = bias of the user + bias of the item + noise of variance 1; ``value_of`` says what label a z has."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, scale, n_users), rng.normal(0, scale, n_items)
    user, item = np.nonzero(rng.random((n_users, n_items)) < share)
    y = a[user] + b[item]
    return train(user, item, value_of(y + rng.standard_normal(len(y))), n_users, n_items), a, b


def draw_z(y, level, cut, seed=11):
    return latent.draw_z(y, level.astype(np.uint8), np.array(cut, float), np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-np.inf, 0.3),  # one-sided, the body
        (0.3, np.inf),
        (-0.5, 1.2),  # across 0
        (1.0, 1.1),  # narrow
        (-3.0, 6.0),  # nearly everything
        (5.0, np.inf),  # tails
        (-np.inf, -7.5),
        (-7.0, -6.9),
        (8.5, 9.0),  # beyond the inverse: by rejection
        (30.0, np.inf),
        (-np.inf, -200.0),  # Phi is 0 in double precision
        (50.0, 50.001),
    ],
)
def test_truncated_normals_follow_scipys(low, high):
    ends = [end for end in (low, high) if np.isfinite(end)]
    n, level = 200_000, int(np.isfinite(low))
    z = draw_z(np.zeros(n), np.full(n, level), [-np.inf, *ends, np.inf])
    assert low <= z.min() <= z.max() <= high
    # what scipy does beyond 38 standard deviations is itself doubtful: there x - a is exponential but for 1 / a^2
    near, far = (low, high) if abs(low) < abs(high) else (high, low)
    depth = abs(near)
    if min(abs(low), abs(high)) > 38 and low * high > 0:
        beyond, width = np.abs(z - near), abs(far - near)
        rate = depth + 1 / depth  # the hazard of a normal tail, to 1 / a^3
        expected = (
            stats.truncexpon(b=rate * width, scale=1 / rate) if np.isfinite(width) else stats.expon(scale=1 / rate)
        )
        assert stats.kstest(beyond, expected.cdf).pvalue > 1e-3
        return
    expected = stats.truncnorm(low, high)
    assert stats.kstest(z, expected.cdf).pvalue > 1e-3
    assert z.mean() == pytest.approx(expected.mean(), abs=5 * expected.std() / np.sqrt(n))
    assert z.std() == pytest.approx(expected.std(), rel=0.02)


def test_truncated_normals_are_around_the_prediction():
    z = draw_z(np.full(50_000, 2.5), np.ones(50_000), [-np.inf, 2, 4, np.inf])
    assert stats.kstest(z, stats.truncnorm(-0.5, 1.5, loc=2.5).cdf).pvalue > 1e-3


def test_rows_have_their_own_level_and_a_draw_of_their_own():
    rng = np.random.default_rng(0)
    y, level = rng.normal(size=5000).astype(np.float32), rng.integers(0, 4, 5000)
    cut = np.array([-np.inf, -1, 0.2, 1, np.inf])
    one, two, other = (draw_z(y, level, cut, seed) for seed in (5, 5, 6))
    assert (cut[level] <= one).all()
    assert (one <= cut[level + 1]).all()
    assert len(np.unique(one)) > 4990
    assert np.array_equal(one, two)
    assert np.mean(one == other) < 0.01
    # the quantile that every row was drawn at is uniform, and not the neighbour's
    low, high = stats.norm.cdf(cut[level] - y), stats.norm.cdf(cut[level + 1] - y)
    u = (stats.norm.cdf(one - y) - low) / (high - low)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.06


def test_expected_rating_by_hand():
    cut = np.array([-np.inf, -1.0, 0.5, np.inf])
    value = np.array([1.0, 2.0, 4.0])
    y = np.array([-30.0, 0.0, 0.7, 30.0], np.float32)
    below = stats.norm.cdf(cut[None, :] - y[:, None].astype(float))
    chance = np.diff(below, axis=1)  # (4, 3) P(k)
    assert chance.sum(axis=1) == pytest.approx(np.ones(4))
    assert latent.expected(y, cut, value) == pytest.approx(chance @ value, rel=1e-9)
    # at y = 0: Phi(-1) = .158655, Phi(.5) = .691462: .158655 * 1 + .532807 * 2 + .308538 * 4
    assert latent.expected(y, cut, value)[1] == pytest.approx(2.458420, abs=1e-5)
    # every value 1: the chances add up to 1
    assert latent.expected(y, cut, np.ones(3)) == pytest.approx(np.ones(4))


def brute_likelihood(y, level, cut):
    low, high = cut[level] - y, cut[level + 1] - y
    flip = low + high > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    return np.log(stats.norm.cdf(b) - stats.norm.cdf(a)).sum()


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    y = rng.normal(0, 0.8, 20_000).astype(np.float32)
    true = np.array([-np.inf, -1.6, -0.7, 0.3, 1.5, np.inf])
    level = np.searchsorted(true[1:-1], y + rng.standard_normal(len(y))).astype(np.uint8)
    return y, level, true


def test_likelihood_of_the_cut_points_and_its_derivatives(rows):
    y, level, cut = rows
    one_by_one = latent.Cells(y.astype(float), level, np.ones(len(y)))
    value, gradient, hessian = latent.cut_likelihood(one_by_one, cut)
    assert value == pytest.approx(brute_likelihood(y, level, cut), rel=1e-9)
    for k in range(4):
        up, down = cut.copy(), cut.copy()
        up[k + 1] += 1e-4
        down[k + 1] -= 1e-4
        slope = (brute_likelihood(y, level, up) - brute_likelihood(y, level, down)) / 2e-4
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-3)
        bend = latent.cut_likelihood(one_by_one, up)[1] - latent.cut_likelihood(one_by_one, down)[1]
        assert hessian[k] == pytest.approx(bend / 2e-4, rel=1e-4, abs=1e-2)


def test_cells_are_the_rows_as_far_as_cut_points_can_tell(rows):
    y, level, cut = rows
    taken = latent.cells(y, level, 5)
    assert taken.count.sum() == len(y)
    assert len(taken.count) < len(y) / 4
    moved = cut + np.array([0, 0.02, -0.02, 0.01, 0.02, 0])
    gain = brute_likelihood(y, level, moved) - brute_likelihood(y, level, cut)
    assert latent.cut_likelihood(taken, moved)[0] - latent.cut_likelihood(taken, cut)[0] == pytest.approx(
        gain, abs=1e-2
    )


def test_cut_points_are_recovered_with_the_spread_of_their_posterior(rows):
    y, level, true = rows
    of, rng = latent.cells(y, level, 5), np.random.default_rng(5)
    cut, chain = latent.first_cut_points(level, 5), []
    for _ in range(400):
        cut = latent.draw_cut_points(of, cut, rng)
        chain.append(cut[1:-1])
    chain = np.array(chain[5:])
    assert np.abs(chain.mean(axis=0) - true[1:-1]).max() < 0.05
    mode = np.array([-np.inf, *chain.mean(axis=0), np.inf])
    spread = np.linalg.inv(-latent.cut_likelihood(of, mode)[2])
    assert np.cov(chain.T) == pytest.approx(spread, rel=0.35, abs=1.5e-5)
    assert (np.abs(np.diff(chain, axis=0)).sum(axis=1) > 0).mean() > 0.9  # it nearly always moves


def test_few_rows_keep_the_exact_distribution_of_a_cut_point():
    # the likelihood of one cut point, six rows: far from normal, so the rule of Metropolis and Hastings matters
    y = np.array([-1, 0, 0.5, 1, 2, 2], np.float32)
    level = np.array([0, 0, 1, 0, 1, 1], np.uint8)
    of, rng, cut = (
        latent.Cells(y.astype(float), level, np.ones(6)),
        np.random.default_rng(6),
        np.array([-np.inf, 0, np.inf]),
    )
    chain = np.empty(8_000)
    for n in range(len(chain)):
        cut = latent.draw_cut_points(of, cut, rng)
        chain[n] = cut[1]
    grid = np.linspace(-6, 8, 4001)
    log_p = [brute_likelihood(y.astype(float), level, np.array([-np.inf, g, np.inf])) for g in grid]
    p = np.exp(log_p - np.max(log_p))
    p /= p.sum()
    mean = (p * grid).sum()
    assert chain.mean() == pytest.approx(mean, abs=0.05)
    assert chain.std() == pytest.approx(np.sqrt((p * (grid - mean) ** 2).sum()), rel=0.06)


def test_first_cut_points_give_every_level_its_share():
    level = np.repeat(np.arange(4, dtype=np.uint8), (10, 20, 30, 40))
    cut = latent.first_cut_points(level, 4)
    assert stats.norm.cdf(cut[1:-1]) == pytest.approx([0.1, 0.3, 0.6], abs=1e-4)


def fitted(name, question, seed=0, **settings):
    model = load_class("fm", name)(**{"n_factors": 2, "n_sweeps": 60, "burn_in": 10, "n_chains": 1} | settings)
    model.fit(question, Run(seed))
    return model


def everything(question):
    seen = question.interactions
    user, item = np.indices((seen.n_users, seen.n_items)).reshape(2, -1)
    return RateQueries(user.astype(np.int32), item.astype(np.int32))


def test_probit_learns_planted_chances():
    question, a, b = planted(lambda z: z > 0)
    chance = fitted("probit", question, families=("user", "item")).rate(everything(question))
    truth = stats.norm.cdf(a[:, None] + b[None, :]).ravel()
    assert 0 <= chance.min() <= chance.max() <= 1
    assert np.sqrt(np.mean((chance - truth) ** 2)) < 0.12  # of a chance whose standard deviation is .39


def test_ordered_probit_learns_planted_half_stars():
    cut, stars = np.array([-1.5, -0.2, 1.0]), np.array([0.5, 2.0, 3.5, 5.0])
    question, a, b = planted(lambda z: stars[np.searchsorted(cut, z)])
    guess = fitted("oprobit", question, families=("user", "item")).rate(everything(question))
    y = (a[:, None] + b[None, :]).ravel()
    truth = latent.expected(y, np.array([-np.inf, *cut, np.inf]), stars)
    assert 0.5 <= guess.min() <= guess.max() <= 5
    assert np.sqrt(np.mean((guess - truth) ** 2)) < 0.35  # of stars whose standard deviation is 1.3


def test_ordered_probit_of_two_levels_is_probit():
    question, _, _ = planted(lambda z: z > 0.4)
    asked, settings = everything(question), {"families": ("user", "item"), "n_sweeps": 300}
    plain, again = (fitted("probit", question, seed, **settings).rate(asked) for seed in (1, 2))
    ordered = fitted("oprobit", question, 3, **settings).rate(asked)
    noise = np.sqrt(np.mean((plain - again) ** 2))  # of two chains of the same learner
    assert np.sqrt(np.mean((plain - ordered) ** 2)) < 1.5 * noise
    assert ordered.mean() == pytest.approx(plain.mean(), abs=0.005)


@pytest.mark.parametrize("name", ["probit", "oprobit"])
def test_same_seed_same_draws_other_seed_other_draws(name):
    question, _, _ = planted(lambda z: z > 0)
    asked = everything(question)
    one, two, other = (fitted(name, question, seed, n_sweeps=15).rate(asked) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_chains_do_not_depend_on_the_threads():
    question, _, _ = planted(lambda z: z > 0)
    model = load_class("fm", "oprobit")
    guess = []
    for threads in (1, 2):
        one = model(n_factors=2, n_sweeps=12, burn_in=2, n_chains=2)
        one.fit(question, Run(4, threads=threads))
        guess.append(one.rate(everything(question)))
    assert np.array_equal(*guess)


def test_who_was_never_seen_gets_an_answer():
    question, _, _ = planted(lambda z: 1.0 + (z > -1) + (z > 1))
    seen = question.interactions
    wider = Train(Interactions(seen.user, seen.item, seen.value, None, seen.n_users + 1, seen.n_items + 1))
    guess = fitted("oprobit", wider).rate(RateQueries(np.array([80, 80, 0], np.int32), np.array([60, 0, 60], np.int32)))
    assert ((guess > 1) & (guess < 3)).all()


@pytest.mark.parametrize(
    ("name", "value", "error", "match"),
    [
        ("oprobit", None, Skip, "no ratings"),
        ("oprobit", np.full(4, 3.0), ValueError, "1 different ratings; expected 2 to"),
        ("probit", None, Skip, "labels of 0 and 1"),
        ("probit", np.array([1.0, 2, 3, 4]), Skip, "labels of 0 and 1"),
        ("probit", np.ones(4), ValueError, "all labels are 1"),
        ("oprobit", np.array([1.0, np.nan, 3, 4]), ValueError, "training row 1 is nan"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(name, value, error, match):
    with pytest.raises(error, match=match):
        fitted(name, train(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), value, 2, 2))


@pytest.mark.parametrize("name", ["probit", "oprobit"])
def test_burn_in_must_leave_a_draw(name):
    question, _, _ = planted(lambda z: z > 0)
    with pytest.raises(ValueError, match="burn_in 5, n_sweeps 5"):
        fitted(name, question, n_sweeps=5, burn_in=5)


def test_oprobit_on_movielens_100k(mirror):
    """The first official fold, users and items alone, a short chain: a regression by MCMC reaches .907."""
    base, test = (np.loadtxt(mirror(f"ml-100k/u1.{part}.gz"), np.int64)[:, :3] for part in ("base", "test"))
    question = train(base[:, 0] - 1, base[:, 1] - 1, base[:, 2], 943, 1682)
    model = fitted("oprobit", question, n_factors=10, n_sweeps=150, burn_in=30, families=("user", "item"))
    guess = model.rate(RateQueries((test[:, 0] - 1).astype(np.int32), (test[:, 1] - 1).astype(np.int32)))
    assert np.sqrt(np.mean((guess - test[:, 2]) ** 2)) < 0.912
