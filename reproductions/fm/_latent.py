"""What lies behind a label: z ~ N(prediction, 1), cut into levels. Probit has one cut point, ordered probit several.

    P(level k | x) = Phi(cut_k+1 - y(x)) - Phi(cut_k - y(x)),    cut_0 = -inf < cut_1 < ... < cut_K = inf

Albert and Chib, "Bayesian analysis of binary and polychotomous response data", JASA 1993: draw z given the level and
y(x), a normal distribution truncated to (cut_k, cut_k+1), and sample the model as if z were what had been observed.
Their draw of a cut point given z moves it between the two nearest of all z: with 80,000 rows it hardly moves at all. So
the cut points are drawn from their density with z integrated out, and z then given them (Cowles, "Accelerating Monte
Carlo Markov chain convergence for cumulative-link generalized linear models", Statistics and Computing 1996).

The loops over rows have no branch and no call to a mathematical library, so that the compiler makes eight rows of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints

CELL = 1 / 128  # predictions of one level so near to each other are taken together by the cut points
FAR = 8.0  # an interval that begins so far from 0 is drawn by rejection: its probability is below 1e-15
END = 37.0  # where Phi(-x) is below 1e-299
CHUNK = 512  # rows at a time, whose intermediate values stay in the nearest cache
ROOT_TWO_PI = math.sqrt(2 * math.pi)

# Phi(-t) exp(t^2 / 2) (1 + t) as a polynomial of s = (t - 4) / (t + 4), from the constant on: fitted at Chebyshev's
# nodes against scipy.special.erfcx, relative error below 6e-11 for all t >= 0
TAIL = (
    0.472053206502624,
    -0.0967034770430924,
    0.0139996356618085,
    0.0286003533811271,
    -0.032197857475016,
    0.0179362140404343,
    -0.00500221423286421,
    -0.000286186688990318,
    0.000694228610580472,
    -9.30220282239675e-05,
    -8.63501238921962e-05,
    1.93429549382105e-05,
    1.16874794900322e-05,
    -2.08443329239551e-06,
    -1.19622854185113e-06,
)

_quick = numba.njit(cache=True, nogil=True, inline="always", fastmath={"contract", "nsz"})
_loop = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")


@_quick
def _exp(x: float) -> float:
    """exp(x) for x from -700 to 700: 2^n exp(r), |r| <= log(2) / 2, Taylor to r^11: relative error 1e-14."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2^52: n is now in the lowest bits
    n = shifted - 6755399441055744.0
    r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10
    p = 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    bits = (np.float64(shifted).view(np.int64) + 1023) << 52
    return p * np.int64(bits).view(np.float64)


@_quick
def _log(x: float) -> float:
    """log(x) of a normal x > 0: x = 2^n m, m from sqrt(1/2) to sqrt(2), series of (m - 1) / (m + 1): error 1e-13."""
    bits = np.float64(x).view(np.int64)
    n = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = np.int64(bits - (n << 52)).view(np.float64)
    s = (m - 1) / (m + 1)
    s2 = s * s
    p = 2 / 15
    p = p * s2 + 2 / 13
    p = p * s2 + 2 / 11
    p = p * s2 + 2 / 9
    p = p * s2 + 2 / 7
    p = p * s2 + 2 / 5
    p = p * s2 + 2 / 3
    p = p * s2 + 2.0
    return n * 0.6931471805599453 + p * s


@_quick
def _tail(t: float) -> float:
    """Phi(-t) exp(t^2 / 2) for t >= 0."""
    s = (t - 4) / (t + 4)
    p = TAIL[14]
    p = p * s + TAIL[13]
    p = p * s + TAIL[12]
    p = p * s + TAIL[11]
    p = p * s + TAIL[10]
    p = p * s + TAIL[9]
    p = p * s + TAIL[8]
    p = p * s + TAIL[7]
    p = p * s + TAIL[6]
    p = p * s + TAIL[5]
    p = p * s + TAIL[4]
    p = p * s + TAIL[3]
    p = p * s + TAIL[2]
    p = p * s + TAIL[1]
    p = p * s + TAIL[0]
    return p / (1 + t)


