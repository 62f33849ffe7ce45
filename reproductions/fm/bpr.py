"""Factorization machine for lists of items: Rendle, "Factorization Machines", ICDM 2010, section III-B (ranking).

The pairwise loss is that of Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian Personalized Ranking",
UAI 2009.

SGD on triples (user, taken item, item not taken) in random order, in float32, on one thread: the same seed gives the
same parameters, bit for bit.
"""

from dataclasses import dataclass

import numba
import numpy as np

from recarena import Factors, Floats, Ints, RankQueries, Run, Skip, Train, implementation, top_k

from ._features import available, design
from ._sgd import block_rows, table


@implementation(
    author="recarena",
    departs=(
        "an epoch takes every event once; LearnBPR draws with replacement",
        "learning rate falls linearly to 0",
    ),
)
@dataclass
class BPR:
    """Score of an item = y(x), fitted so that what u took scores above what u did not.

    Attributes:
        n_factors: length of v_j.
        n_epochs: passes over the events, each with one item not taken.
        learning_rate: eta of the first epoch.
        regularisation: lambda of the vectors: one number for all families, or one for each.
        linear_regularisation: lambda of the weights of an item's features, likewise.
        init_std: standard deviation of the first vectors.
        families: which features; those that a benchmark does not give are left out.
    """

    n_factors: int = 64
    n_epochs: int = 40
    learning_rate: float = 0.1
    regularisation: tuple[float, ...] = (0.01,)
    linear_regularisation: tuple[float, ...] = (0.01,)
    init_std: float = 0.1
    families: tuple[str, ...] = ("user", "age", "gender", "occupation", "item", "genres", "year")

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        families = tuple(name for name in self.families if name in available(train))
        features = table(design(train, families))
        if len(features.design.blocks) > 2:
            raise Skip("a day says nothing about which items to list for a user")
        self.first_item = int(features.first_row[1])  # block row of item 0
        self.count = np.bincount(seen.item, minlength=seen.n_items)  # (n_items,)
        n_columns = features.n_columns
        w = np.zeros(n_columns, np.float32)
        v = np.float32(self.init_std) * run.rng.standard_normal((n_columns, self.n_factors), np.float32)
        lam_w = features.per_column("linear_regularisation", self.linear_regularisation, families)
        lam_v = features.per_column("regularisation", self.regularisation, families)

        start, column, x = features.start, features.column, features.x
        offset = seen.histories().offsets  # (n_users + 1,) where a user's rows start
        item = seen.item[np.lexsort((seen.item, seen.user))]  # (n,) each user's items sorted, to be searched
        for done in range(self.n_epochs):
            other = _negatives(offset, item, seen.n_items, run.rng.integers(2**63, dtype=np.uint64))  # (n,)
            eta = np.float32(self.learning_rate * (1 - done / self.n_epochs))
            triples = np.stack([seen.user, item + self.first_item, other + self.first_item], axis=1)[other >= 0]
            order = run.rng.permutation(len(triples)).astype(np.int32)
            right = _epoch(triples[order].astype(np.int32), start, column, x, w, v, eta, lam_w, lam_v)
            run.progress(done + 1, self.n_epochs)
            run.log(epoch=done + 1, train_auc=right / max(len(triples), 1))
        self.c, self.q = block_rows(start, column, x, w, v)  # (block rows,), (block rows, d)
        self.n_parameters = w.size + v.size

    def rank(self, queries: RankQueries) -> Ints:
        if queries.user is None:
            raise Skip("users never seen in training have no block row")
        user, known = queries.user, queries.history.lengths > 0  # (q,) each
        # y - c_u = Q_u . Q_i + c_i; who has no history gets what is popular
        one = np.ones((len(user), 1), np.float32)
        of_user = np.hstack([self.q[user], one, 0 * one])
        of_user[~known] = 0
        of_user[~known, -1] = 1
        popular = self.count.astype(np.float32)[:, None]
        of_item = np.hstack([self.q[self.first_item :], self.c[self.first_item :, None], popular])
        return top_k(Factors(of_user, of_item), queries)  # (q, k)


@numba.njit(cache=True, fastmath=True)
def _epoch(
    triples: Ints,
    start: Ints,
    column: Ints,
    x: Floats,
    w: Floats,
    v: Floats,
    eta: np.float32,
    lam_w: Floats,
    lam_v: Floats,
) -> float:
    """Take one step on each triple of block rows (n, 3): user, taken, not; return how many were in the right order.

    Of y_ui - y_uj = Q_u . (Q_i - Q_j) + c_i - c_j, what u's features say by themselves is gone.
    """
    right, one, half, d = 0.0, np.float32(1), np.float32(0.5), v.shape[1]
    s = np.empty((3, d), np.float32)
    for n in range(len(triples)):
        s[:] = 0
        y = np.float32(0)
        for k in range(3):
            r, s_k = triples[n, k], s[k]
            sign = one if k == 1 else -one
            linear, pairs = np.float32(0), np.float32(0)
            for z in range(start[r], start[r + 1]):
                x_j, v_j = x[z], v[column[z]]
                linear += x_j * w[column[z]]
                for f in range(d):
                    h = x_j * v_j[f]
                    s_k[f] += h
                    pairs -= h * h
            if k > 0:
                for f in range(d):
                    pairs += s_k[f] * s_k[f]
                y += sign * (linear + half * pairs)
        q_u, q_i, q_j = s[0], s[1], s[2]
        for f in range(d):
            y += q_u[f] * (q_i[f] - q_j[f])
        right += y > 0
        # Theta += eta (sigma(-y) dy/dTheta - lambda Theta)
        e = eta / (one + np.exp(y))
        for f in range(d):
            u_f = q_u[f]
            q_u[f] = q_i[f] - q_j[f]  # what goes with u's features
            q_i[f] += u_f  # S of the row of u and i, and of u and j
            q_j[f] += u_f
        for k in range(3):
            r, s_k = triples[n, k], s[k]
            sign = e if k < 2 else -e
            for z in range(start[r], start[r + 1]):
                j, x_j = column[z], x[z]
                v_j, step = v[j], sign * x_j
                keep = one - eta * lam_v[j]
                if k > 0:
                    w[j] += step - eta * lam_w[j] * w[j]
                    keep -= step * x_j
                for f in range(d):
                    v_j[f] = keep * v_j[f] + step * s_k[f]
    return right


@numba.njit(cache=True)
def _negatives(offset: Ints, item: Ints, n_items: int, seed: np.uint64) -> Ints:
    """(n,) for each event an item drawn uniformly from those that its user did not take; -1 where there is none."""
    out, state = np.full(len(item), -1, np.int32), seed
    for u in range(len(offset) - 1):
        taken = item[offset[u] : offset[u + 1]]  # sorted, and perhaps twice
        if len(np.unique(taken)) == n_items:
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
