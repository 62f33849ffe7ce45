"""Implicit ALS: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.

In the parametrisation of Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation
Benchmarks", RecSys 2022: events weigh 1, and all pairs, events included, alpha_0.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints, Ragged, RankQueries, Run, Train, implementation, top_k

BLOCK = 1024  # rows added up by one thread


@implementation(
    author="recarena",
    departs=(
        "events all weigh the same, whatever the count or rating",
        "events count in the unobserved term too, with target 0, as in Rendle et al. 2022",
    ),
)
@dataclass
class IALS:
    """Score of an item = x_u . y_i, with x_u solved from the history against the item factors.

    Every user is answered by fold-in, also one seen in training: the last half-step of training solves the items, so a
    stored x_u would be half a step old, and a history may hold more by now than training did.

    Attributes:
        n_factors: length of x_u and y_i.
        n_epochs: alternations over users, then items.
        unobserved_weight: alpha_0, the weight of (x_u . y_i)^2 over all pairs.
        regularisation: lambda.
        exponent: nu; 0 is the lambda of Hu et al., 1 scales it with a row's number of events plus alpha_0 times the
            size of the other side.
        init_std: length of a first factor; an entry's standard deviation is init_std / sqrt(n_factors).
        n_steps: of conjugate gradients on each system, from the factors of the epoch before.
    """

    n_factors: int = 64
    n_epochs: int = 12
    unobserved_weight: float = 0.3
    regularisation: float = 8.0
    exponent: float = 0.0
    init_std: float = 0.1
    n_steps: int = 3

    def fit(self, train: Train, run: Run) -> None:
        numba.set_num_threads(min(run.threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        seen = train.interactions
        self.count = np.bincount(seen.item, minlength=seen.n_items)  # (n_items,)
        items_of_user = seen.histories()
        users_of_item = Ragged.from_lengths(self.count, seen.user[np.argsort(seen.item, kind="stable")])
        scale = np.float32(self.init_std / np.sqrt(self.n_factors))
        x = np.zeros((seen.n_users, self.n_factors), np.float32)  # (n_users, d)
        self.y = scale * run.rng.standard_normal((seen.n_items, self.n_factors), np.float32)  # (n_items, d)
        for epoch in range(self.n_epochs):
            self._improve(x, items_of_user, self.y)  # (4)
            self._improve(self.y, users_of_item, x)  # (5)
            run.progress(epoch + 1, self.n_epochs)
            run.log(epoch=epoch + 1, mean_square_of_x=float(np.square(x).mean()))

    def rank(self, queries: RankQueries) -> Ints:
        x = self._solve(queries.history, self.y)  # (q, d)
        return top_k(lambda rows: self._score(x, queries, rows), queries)  # (q, k)

    def _score(self, x: Floats, queries: RankQueries, rows: slice) -> Floats:
        score: Floats = x[rows] @ self.y.T  # (rows, n_items)
        score[queries.history.part(rows).lengths == 0] = self.count  # who has no history gets what is popular
        return score

    def _improve(self, x: Floats, taken: Ragged, y: Floats) -> None:
        """Move each row's (rows, d) factors towards their best, the other side's factors being fixed."""
        _descend(taken.offsets, taken.values, x, y, *self._system(taken, y), self.n_steps)

    def _solve(self, taken: Ragged, y: Floats) -> Floats:
        """Return the (rows, d) best factors of each row of events, the other side's factors being fixed."""
        return _ridge(taken.offsets, taken.values, y, *self._system(taken, y))

    def _system(self, taken: Ragged, y: Floats) -> tuple[Floats, Floats]:
        """Return alpha_0 Y'Y, (d, d), and each row's lambda, (rows,)."""
        gram = np.float32(self.unobserved_weight) * _gram(y)
        lam = self.regularisation * (taken.lengths + self.unobserved_weight * len(y)) ** self.exponent
        return gram, lam.astype(np.float32)