@_quick
def _phi(x: float) -> float:
    """Phi(x), the chance that a standard normal number is below x."""
    t = abs(x)
    t = t if t < END else END
    below = _exp(-0.5 * t * t) * _tail(t)
    return below if x <= 0 else 1 - below


@_quick
def _quantile(q: float) -> float:
    """The t >= 0 with Phi(-t) = q, for q from 1e-300 to 1/2: relative error 1e-9."""
    r = math.sqrt(-2 * _log(q))
    # Abramowitz and Stegun 26.2.23, error 4.5e-4; then one step of Halley's
    t = r - (2.515517 + r * (0.802853 + r * 0.010328)) / (1 + r * (1.432788 + r * (0.189269 + r * 0.001308)))
    t = t if t > 0 else 0.0
    step = ROOT_TWO_PI * (_tail(t) - q * _exp(0.5 * t * t))
    return t + step / (1 - 0.5 * t * step)


@_quick
def _uniform(seed: np.uint64, row: int) -> float:
    """A number strictly between 0 and 1 for every row: splitmix64."""
    x = seed + np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return ((x >> np.uint64(12)) + 0.5) * 2.220446049250313e-16


@_loop
def _intervals(prediction: Floats, level: Ints, cut: Floats, first: int, low: Floats, high: Floats) -> int:
    """Fill in where z - prediction must lie, for the rows from ``first`` on; return how many rows."""
    count = min(len(low), len(prediction) - first)
    for n in range(count):
        k, p = level[first + n], np.float64(prediction[first + n])
        low[n], high[n] = cut[k] - p, cut[k + 1] - p
    return count


def draw_z(prediction: Floats, level: Ints, cut: Floats, rng: np.random.Generator) -> Floats:
    """Draw z ~ N(prediction, 1) between the two cut points of every row's level, by the inverse of Phi.

    Args:
        prediction: (n,) y(x).
        level: (n,) uint8 from 0.
        cut: (levels + 1,) float64 ascending, from -inf to inf.
        rng: names the draw with one number; a row's part of it depends on that and the row's place only.

    Returns:
        (n,) z, of the prediction's type.
    """
    z = np.empty_like(prediction)
    _draw_z(prediction, level, cut, rng.integers(2**63, dtype=np.uint64), z)
    return z


@_loop
def _draw_z(prediction: Floats, level: Ints, cut: Floats, seed: np.uint64, z: Floats) -> None:
    low, high, out = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    for first in range(0, len(z), CHUNK):
        count, far = _intervals(prediction, level, cut, first, low, high), 0
        for n in range(count):
            # where the interval is mostly above 0, its mirror image is drawn: there Phi is small and exact
            flip = low[n] + high[n] > 0
            a, b = -high[n] if flip else low[n], -low[n] if flip else high[n]
            below = _phi(a)
            q = below + _uniform(seed, first + n) * (_phi(b) - below)
            upper = q > 0.5
            smaller = 1 - q if upper else q
            t = _quantile(smaller if smaller > 1e-300 else 1e-300)
            x = t if upper else -t
            x = x if x > a else a
            x = x if x < b else b
            far += 1 if b < -FAR else 0
            out[n] = -x if flip else x
        for n in range(count):
            z[first + n] = prediction[first + n] + out[n]
        if far:
            for n in range(count):
                if low[n] > FAR:
                    z[first + n] = prediction[first + n] + _beyond(low[n], high[n], seed, first + n)
                elif high[n] < -FAR:
                    z[first + n] = prediction[first + n] - _beyond(-high[n], -low[n], seed, first + n)


