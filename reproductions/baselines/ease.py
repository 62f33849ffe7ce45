"""EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.

One item-to-item matrix with a zero diagonal, fitted in closed form (equations 5 to 8 of the paper): through an
item-by-item inverse, or a user-by-user one where users are fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recarena import Floats, Ints, RankQueries, Run, Train, implementation, top_k

CHOICES = (250.0, 500.0, 1000.0)
WITHOUT_VALIDATION = 80.0
BLOCK = 512  # rows inverted at a time
CHUNK_FLOATS = 16 * 2**20  # floats of a users-by-items matrix held at once: 64 MiB


@implementation(author="recarena", deterministic=True)
@dataclass
class EASE:
    """Each item is a linear combination of the other items of the history.

    Attributes:
        l2: the paper's lambda. None: of 250, 500 and 1000 the one that does best on the benchmark's validation; 80,
            published for gowalla, where the benchmark has none.
    """

    l2: float | None = None

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        X = sparse.csr_array(
            (np.ones(len(seen), np.float32), (seen.user, seen.item)), shape=(seen.n_users, seen.n_items)
        )
        X.data[:] = 1  # taken twice is taken
        self.count = X.sum(axis=0)  # (n_items,)
        regress = _Primal if seen.n_items <= seen.n_users else _Dual
        if self.l2 is not None or not train.validation:
            self.regression = regress(X, WITHOUT_VALIDATION if self.l2 is None else self.l2)
        else:
            self.regression = self._best(train, run, regress, X)
        self.n_parameters = self.regression.n_parameters

    def _best(self, train: Train, run: Run, regress: type[_Primal | _Dual], X: sparse.csr_array) -> _Primal | _Dual:
        """Return the regression whose l2 does best on validation."""
        asks = train.validation.values()
        best: _Primal | _Dual | None = None
        highest = -np.inf
        for n, l2 in enumerate(CHOICES):
            self.regression = regress(X, l2)
            value = float(np.mean([a.score(self.rank(a.queries)) for a in asks if isinstance(a.queries, RankQueries)]))
            run.progress(n + 1, len(CHOICES))
            run.log(l2=l2, validation=value)
            if best is None or value > highest:
                best, highest = self.regression, value
        return best or self.regression

    def rank(self, queries: RankQueries) -> Ints:
        return top_k(lambda rows: self._score(queries, rows), queries)  # (q, k)

    def _score(self, queries: RankQueries, rows: slice) -> Floats:
        history = queries.history.part(rows)
        x = sparse.csr_array(
            (np.ones(len(history.values), np.float32), history.values, history.offsets),
            shape=(len(history), queries.n_items),
        )
        x.sum_duplicates()
        score = self.regression.score(x, None if queries.user is None else queries.user[rows])  # (rows, n_items)
        score[history.lengths == 0] = self.count  # who has no history gets what is popular
        return score


class _Primal:
    """min ||X - X B||^2 + lambda ||B||^2 subject to diag(B) = 0, by P = (X'X + lambda I)^-1.

    B_ij = -P_ij / P_jj, B_jj = 0; in float64: the inverse is ill-conditioned.
    """

    def __init__(self, X: sparse.csr_array, l2: float) -> None:
        G = (X.T @ X).toarray().astype(np.float64)  # (n_items, n_items)
        G[np.diag_indices_from(G)] += l2
        B = _inverted(G)
        B /= -np.diag(B).copy()
        np.fill_diagonal(B, 0.0)
        self.weight = B.astype(np.float32)  # (n_items, n_items)
        self.n_parameters = self.weight.size

    def score(self, x: sparse.csr_array, user: Ints | None) -> Floats:
        """(rows, n_items) x B."""
        out: Floats = x @ self.weight
        return out


class _Dual:
    """The same B through C = (XX' + lambda I)^-1, users by users, in float32 and in place.

    P = (I - X'C X) / lambda (Woodbury), so with g = diag(X'C X):  x B = (x X' C X - x o g) / (1 - g). For the
    row of a training user, x X' C is that row of XX' C = I - lambda C, and needs no product.
    """

    def __init__(self, X: sparse.csr_array, l2: float) -> None:
        n = X.shape[0]
        self.X, self.l2, self.step = X, np.float32(l2), max(1, CHUNK_FLOATS // max(X.shape))
        self.by_item = X.T.tocsr()  # (n_items, n_users)
        C = np.empty((n, n), np.float32)
        for start in range(0, n, self.step):
            C[start : start + self.step] = (X[start : start + self.step] @ self.by_item).toarray()
        C[np.diag_indices(n)] += self.l2
        self.C = _inverted(C)  # (n_users, n_users)
        self.n_parameters = C.size
        self.g = np.zeros(X.shape[1])  # (n_items,)
        for start in range(0, n, self.step):
            rows = slice(start, min(start + self.step, n))
            taken = X[rows].tocoo()
            self.g += np.bincount(taken.col, self._times_x(self.C[rows])[taken.row, taken.col], X.shape[1])
        self.g = self.g.astype(np.float32)

    def _times_x(self, rows: Floats) -> Floats:
        """(rows, n_items) the product of dense rows with X."""
        out: Floats = (self.by_item @ rows.T).T
        return out

    def score(self, x: sparse.csr_array, user: Ints | None) -> Floats:
        """(rows, n_items) x B."""
        trained = np.zeros(x.shape[0], bool)  # whose history is the training row
        if user is not None:
            trained = abs(x - self.X[user]).sum(axis=1) == 0
        v = np.empty((x.shape[0], len(self.C)), np.float32)  # x X' C
        if user is not None:
            v[trained] = -self.l2 * self.C[user[trained]]
            v[np.flatnonzero(trained), user[trained]] += 1
        if not trained.all():
            v[~trained] = (x[~trained] @ self.by_item).toarray() @ self.C
        out = self._times_x(v)
        out -= x.multiply(self.g).toarray()
        out /= 1 - self.g
        return out


def _inverted(A: Floats) -> Floats:
    """Return the inverse of a symmetric positive definite matrix, in its place: the sweep operator, block by block.

    Matrix products only, n^3 multiplications and as many additions, and no second matrix; numpy's inverse needs three.
    """
    blocks = [slice(start, min(start + BLOCK, len(A))) for start in range(0, len(A), BLOCK)]
    for now in blocks:  # the lower triangle holds what is to come and, swept, what is done
        column = np.concatenate([A[now, : now.start].T, A[now.start :, now]])  # (n, block)
        pivot = np.linalg.inv(A[now, now].astype(np.float64)).astype(A.dtype)
        swept = column @ pivot  # (n, block)
        for block in blocks:
            A[block.start :, block] -= swept[block.start :] @ column[block].T
        A[now, : now.start] = swept[: now.start].T
        A[now.stop :, now] = swept[now.stop :]
        A[now, now] = -pivot
    for block in blocks:  # A is now minus the inverse, below the diagonal; mirror it
        A[block.start :, block] *= -1
        lower = np.tril(A[block, block])
        A[block, block] = lower + np.tril(lower, -1).T
        A[block, block.stop :] = A[block.stop :, block].T
    return A
