"""Logistic matrix factorisation by SGD: Rendle, Krichene, Zhang and Anderson, "NCF vs. MF Revisited", RecSys 2020.

A dot product with biases, every event against a few items drawn at random, in float32, on one thread.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints, RankQueries, Run, Skip, Train, implementation, top_k


@implementation(
    author="recarena",
    departs=("an event and its negatives make one small batch; the authors shuffle all and step one by one",),
)
@dataclass
class LogisticMF:
    """Chance that u takes i = sigma(b + b_u + b_i + p_u . q_i).

    Attributes:
        n_factors: length of p_u and q_i.
        n_epochs: passes over the events.
        learning_rate: eta.
        regularisation: lambda.
        n_negatives: m, items drawn for each event, uniform over the catalogue; one that u took may be among them.
        init_std: standard deviation of the first factors.
    """

    n_factors: int = 192
    n_epochs: int = 256
    learning_rate: float = 0.002
    regularisation: float = 0.005
    n_negatives: int = 8
    init_std: float = 0.1

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        self.count = np.bincount(seen.item, minlength=seen.n_items)  # (n_items,)
        scale = np.float32(self.init_std)
        self.p = scale * run.rng.standard_normal((seen.n_users, self.n_factors), np.float32)  # (n_users, d)
        self.q = scale * run.rng.standard_normal((seen.n_items, self.n_factors), np.float32)  # (n_items, d)
        self.b_user = np.zeros(seen.n_users, np.float32)
        self.b_item = np.zeros(seen.n_items, np.float32)
        b = np.float32(0)
        for epoch in range(self.n_epochs):
            b, loss = _epoch(
                run.rng.permutation(len(seen)),
                seen.user,
                seen.item,
                b,
                self.b_user,
                self.b_item,
                self.p,
                self.q,
                np.float32(self.learning_rate),
                np.float32(self.regularisation),
                self.n_negatives,
                run.rng.integers(2**63, dtype=np.uint64),
            )
            run.progress(epoch + 1, self.n_epochs)
            run.log(epoch=epoch + 1, loss=loss / (len(seen) * (1 + self.n_negatives)))

    def rank(self, queries: RankQueries) -> Ints:
        if queries.user is None:
            raise Skip("users never seen in training have no factors")
        user, known = queries.user, queries.history.lengths > 0  # (q,) each

        def score(rows: slice) -> Floats:
            # (rows, n_items); b and b_u change no order; who has no history gets what is popular
            known_score = self.p[user[rows]] @ self.q.T + self.b_item
            return np.where(known[rows, None], known_score, self.count.astype(np.float32))

        return top_k(score, queries)  # (q, k)


@numba.njit(cache=True, fastmath=True)
def _epoch(
    order: Ints,
    user: Ints,
    item: Ints,
    b: np.float32,
    b_user: Floats,
    b_item: Floats,
    p: Floats,
    q: Floats,
    eta: np.float32,
    lam: np.float32,
    n_negatives: int,
    seed: np.uint64,
) -> tuple[np.float32, float]:
    """One pass over the events in the given order; return the new b and the sum of the losses met on the way."""
    total, one, keep, state = 0.0, np.float32(1), np.float32(1) - eta * lam, seed
    drawn = np.empty(n_negatives + 1, np.int64)  # the event's item, then the negatives
    step = np.empty(n_negatives + 1, np.float32)
    for row in order:
        u = user[row]
        p_u = p[u]
        drawn[0] = item[row]
        for n in range(1, n_negatives + 1):
            # splitmix64; its high 32 bits, as a fraction of the catalogue, name the item
            state += np.uint64(0x9E3779B97F4A7C15)
            x = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
            drawn[n] = np.int64(((x >> np.uint64(32)) * np.uint64(len(q))) >> np.uint64(32))
        # all scores first: nothing waits for the step before, and the steps find every q_i in the nearest cache
        for n in range(n_negatives + 1):
            i = drawn[n]
            q_i = q[i]
            score = b + b_user[u] + b_item[i]
            for f in range(len(p_u)):
                score += p_u[f] * q_i[f]
            step[n] = score
        for n in range(n_negatives + 1):
            # one step down the gradient of  -y log chance - (1 - y) log(1 - chance) + lambda / 2 (|p_u|^2 + ...)
            right = step[n] if n == 0 else -step[n]
            wrong = one / (one + np.exp(right))  # 1 - the chance given to what is true
            total -= np.log(max(one - wrong, np.float32(1e-30)))
            step[n] = eta * wrong if n == 0 else -eta * wrong
        for n in range(n_negatives + 1):
            i, s = drawn[n], step[n]
            q_i = q[i]
            b = keep * b + s
            b_user[u] = keep * b_user[u] + s
            b_item[i] = keep * b_item[i] + s
            for f in range(len(p_u)):
                p_uf = p_u[f]
                p_u[f] = keep * p_uf + s * q_i[f]
                q_i[f] = keep * q_i[f] + s * p_uf
    return b, total