@_loop
def _beyond(a: float, b: float, seed: np.uint64, row: int) -> float:
    """Draw a standard normal number between a > 0 and b.

    Robert, "Simulation of truncated normal variables", Statistics and Computing 1995: x - a is proposed from an
    exponential distribution, cut at b - a, and accepted with chance exp(-(x - a)^2 / 2).
    """
    width = -math.expm1(-a * (b - a))
    while True:
        seed += np.uint64(0xD1342543DE82EF95)
        x = -math.log1p(-width * _uniform(seed, row)) / a  # how far beyond a: its density falls as exp(-a x)
        if _uniform(~seed, row) < math.exp(-0.5 * x * x):
            return a + x


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows of one level and of nearly one prediction, taken together.

    Attributes:
        prediction: (cells,) float64 their mean prediction.
        level: (cells,) uint8.
        count: (cells,) float64 how many rows.
    """

    prediction: Floats
    level: Ints
    count: Floats


def cells(prediction: Floats, level: Ints, n_levels: int, width: float = CELL) -> Cells:
    """Take the rows of a level whose predictions are less than ``width`` apart together.

    The likelihood of the cut points is then a sum over thousands of cells, not a million rows. What is lost is as if
    noise of variance width^2 / 12, 5e-6, had been added to the predictions, beside z's own variance of 1.
    """
    low, high = float(prediction.min()), float(prediction.max())
    width = max(width, (high - low) / 8192)
    count, total = _count_cells(prediction, level, n_levels, low, 1 / width, int((high - low) / width) + 2)
    filled = count > 0
    which = np.nonzero(filled)[0].astype(np.uint8)
    return Cells(total[filled] / count[filled], which, count[filled])


@_loop
def _count_cells(
    prediction: Floats, level: Ints, n_levels: int, low: float, per_unit: float, n_cells: int
) -> tuple[Floats, Floats]:
    sums = np.zeros((n_levels, n_cells, 2))
    for n in range(len(prediction)):
        p = np.float64(prediction[n])
        cell = np.uint32((p - low) * per_unit)
        sums[level[n], cell, 0] += 1
        sums[level[n], cell, 1] += p
    return sums[:, :, 0].copy(), sums[:, :, 1].copy()


def cut_likelihood(of: Cells, cut: Floats) -> tuple[float, Floats, Floats]:
    """The log-likelihood of the cut points, z integrated out: sum of log(Phi(high) - Phi(low)); and its derivatives.

    Args:
        of: the rows.
        cut: (levels + 1,) float64 ascending, from -inf to inf; c = levels - 1 of them are finite.

    Returns:
        The log-likelihood, its gradient (c,) and its Hessian (c, c), which has three diagonals.
    """
    sums = _sum_likelihood(of.prediction, of.level, of.count, cut)  # (levels, 6)
    gradient = sums[:-1, 2] + sums[1:, 1]  # a cut point is the upper end of one level and the lower end of the next
    beside = np.diag(sums[1:-1, 5], 1)
    return float(sums[:, 0].sum()), gradient, np.diag(sums[:-1, 4] + sums[1:, 3]) + beside + beside.T


@_loop
def _sum_likelihood(prediction: Floats, level: Ints, weight: Floats, cut: Floats) -> Floats:
    """For each level the sum of log P, P = Phi(b) - Phi(a), and of its derivatives to a, b, aa, bb and ab."""
    low, high, log_p = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    at_low, at_high = np.empty(CHUNK), np.empty(CHUNK)
    sums = np.zeros((len(cut) - 1, 6))
    for first in range(0, len(prediction), CHUNK):
        count = _intervals(prediction, level, cut, first, low, high)
        for n in range(count):
            flip = low[n] + high[n] > 0
            a, b = -high[n] if flip else low[n], -low[n] if flip else high[n]
            s, t = -a if -a < END else END, abs(b)
            t = t if t < END else END
            # all divided by exp(-b^2 / 2) where b < 0, so that nothing vanishes in the tail
            beyond = b < 0
            e_b = _exp(-0.5 * t * t)
            e_a = _exp(-0.5 * (s * s - t * t if beyond else s * s))
            tail_b = _tail(t)
            p = (tail_b if beyond else 1 - e_b * tail_b) - e_a * _tail(s)
            p = p if p > 1e-300 else 1e-300
            log_p[n] = _log(p) - (0.5 * t * t if beyond else 0.0)
            ratio = 1 / (ROOT_TWO_PI * p)
            r_a, r_b = e_a * ratio, (1.0 if beyond else e_b) * ratio  # phi(a) / P, phi(b) / P
            at_low[n], at_high[n] = r_b if flip else r_a, r_a if flip else r_b
        for n in range(count):
            k, w = level[first + n], weight[first + n]
            a, b, r_a, r_b = low[n], high[n], at_low[n], at_high[n]
            sums[k, 0] += w * log_p[n]
            sums[k, 1] -= w * r_a
            sums[k, 2] += w * r_b
            sums[k, 3] += w * (a - r_a) * r_a
            sums[k, 4] -= w * (b + r_b) * r_b
            sums[k, 5] += w * r_a * r_b
    return sums


def draw_cut_points(of: Cells, cut: Floats, rng: np.random.Generator) -> Floats:
    """Draw all cut points at once, given the predictions, z integrated out; their prior is flat.

    With many rows their density is nearly a normal one. Newton's method finds its mode, a draw from the normal
    distribution there is proposed, and Metropolis and Hastings' rule takes it or stays (nearly always it takes it).

    Args:
        of: the rows.
        cut: (levels + 1,) the cut points of the draw before, from -inf to inf.
        rng: where the draw comes from.

    Returns:
        (levels + 1,) float64 cut points.
    """
    mode, hessian = _mode(of, cut)
    root = np.linalg.cholesky(-hessian)  # the precision of the proposal is root root'
    normal = rng.standard_normal(len(cut) - 2)
    proposal = mode.copy()
    proposal[1:-1] += np.linalg.solve(root.T, normal)
    threshold = -rng.standard_exponential()
    if not (np.diff(proposal) > 0).all():
        return cut
    there = root.T @ (cut[1:-1] - mode[1:-1])  # where the old cut points lie in the proposal's own coordinates
    gain = cut_likelihood(of, proposal)[0] - cut_likelihood(of, cut)[0] + (normal @ normal - there @ there) / 2
    return proposal if gain >= threshold else cut


def first_cut_points(level: Ints, n_levels: int) -> Floats:
    """Return the cut points that give every level its share of the rows where all predictions are 0."""
    start = np.concatenate([[-np.inf], np.linspace(-1, 1, n_levels + 1)[1:-1], [np.inf]])
    return _mode(cells(np.zeros(len(level), np.float32), level, n_levels), start)[0]


def _mode(of: Cells, start: Floats) -> tuple[Floats, Floats]:
    """Return the likeliest cut points and the Hessian there, by Newton's method: the log-likelihood is concave."""
    mode, (likelihood, gradient, hessian) = start, cut_likelihood(of, start)
    for _ in range(50):
        step = np.linalg.solve(-hessian, gradient)
        if gradient @ step < 1e-6:  # a thousandth of a standard deviation
            break
        for halvings in range(30):
            trial = mode.copy()
            trial[1:-1] += step / 2**halvings
            if (np.diff(trial) > 0).all() and (told := cut_likelihood(of, trial))[0] > likelihood:
                break
        else:
            break
        mode, (likelihood, gradient, hessian) = trial, told
    return mode, hessian


def expected(prediction: Floats, cut: Floats, value: Floats) -> Floats:
    """Return (n,) float64 sum_k value_k P(level k | prediction): value_0 and the steps up from it that z passes."""
    mean = np.empty(len(prediction))
    _sum_steps(prediction, cut[1:-1], value[0], np.diff(value), mean)
    return mean


@_loop
def _sum_steps(prediction: Floats, cut: Floats, lowest: float, step: Floats, mean: Floats) -> None:
    mean[:] = lowest
    for k in range(len(cut)):
        for n in range(len(mean)):
            mean[n] += step[k] * _phi(np.float64(prediction[n]) - cut[k])
