"""Numbers with their spread (law 4): intervals, paired comparisons and ranks, from one value per query.

One idea carries all of it. A score is a smooth function of the per-query values, so its error is, to first order, a sum
of one term a query: the query's deviation from the mean, times the score's slope there (the delta method: 1 for a mean,
1 / (2 rmse) for a root mean square), divided by the number of queries. Terms of one user are added up first, because
a user's ratings err together; users are independent. The variance of the score is then the sum of the users' squared
sums (Liang and Zeger, Biometrika 1986, with the factor G / (G - 1) for G users), and the difference of two rows is the
same sum over differences of terms, which is what makes a comparison paired.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

from recarena.contract.arrays import Floats, Ints
from recarena.contract.metrics import parse, summary

CONFIDENCE = 0.95
ROUNDING = 1e-7  # of the score: float32's resolution


@dataclass(frozen=True, eq=False)
class Scores:
    """What the judge measured of one implementation on one ask, by one metric.

    Attributes:
        name: of the implementation, for messages.
        metric: such as ``rmse``; the values are what ``metrics.evaluate`` returns for it (squared errors for rmse).
        values: a fold each: (n_seeds, q_f) floats; the same number of seeds in every fold.
        clusters: a fold each: (q_f,) the user of each query, the same ids in every fold; or None where every query is
            a cluster of its own.
        unseen_seed_variance: what the variance between single runs is taken to be where one seed cannot show it.
    """

    name: str
    metric: str
    values: Sequence[Floats]
    clusters: Sequence[Ints | None]
    unseen_seed_variance: float = 0.0

    def __post_init__(self) -> None:
        if not self.values or len(self.values) != len(self.clusters):
            raise ValueError(f"{self.name}: {len(self.values)} folds of values and {len(self.clusters)} of clusters")
        for fold, (values, cluster) in enumerate(zip(self.values, self.clusters, strict=True)):
            if values.ndim != 2 or values.size == 0 or len(values) != len(self.values[0]):
                raise ValueError(
                    f"{self.name}: fold {fold} has values of shape {values.shape}, expected "
                    f"({len(self.values[0])} seeds, at least one query)"
                )
            if cluster is not None and cluster.shape != values.shape[1:]:
                raise ValueError(
                    f"{self.name}: fold {fold} has {values.shape[1]} queries, but clusters {cluster.shape}"
                )
            if not np.isfinite(values).all():
                raise ValueError(f"{self.name}: fold {fold} has values that are not finite")


@dataclass(frozen=True)
class Estimate:
    """A score and its spread.

    Attributes:
        mean: over seeds and folds, of the run's one number.
        low: lower end of the 95% interval.
        high: upper end.
        half_width: (high - low) / 2, the number behind the board's ±; nan where it cannot be known.
        seeds: how many.
        seed_sd: standard deviation of the score between seeds; nan with one seed.
    """

    mean: float
    low: float
    high: float
    half_width: float
    seeds: int
    seed_sd: float


@dataclass(frozen=True)
class Comparison:
    """What separates two rows, a minus b.

    Attributes:
        difference: of the means, in the metric's own unit.
        low: lower end of its 95% interval.
        high: upper end.
        p: two-sided; 1 where nothing can be told.
        n: independent pairs that it rests on: users, or queries where each is its own cluster.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True, eq=False)
class _Terms:
    """Scores, linearised.

    Attributes:
        seed_score: (n_seeds,) the score of each seed, mean over folds.
        cluster_sum: (G,) each user's terms, added up; the sum of all is 0.
        unseen: variance between single runs that one seed cannot show.
    """

    seed_score: Floats
    cluster_sum: Floats
    unseen: float

    @property
    def mean(self) -> float:
        return float(self.seed_score.mean())

    @property
    def seed_variance(self) -> float:
        """Variance of the mean over seeds, as far as seeds cause it."""
        n = len(self.seed_score)
        return float(self.seed_score.var(ddof=1)) / n if n > 1 else self.unseen


