"""BPR-MF: Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian Personalized Ranking", UAI 2009.

SGD on triples (user, taken item, item not taken) in random order, in float32, on one thread: threads that write to
the same factors (Hogwild) would give other numbers every time.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Ints, RankQueries, Run, Skip, Train, implementation, top_k


@implementation(author="recarena", departs=("an epoch takes every event once; LearnBPR draws with replacement",))
@dataclass
class BPR:
    """Score of an item = x_u . y_i, fitted so that what u took scores above what u did not.

    Attributes:
        n_factors: length of x_u and y_i.
        n_epochs: passes over the events, each with one item not taken.
        learning_rate: alpha.
        regularisation: lambda, the same for users, taken items and items not taken.
        init_std: standard deviation of the first factors.
    """

    n_factors: int = 64
    n_epochs: int = 60
    learning_rate: float = 0.02
    regularisation: float = 0.01
    init_std: float = 0.1

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        self.count = np.bincount(seen.item, minlength=seen.n_items)  # (n_items,)
        offset = seen.histories().offsets  # (n_users + 1,) where a user's rows start
        item = seen.item[np.lexsort((seen.item, seen.user))]  # (n,) each user's items sorted, to be searched
        scale = np.float32(self.init_std)
        self.x = scale * run.rng.standard_normal((seen.n_users, self.n_factors), np.float32)  # (n_users, d)
        self.y = scale * run.rng.standard_normal((seen.n_items, self.n_factors), np.float32)  # (n_items, d)
        for epoch in range(self.n_epochs):
            other = _negatives(offset, item, seen.n_items, run.rng.integers(2**63, dtype=np.uint64))  # (n,)
            order = run.rng.permutation(len(item))
            right = _steps(
                seen.user[order],
                item[order],
                other[order],
                self.x,
                self.y,
                np.float32(self.learning_rate),
                np.float32(self.regularisation),
            )
            run.progress(epoch + 1, self.n_epochs)
            run.log(epoch=epoch + 1, train_auc=right / len(item))

    def rank(self, queries: RankQueries) -> Ints:
        if queries.user is None:
            raise Skip("users never seen in training have no factors")
        user, known = queries.user, queries.history.lengths > 0  # (q,) each

        def score(rows: slice) -> Floats:
            # (rows, n_items); who has no history gets what is popular
            return np.where(known[rows, None], self.x[user[rows]] @ self.y.T, self.count.astype(np.float32))

        return top_k(score, queries)  # (q, k)


@numba.njit(cache=True)
def _negatives(offset: Ints, item: Ints, n_items: int, seed: np.uint64) -> Ints:
    """(n,) for each event an item drawn uniformly from those that its user did not take; -1 where there is none."""
    out, state = np.full(len(item), -1, np.int32), seed
    for u in range(len(offset) - 1):
        taken = item[offset[u] : offset[u + 1]]  # sorted
        if len(taken) == n_items:
            continue
        for n in range(offset[u], offset[u + 1]):
            state, j = _below(state, n_items)
            while _has(taken, j):
                state, j = _below(state, n_items)
            out[n] = j
    return out


@numba.njit(cache=True)
def _has(taken: Ints, item: np.int64) -> bool:
    """Whether a sorted array holds an item: halved until one is left, without a branch to guess wrong."""
    low, size = 0, len(taken)
    while size > 1:
        half = size // 2
        low += half * (taken[low + half] <= item)
        size -= half
    return taken[low] == item


@numba.njit(cache=True)
def _below(state: np.uint64, n: int) -> tuple[np.uint64, np.int64]:
    """Return the next state of splitmix64, and a number below n: its high 32 bits as a fraction of n."""
    state += np.uint64(0x9E3779B97F4A7C15)
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return state, np.int64(((z >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@numba.njit(cache=True, fastmath=True)
def _steps(user: Ints, taken: Ints, other: Ints, x: Floats, y: Floats, alpha: np.float32, lam: np.float32) -> float:
    """Take one step on each triple; return how many were in the right order before theirs."""
    right, one, keep = 0.0, np.float32(1), np.float32(1) - alpha * lam
    for n in range(len(user)):
        if other[n] < 0:
            continue
        x_u, y_i, y_j = x[user[n]], y[taken[n]], y[other[n]]
        x_uij = np.float32(0)
        for f in range(len(x_u)):
            x_uij += x_u[f] * (y_i[f] - y_j[f])
        right += x_uij > 0
        # Theta += alpha (sigma(-x_uij) d x_uij / d Theta - lambda Theta)
        step = alpha / (one + np.exp(x_uij))
        for f in range(len(x_u)):
            x_uf, y_if, y_jf = x_u[f], y_i[f], y_j[f]
            x_u[f] = keep * x_uf + step * (y_if - y_jf)
            y_i[f] = keep * y_if + step * x_uf
            y_j[f] = keep * y_jf - step * x_uf
    return right
