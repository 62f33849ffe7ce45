"""Biased matrix factorisation by plain SGD, as Surprise's SVD: Koren, Bell and Volinsky, Computer 2009.

The paper's equations as they stand, one learning rate and one lambda for everything, with Surprise's defaults. Every
epoch visits the users in the same order and, for each, the user's ratings, in float32, on one thread.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints, RateQueries, Run, Skip, Train, implementation


@implementation(author="recarena")
@dataclass
class SVD:
    """r_ui ~ mu + b_u + b_i + q_i . p_u.

    Attributes:
        n_factors: length of p_u and q_i.
        n_epochs: passes over the training ratings.
        learning_rate: gamma.
        regularisation: lambda.
        init_std: standard deviation of the first factors.
    """

    n_factors: int = 100
    n_epochs: int = 20
    learning_rate: float = 0.005
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
                np.float32(self.learning_rate),
                np.float32(self.regularisation),
            )
            run.progress(epoch + 1, self.n_epochs)
            run.log(epoch=epoch + 1, train_rmse=float(np.sqrt(squared_error / len(rating))))

    def rate(self, queries: RateQueries) -> Floats:
        u, i = queries.user, queries.item  # (q,) each
        guess = self.mean + self.b_user[u] + self.b_item[i] + np.einsum("qd,qd->q", self.q[i], self.p[u])  # (4)
        clipped: Floats = np.clip(guess, self.low, self.high)  # (q,)
        return clipped


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
    gamma: np.float32,
    lam: np.float32,
) -> float:
    """One pass over the ratings, users in the given order; return the sum of squared errors met on the way."""
    total, keep = 0.0, np.float32(1) - gamma * lam
    for u in order:
        p_u = p[u]
        for row in range(offset[u], offset[u + 1]):
            i = item[row]
            q_i = q[i]
            dot = np.float32(0)
            for f in range(len(p_u)):
                dot += p_u[f] * q_i[f]
            # e_ui = r_ui - r^_ui (4), and one step down the gradient of (5)
            e = rating[row] - (mu + b_user[u] + b_item[i] + dot)
            step = gamma * e
            b_user[u] = keep * b_user[u] + step
            b_item[i] = keep * b_item[i] + step
            for f in range(len(p_u)):
                p_uf = p_u[f]
                p_u[f] = keep * p_uf + step * q_i[f]
                q_i[f] = keep * q_i[f] + step * p_uf
            total += e * e
    return total
