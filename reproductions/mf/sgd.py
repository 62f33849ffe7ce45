"""Biased matrix factorisation by SGD: Koren, Bell and Volinsky, "Matrix Factorization Techniques", Computer 2009.

Every epoch visits the users in a new random order and, for each, the user's ratings in file order (so p_u stays in the
nearest cache), in float32, on one thread: the same seed gives the same factors, bit for bit.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints, RateQueries, Run, Skip, Train, implementation


@implementation(
    author="recarena",
    departs=(
        "lambda of a user or item divided by the root of its number of ratings",
        "learning rate falls linearly to 0",
        "biases have a lambda of their own",
    ),
)
@dataclass
class BiasedMF:
    """r_ui ~ mu + b_u + b_i + q_i . p_u.

    Attributes:
        n_factors: length of p_u and q_i.
        n_epochs: passes over the training ratings.
        learning_rate: gamma of the first epoch.
        regularisation: lambda of the factors of a user or item with one rating; lambda / sqrt(n) with n.
        bias_regularisation: lambda of the biases.
        init_std: standard deviation of the first factors.
    """

    n_factors: int = 100
    n_epochs: int = 60
    learning_rate: float = 0.015
    regularisation: float = 1.0
    bias_regularisation: float = 0.02
    init_std: float = 0.02

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
        # who has no rating is never moved: no noise in the prediction, only mu and the other side's bias
        n_of_user = np.bincount(seen.user, minlength=seen.n_users)  # (n_users,)
        n_of_item = np.bincount(seen.item, minlength=seen.n_items)  # (n_items,)
        self.p[n_of_user == 0] = 0
        self.q[n_of_item == 0] = 0
        lam_user = (self.regularisation / np.sqrt(np.maximum(n_of_user, 1))).astype(np.float32)
        lam_item = (self.regularisation / np.sqrt(np.maximum(n_of_item, 1))).astype(np.float32)

        offset = seen.histories().offsets  # (n_users + 1,) where a user's rows start
        for epoch in range(self.n_epochs):
            squared_error = _epoch(
                run.rng.permutation(seen.n_users),
                offset,
                seen.item,
                rating,
                self.mean,
                self.b_user,
                self.b_item,
                self.p,
                self.q,
                np.float32(self.learning_rate * (1 - epoch / self.n_epochs)),
                lam_user,
                lam_item,
                np.float32(self.bias_regularisation),
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
    lam_user: Floats,
    lam_item: Floats,
    lam_bias: np.float32,
) -> float:
    """One pass over the ratings, users in the given order; return the sum of squared errors met on the way."""
    total, one = 0.0, np.float32(1.0)
    for u in order:
        p_u = p[u]
        for row in range(offset[u], offset[u + 1]):
            i = item[row]
            q_i = q[i]
            dot = np.float32(0.0)
            for f in range(len(p_u)):
                dot += p_u[f] * q_i[f]
            # e_ui = r_ui - r^_ui (4), and one step down the gradient of (5)
            e = rating[row] - (mu + b_user[u] + b_item[i] + dot)
            b_user[u] += gamma * (e - lam_bias * b_user[u])
            b_item[i] += gamma * (e - lam_bias * b_item[i])
            step, keep_u, keep_i = gamma * e, one - gamma * lam_user[u], one - gamma * lam_item[i]
            for f in range(len(p_u)):
                p_uf = p_u[f]
                p_u[f] = keep_u * p_uf + step * q_i[f]
                q_i[f] = keep_i * q_i[f] + step * p_uf
            total += e * e
    return total