def seed_variance(scores: Scores) -> float:
    """Return the variance between single runs that differ in their seed only; 0 with one seed, where it is not seen."""
    seed_score = _linearise(scores).seed_score
    return float(seed_score.var(ddof=1)) if len(seed_score) > 1 else 0.0


def estimate(scores: Scores) -> Estimate:
    """Return the score with a 95% interval.

    The point is the mean over seeds and folds of every run's number (for rmse the mean of the folds' RMSEs, as
    published tables of cross-validation print it, not the root of the pooled error).

    The interval covers the luck of *which users (queries) were asked* and of *which seeds were drawn*: the variance
    over users plus the variance between seeds / number of seeds, on Student's t with Welch and Satterthwaite's degrees
    of freedom. A part of the luck that seeds and queries share is in both, so the interval errs on the wide side. It
    does not cover another split, other data, other negatives, correlation between queries of the same *item*, nor, with
    one seed, any luck of the seed. Two rows whose intervals overlap may well differ: ``compare`` is paired and sharper.

    With fewer than two clusters there is no interval, and its ends are nan.
    """
    terms = _linearise(scores)
    half_width = _half_width(terms.cluster_sum, [terms])
    return Estimate(
        mean=terms.mean,
        low=terms.mean - half_width,
        high=terms.mean + half_width,
        half_width=half_width,
        seeds=len(terms.seed_score),
        seed_sd=float(terms.seed_score.std(ddof=1)) if len(terms.seed_score) > 1 else nan,
    )


def compare(a: Scores, b: Scores) -> Comparison:
    """Return a minus b, with a test that they score the same.

    Paired over queries: a t test on the users' sums of differences (values averaged over seeds first). With one value a
    cluster and one seed it is ``scipy.stats.ttest_rel``. For rmse the differences are those of squared errors, brought
    to the unit of the rmse by its slope. The variances between the seeds of both sides are added.

    Where the difference is the very same for every query, the t test would be sure after two queries; p is then that of
    the sign-flip test, 2 ** (1 - n). Scores closer than float32 can tell (``ROUNDING``) are equal, with p = 1: what
    separates them is the arithmetic of their predictions.

    Raises:
        ValueError: rows of different metrics, folds, queries or clusters.
    """
    _check_pair(a, b)
    return _compare(_linearise(a), _linearise(b))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that comparing each with alpha keeps the chance of *any* false alarm below alpha.

    Holm (Scandinavian Journal of Statistics, 1979): sorted upwards, the i-th of m (from 0) is multiplied by m - i,
    never below an earlier one, never above 1. Holds whatever the dependence between the tests.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1], got {p[~((p >= 0) & (p <= 1))][:3]}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def ranks(rows: Sequence[Scores], alpha: float = 0.05) -> list[int]:
    """Return each row's rank: 1 + the number of rows that are significantly better.

    Every pair is compared, and all the p-values are adjusted together (Holm), so that with chance 1 - alpha no order on
    the board is a false one. Rows that nothing separates from the best share rank 1; ranks may skip numbers.

    "Cannot be told apart" is not transitive: where A beats C, but B is apart from neither, A and B are 1 and C is 2,
    for only one row is better than it. So a rank says how many rows are surely better, and nothing about neighbours.

    With fewer than two clusters nothing can be told, and every row has rank 1.

    Args:
        rows: of the same ask, metric and queries.
        alpha: the chance of any false order that is put up with.
    """
    for row in rows[1:]:
        _check_pair(rows[0], row)
    terms = [_linearise(row) for row in rows]
    pairs = list(itertools.combinations(range(len(rows)), 2))
    found = [_compare(terms[i], terms[j]) for i, j in pairs]
    better = [0] * len(rows)  # how many rows are significantly better than each
    for (i, j), pair, p in zip(pairs, found, holm([pair.p for pair in found]), strict=True):
        if p <= alpha:
            first_wins = (pair.difference > 0) == parse(rows[i].metric).higher_is_better
            better[j if first_wins else i] += 1
    return [1 + n for n in better]