@numba.njit(cache=True, fastmath=True, parallel=True)
def _gram(y: Floats) -> Floats:
    """Return Y'Y, (d, d), as a sum over blocks of rows.

    BLAS would do, but its threads go on spinning for a while, on the cores that the rows of ``_descend`` want.
    """
    n, d = y.shape
    part = np.zeros((-(-n // BLOCK), d, d), np.float32)
    for block in numba.prange(len(part)):
        for row in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for f in range(d):
                for g in range(d):
                    part[block, f, g] += y[row, f] * y[row, g]
    return part.sum(axis=0)


@numba.njit(cache=True, fastmath=True, parallel=True)
def _descend(offsets: Ints, values: Ints, x: Floats, y: Floats, gram: Floats, lam: Floats, n_steps: int) -> None:
    """Take steps of conjugate gradients on equation (4), or (5), of every row, from where the row is; x is changed.

    Takacs, Pilaszy and Tikk, "Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative
    Filtering", RecSys 2011. Rows are independent, so threads change no bit.
    """
    d = x.shape[1]
    for row in numba.prange(len(x)):
        taken = values[offsets[row] : offsets[row + 1]]
        x_u = x[row]
        if len(taken) == 0:
            x_u[:] = 0
            continue
        product = np.empty(d, np.float32)
        _times(taken, y, gram, lam[row], x_u, np.float32(1), product)
        residual = -product
        direction = residual.copy()
        squared = np.dot(residual, residual)
        for _ in range(n_steps):
            if squared < np.float32(1e-20):
                break
            _times(taken, y, gram, lam[row], direction, np.float32(0), product)
            step = squared / np.dot(direction, product)
            for f in range(d):
                x_u[f] += step * direction[f]
                residual[f] -= step * product[f]
            before, squared = squared, np.dot(residual, residual)
            for f in range(d):
                direction[f] = residual[f] + squared / before * direction[f]


@numba.njit(cache=True, fastmath=True)
def _times(taken: Ints, y: Floats, gram: Floats, lam: np.float32, v: Floats, target: np.float32, out: Floats) -> None:
    """Write (alpha_0 Y'Y + sum_taken y_i y_i' + lambda I) v - target sum_taken y_i to out, (d,)."""
    d = len(v)
    for f in range(d):
        out[f] = lam * v[f]
    for g in range(0, d - 3, 4):  # four at a time: out is read and written once for the four
        v0, v1, v2, v3 = v[g], v[g + 1], v[g + 2], v[g + 3]
        g0, g1, g2, g3 = gram[g], gram[g + 1], gram[g + 2], gram[g + 3]
        for f in range(d):
            out[f] += v0 * g0[f] + v1 * g1[f] + v2 * g2[f] + v3 * g3[f]
    for g in range(d - d % 4, d):
        for f in range(d):
            out[f] += v[g] * gram[g, f]
    n_fours = len(taken) // 4 * 4
    for e in range(0, n_fours, 4):
        h, i, j, k = taken[e], taken[e + 1], taken[e + 2], taken[e + 3]
        dot_h = dot_i = dot_j = dot_k = -target
        for f in range(d):
            dot_h += y[h, f] * v[f]
            dot_i += y[i, f] * v[f]
            dot_j += y[j, f] * v[f]
            dot_k += y[k, f] * v[f]
        for f in range(d):
            out[f] += dot_h * y[h, f] + dot_i * y[i, f] + dot_j * y[j, f] + dot_k * y[k, f]
    for e in range(n_fours, len(taken)):
        i, dot = taken[e], -target
        for f in range(d):
            dot += y[i, f] * v[f]
        for f in range(d):
            out[f] += dot * y[i, f]


@numba.njit(cache=True, fastmath=True, parallel=True)
def _ridge(offsets: Ints, values: Ints, y: Floats, gram: Floats, lam: Floats) -> Floats:
    """Solve equation (4), or (5), for every row; rows are independent, so threads change no bit.

    (alpha_0 Y'Y + sum_taken y_i y_i' + lambda_u I) x_u = sum_taken y_i
    """
    d = y.shape[1]
    x = np.zeros((len(lam), d), np.float32)
    nothing = np.zeros(d, np.float32)
    for row in numba.prange(len(lam)):
        start, stop = offsets[row], offsets[row + 1]
        if start == stop:
            continue
        A, b = gram.copy(), x[row]  # (d, d), of which the lower triangle is used; (d,)
        for e in range(start, stop, 4):  # four events at a time: A is read and written once for the four
            y0 = y[values[e]]
            y1 = y[values[e + 1]] if e + 1 < stop else nothing
            y2 = y[values[e + 2]] if e + 2 < stop else nothing
            y3 = y[values[e + 3]] if e + 3 < stop else nothing
            for f in range(d):
                b[f] += y0[f] + y1[f] + y2[f] + y3[f]
                A_f = A[f]
                for g in range(f + 1):
                    A_f[g] += y0[f] * y0[g] + y1[f] * y1[g] + y2[f] * y2[g] + y3[f] * y3[g]
        for f in range(d):
            A[f, f] += lam[row]
        _solve_in_place(A, b)
    return x


@numba.njit(cache=True, fastmath=True)
def _solve_in_place(A: Floats, b: Floats) -> None:
    """Turn b into the solution of A x = b by Cholesky, A = L L'; A's lower triangle becomes L.

    LAPACK would do, but its own threads fight over the cores when a matrix is this small.
    """
    d = len(b)
    for f in range(d):
        L_f = A[f]
        for g in range(f + 1):
            L_g = A[g]
            rest = L_f[g]
            for h in range(g):
                rest -= L_f[h] * L_g[h]
            L_f[g] = np.sqrt(rest) if f == g else rest / L_g[g]
    for f in range(d):  # L z = b
        for h in range(f):
            b[f] -= A[f, h] * b[h]
        b[f] /= A[f, f]
    for f in range(d - 1, -1, -1):  # L' x = z
        b[f] /= A[f, f]
        for h in range(f):
            b[h] -= A[f, h] * b[f]
