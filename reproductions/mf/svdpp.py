"""SVD++: Koren, "Factorization Meets the Neighborhood", KDD 2008, section 4, with Surprise's defaults.

What a user rated says something whatever the ratings were: every item has a second vector y_j, and a user is p_u plus
the scaled sum of the y_j of all items that the user rated. float32, one thread, users in the same order every epoch.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints, RateQueries, Run, Skip, Train, implementation


@implementation(author="recarena")
@dataclass
class SVDpp:
    """r_ui ~ mu + b_u + b_i + q_i . (p_u + z_u), with z_u = |N(u)|^-1/2 sum of y_j over the items that u rated.

    Attributes:
        n_factors: length of p_u, q_i and y_j.
        n_epochs: passes over the training ratings.
        learning_rate: gamma.
        regularisation: lambda.
        init_std: standard deviation of the first factors.
    """

    n_factors: int = 20
    n_epochs: int = 20
    learning_rate: float = 0.007
    regularisation: float = 0.02
    init_std: float = 0.1

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        rating = seen.value.astype(np.float32)  # (n,)
        self.low, self.high = rating.min(), rating.max()
        self.mean = np.float32(rating.mean(dtype=np.float64))
        scale = np.float32(self.init_std)
        self.p = scale * run.rng.standard_normal((seen.n_users, self.n_factors), np.float32)  # (n_users, d)
        self.q = scale * run.rng.standard_normal((seen.n_items, self.n_factors), np.float32)  # (n_items, d)
        self.y = scale * run.rng.standard_normal((seen.n_items, self.n_factors), np.float32)  # (n_items, d)
        self.b_user = np.zeros(seen.n_users, np.float32)
        self.b_item = np.zeros(seen.n_items, np.float32)
        # who has no rating keeps a product of 0: only mu and the other side's bias answer
        n_of_user = np.bincount(seen.user, minlength=seen.n_users)  # (n_users,)
        self.p[n_of_user == 0] = 0
        self.q[np.bincount(seen.item, minlength=seen.n_items) == 0] = 0
        # users as a shuffle of the rows would first meet them, as in Surprise: the first of n uniform times is
        # exponential with rate n, so who rated much tends to come early
        order = np.argsort(run.rng.exponential(size=seen.n_users) / np.maximum(n_of_user, 1))  # (n_users,)

        offset = seen.histories().offsets  # (n_users + 1,) where a user's rows start
        for epoch in range(self.n_epochs):
            squared_error = _epoch(
                order,
                offset,
                seen.item,
                rating,
                self.mean,
                self.b_user,
                self.b_item,
                self.p,
                self.q,
                self.y,
                np.float32(self.learning_rate),
                np.float32(self.regularisation),
            )
            run.progress(epoch + 1, self.n_epochs)
            run.log(epoch=epoch + 1, train_rmse=float(np.sqrt(squared_error / len(rating))))
        self.user = self.p + _implicit(offset, seen.item, self.y)  # (n_users, d)
        self.n_parameters = sum(a.size for a in (self.p, self.q, self.y, self.b_user, self.b_item))

    def rate(self, queries: RateQueries) -> Floats:
        u, i = queries.user, queries.item  # (q,) each
        guess = self.mean + self.b_user[u] + self.b_item[i] + np.einsum("qd,qd->q", self.q[i], self.user[u])  # (15)
        clipped: Floats = np.clip(guess, self.low, self.high)  # (q,)
        return clipped


@numba.njit(cache=True, fastmath=True)
def _implicit(offset: Ints, item: Ints, y: Floats) -> Floats:
    """(n_users, d) z_u = |N(u)|^-1/2 sum of y_j over N(u); 0 for who rated nothing."""
    z = np.zeros((len(offset) - 1, y.shape[1]), np.float32)
    for u in range(len(z)):
        _add_implicit(item[offset[u] : offset[u + 1]], y, z[u])
    return z


@numba.njit(cache=True, fastmath=True)
def _add_implicit(rated: Ints, y: Floats, z_u: Floats) -> None:
    """Add a user's |N(u)|^-1/2 sum of y_j to z_u."""
    scale = np.float32(1 / np.sqrt(max(len(rated), 1)))
    for j in rated:
        for f in range(len(z_u)):
            z_u[f] += scale * y[j, f]


@numba.njit(cache=True, fastmath=True)
def _epoch(
    order: Ints,
    offset: Ints,
    item: Ints,
    rating: Floats,
    mu: np.float32,
    b_user: Floats,
    b_item: Floats,
    p: Floats,
    q: Floats,
    y: Floats,
    gamma: np.float32,
    lam: np.float32,
) -> float:
    """One pass over the ratings, users in the given order; return the sum of squared errors met on the way.

    Each rating moves every y_j of its user: y_j <- a y_j + gamma e q_i / sqrt(n), with a = 1 - gamma lambda and
    n = |N(u)|. Their scaled sum then moves by z <- a z + gamma e q_i, which is all that the next rating of this user
    looks at. So only z is kept up to date, and after the user's n ratings every y_j has been moved n times at once:
    y_j <- a^n y_j + (z - a^n z_before) / sqrt(n). The same numbers in O(d) a rating instead of O(n d).
    """
    total, keep = 0.0, np.float32(1) - gamma * lam
    d = p.shape[1]
    z, z_before = np.empty(d, np.float32), np.empty(d, np.float32)
    for u in order:
        rated = item[offset[u] : offset[u + 1]]
        if len(rated) == 0:
            continue
        z[:] = 0
        _add_implicit(rated, y, z)
        z_before[:] = z
        p_u = p[u]
        for row in range(offset[u], offset[u + 1]):
            i = item[row]
            q_i = q[i]
            dot = np.float32(0)
            for f in range(d):
                dot += (p_u[f] + z[f]) * q_i[f]
            e = rating[row] - (mu + b_user[u] + b_item[i] + dot)  # r_ui - r^_ui (15), and one step down the gradient
            step = gamma * e
            b_user[u] = keep * b_user[u] + step
            b_item[i] = keep * b_item[i] + step
            for f in range(d):
                q_if = q_i[f]
                q_i[f] = keep * q_if + step * (p_u[f] + z[f])
                p_u[f] = keep * p_u[f] + step * q_if
                z[f] = keep * z[f] + step * q_if
            total += e * e
        n = np.float32(len(rated))
        keep_all = keep**n
        for f in range(d):
            z[f] = (z[f] - keep_all * z_before[f]) / np.sqrt(n)
        for j in rated:
            for f in range(d):
                y[j, f] = keep_all * y[j, f] + z[f]
    return total