def _linearise(scores: Scores) -> _Terms:
    """Return the score of each seed and the users' shares in its error."""
    n_seeds, n_folds = len(scores.values[0]), len(scores.values)
    seed_score = np.zeros(n_seeds)
    terms = []
    for values in scores.values:
        score = np.array([summary(scores.metric, run) for run in values])  # (n_seeds,)
        seed_score += score / n_folds
        mean = values.mean(axis=1, dtype=np.float64)
        slope = np.ones(n_seeds)
        if scores.metric == "rmse":
            slope = np.divide(0.5, score, out=np.zeros(n_seeds), where=score > 0)  # no error at all: no spread
        shares = slope @ values - float(slope @ mean)
        terms.append(shares / (n_seeds * n_folds * values.shape[1]))
    weights: Floats = np.concatenate(terms)
    cluster_sum: Floats = np.bincount(_cluster_numbers(scores.clusters, terms), weights).astype(np.float64)
    return _Terms(seed_score, cluster_sum, scores.unseen_seed_variance)


def _cluster_numbers(clusters: Sequence[Ints | None], terms: Sequence[Floats]) -> Ints:
    """(all queries of all folds,) int64: 0, 1, ... for each cluster; a query of a fold without users is its own."""
    named = [c for c in clusters if c is not None]
    n_users = 0
    numbers: Ints = np.empty(0, dtype=np.int64)
    if named:
        users, numbers = np.unique(np.concatenate(named), return_inverse=True)
        n_users = len(users)
    out: list[Ints] = []
    taken = 0
    for cluster, term in zip(clusters, terms, strict=True):
        if cluster is None:
            out.append(n_users + np.arange(len(term)))
            n_users += len(term)
        else:
            out.append(numbers[taken : taken + len(term)])
            taken += len(term)
    return np.concatenate(out)


def _standard_error(cluster_sum: Floats, sides: Sequence[_Terms]) -> tuple[float, float]:
    """Return the standard error and its degrees of freedom; nan with fewer than two clusters."""
    n = len(cluster_sum)
    if n < 2:
        return nan, nan
    parts = [(float(np.sum(cluster_sum**2)) * n / (n - 1), n - 1)]
    parts += [(side.seed_variance, max(1, len(side.seed_score) - 1)) for side in sides]
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts if part > 0)
    return sqrt(variance), variance**2 / spread if spread > 0 else float(n - 1)


def _half_width(cluster_sum: Floats, sides: Sequence[_Terms]) -> float:
    error, freedom = _standard_error(cluster_sum, sides)
    return nan if isnan(error) else error * float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))


def _compare(a: _Terms, b: _Terms) -> Comparison:
    n = len(a.cluster_sum)
    between = a.cluster_sum - b.cluster_sum
    difference = a.mean - b.mean
    error, freedom = _standard_error(between, [a, b])
    half_width = _half_width(between, [a, b])
    if isnan(error) or abs(difference) <= ROUNDING * max(abs(a.mean), abs(b.mean)):
        p = 1.0
    elif error <= ROUNDING * abs(difference):  # the same for every query, up to rounding
        p = 2.0 ** (1 - n)
    else:
        p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Comparison(difference, difference - half_width, difference + half_width, p, n)


def _check_pair(a: Scores, b: Scores) -> None:
    who = f"{a.name} and {b.name}"
    if a.metric != b.metric:
        raise ValueError(f"{who}: {a.metric} cannot be compared with {b.metric}")
    if [v.shape[1] for v in a.values] != [v.shape[1] for v in b.values]:
        raise ValueError(f"{who}: their folds hold different numbers of queries; compare rows of one benchmark")
    for fold, (left, right) in enumerate(zip(a.clusters, b.clusters, strict=True)):
        same = left is right or (left is not None and right is not None and np.array_equal(left, right))
        if not same:
            raise ValueError(f"{who}: fold {fold} has different clusters; compare rows of one benchmark")
