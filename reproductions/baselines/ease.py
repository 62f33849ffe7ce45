"""EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.

One item-to-item matrix with a zero diagonal, fitted in closed form (equations 5 to 8 of the paper).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recarena import Floats, Ints, RankQueries, Run, Train, implementation, top_k


@implementation(author="recarena", deterministic=True)
@dataclass
class EASE:
    """Each item is a linear combination of the other items of the history.

    Attributes:
        l2: the paper's lambda, 500 on ML-20M.
    """

    l2: float = 500.0

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        X = sparse.csr_array((np.ones(len(seen)), (seen.user, seen.item)), shape=(seen.n_users, seen.n_items))
        X.data[:] = 1  # taken twice is taken
        self.count = X.sum(axis=0)  # (n_items,)

        # min ||X - X B||^2 + lambda ||B||^2  subject to diag(B) = 0
        # P = (X'X + lambda I)^-1,  B_ij = -P_ij / P_jj,  B_jj = 0; in float64: the inverse is ill-conditioned
        G = (X.T @ X).toarray()  # (n_items, n_items)
        G[np.diag_indices_from(G)] += self.l2
        B = np.linalg.inv(G)
        B /= -np.diag(B).copy()
        np.fill_diagonal(B, 0.0)
        self.weight = B.astype(np.float32)  # (n_items, n_items)

    def rank(self, queries: RankQueries) -> Ints:
        return top_k(lambda rows: self._score(queries, rows), queries)  # (q, k)

    def _score(self, queries: RankQueries, rows: slice) -> Floats:
        history = queries.history.part(rows)
        x = sparse.csr_array(
            (np.ones(len(history.values), np.float32), history.values, history.offsets),
            shape=(len(history), queries.n_items),
        )
        score: Floats = x @ self.weight  # (rows, n_items)
        score[history.lengths == 0] = self.count  # who has no history gets what is popular
        return score
