"""Item neighbours around the biases: Koren, "Factorization Meets the Neighborhood", KDD 2008, section 2.2.

What the user's ratings of similar items say beyond the biases. Surprise calls it KNNBaseline with
``pearson_baseline`` similarity, MyMediaLite ItemKNNPearson.
"""

from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

from recarena import Floats, Ints, RateQueries, Run, Skip, Train, implementation


@implementation(author="recarena", departs=("negative correlations are dropped",), deterministic=True)
@dataclass
class KNNBaseline:
    """r_ui ~ b_ui + weighted mean of the residuals of the most similar items that the user rated.

    Attributes:
        n_neighbours: of the user's rated items, how many of the most similar speak.
        shrinkage: a correlation over n shared users is multiplied by n / (n + shrinkage).
        n_sweeps: alternations of the biases.
        item_shrinkage: as in bias.py.
        user_shrinkage: as in bias.py.
    """

    n_neighbours: int = 40
    shrinkage: float = 500.0
    n_sweeps: int = 10
    item_shrinkage: float = 2.0
    user_shrinkage: float = 5.0

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        user, item, rating = seen.user, seen.item, seen.value.astype(np.float64)  # (n,) each
        self.low, self.high = rating.min(), rating.max()

        # b_ui = mu + b_u + b_i, as in bias.py
        self.mean = rating.mean()
        n_of_user, n_of_item = np.bincount(user, minlength=seen.n_users), np.bincount(item, minlength=seen.n_items)
        self.user_bias = np.zeros(seen.n_users)
        for _ in range(self.n_sweeps):
            residual = rating - self.mean - self.user_bias[user]
            self.item_bias = np.bincount(item, residual, seen.n_items) / np.maximum(self.item_shrinkage + n_of_item, 1)
            residual = rating - self.mean - self.item_bias[item]
            self.user_bias = np.bincount(user, residual, seen.n_users) / np.maximum(self.user_shrinkage + n_of_user, 1)
        residual = rating - self.mean - self.item_bias[item] - self.user_bias[user]
        self.item, self.residual = item, residual.astype(np.float32)  # (n,) sorted by user
        self.offset = seen.histories().offsets  # (n_users + 1,)

        # rho_ij = sum_u z_ui z_uj / sqrt(sum_u z_ui^2  sum_u z_uj^2), z = r - b, over the users who rated both
        # s_ij = n_ij / (n_ij + shrinkage) rho_ij
        shape = (seen.n_users, seen.n_items)
        rated = sparse.csr_array((np.ones(len(seen), np.float32), (user, item)), shape=shape)
        z = sparse.csr_array((self.residual, (user, item)), shape=shape)
        square = sparse.csr_array((self.residual**2, (user, item)), shape=shape)
        n = (rated.T @ rated).toarray()  # (n_items, n_items), as are the following
        power = (square.T @ rated).toarray()  # [i, j]: sum of z_ui^2 over the users who also rated j
        self.similarity = (z.T @ z).toarray()
        self.similarity /= np.sqrt(np.maximum(power * power.T, 1e-12))
        self.similarity *= n / np.maximum(n + self.shrinkage, 1)

    def rate(self, queries: RateQueries) -> Floats:
        base = self.mean + self.user_bias[queries.user] + self.item_bias[queries.item]  # (q,)
        around = _around(
            queries.user, queries.item, self.offset, self.item, self.residual, self.similarity, self.n_neighbours
        )  # (q,)
        clipped: Floats = np.clip(base + around, self.low, self.high)
        return clipped


@numba.njit(cache=True)
def _around(user: Ints, item: Ints, offset: Ints, rated: Ints, residual: Floats, similarity: Floats, k: int) -> Floats:
    """(q,) what the k most similar items that the user rated add to the biases: sum s z / sum s."""
    out = np.zeros(len(user), np.float64)
    for q in range(len(user)):
        start, stop = offset[user[q]], offset[user[q] + 1]
        s = similarity[item[q]][rated[start:stop]]
        best = np.argsort(-s, kind="mergesort")[:k]  # a stable sort: ties by item id
        above, below = 0.0, 0.0
        for b in best:
            if s[b] <= 0:
                break
            above += s[b] * residual[start + b]
            below += s[b]
        if below > 0:
            out[q] = above / below
    return out
