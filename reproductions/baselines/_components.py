"""Principal components of histories, for the detectors that look at a history through them."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from recarena import Floats, Ragged, Skip


class Components:
    """The k largest right singular vectors of the users' histories, each row of length 1, not centred."""

    def __init__(self, histories: Ragged, n_items: int, k: int) -> None:
        X = _normalised(histories, n_items)
        k = min(k, min(X.shape) - 1)
        if k < 1:
            raise Skip("one user or one item has no principal components")
        start = np.random.default_rng(0).standard_normal(min(X.shape))  # of the iteration: the same every time
        _, _, self.vectors = svds(X, k=k, v0=start)  # (k, n_items)

    def project(self, histories: Ragged) -> tuple[Floats, Floats]:
        """Return (q, k) coordinates in the space and (q,) squared distances from it."""
        X = _normalised(histories, self.vectors.shape[1])
        z = X @ self.vectors.T
        return z, X.multiply(X).sum(axis=1) - (z**2).sum(axis=1)


def _normalised(lists: Ragged, n_items: int) -> sparse.csr_array:
    scale = 1 / np.sqrt(np.maximum(lists.lengths, 1))
    return sparse.csr_array((np.repeat(scale, lists.lengths), lists.values, lists.offsets), shape=(len(lists), n_items))
