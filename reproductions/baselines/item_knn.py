"""Item-based top-N: Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004.

"Who took this also took that": every item keeps its most similar items, and an item is recommended by the sum of its
similarities to the items of the history (the paper's cosine, with rows and similarities normalised).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recarena import Floats, Ints, RankQueries, Run, Train, implementation, top_k

DECAYS = (1.0, 0.7)
CHUNK_FLOATS = 16 * 2**20  # similarities held at once: 64 MiB of float32


@implementation(
    author="recarena",
    departs=("cosine shrunk where few users took both", "the latest items may count for more"),
    deterministic=True,
)
@dataclass
class ItemKNN:
    """An item's score is its summed similarity to the items of the history.

    Attributes:
        n_neighbours: how many similar items each item keeps.
        shrinkage: a cosine over n shared users is multiplied by n / (n + shrinkage).
        decay: an item of the history that n others followed speaks with weight decay^n. None: of 1 and .7 the one that
            does better on the benchmark's validation; 1 where there is none. A history without an order picks 1.
    """

    n_neighbours: int = 20
    shrinkage: float = 5.0
    decay: float | None = None

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        shape = (seen.n_users, seen.n_items)
        taken = sparse.csr_array((np.ones(len(seen), np.float32), (seen.user, seen.item)), shape=shape)
        taken.data[:] = 1  # taken twice is taken
        self.count = taken.sum(axis=0)  # (n_items,)
        # a user's row has length 1: who took little says more about each pair
        unit = taken.copy()  # (n_users, n_items)
        unit.data /= np.repeat(np.sqrt(np.diff(taken.indptr)), np.diff(taken.indptr)).astype(np.float32)
        length = np.sqrt((unit * unit).sum(axis=0))  # (n_items,)
        by_item, unit_by_item = taken.T.tocsr(), unit.T.tocsr()  # (n_items, n_users)

        k = min(self.n_neighbours, seen.n_items - 1)
        item, neighbour, similar = [], [], []
        step = max(1, CHUNK_FLOATS // seen.n_items)
        for start in range(0, seen.n_items, step):
            rows = slice(start, min(start + step, seen.n_items))
            # cos(i, j) n_ij / (n_ij + shrinkage)
            similarity = (unit_by_item[rows] @ unit).toarray()  # (rows, n_items), as are the following
            similarity /= np.maximum(length[rows, None] * length, 1e-9)
            together = (by_item[rows] @ taken).toarray()
            similarity *= together / np.maximum(together + self.shrinkage, 1)
            np.fill_diagonal(similarity[:, start:], 0)  # an item does not recommend itself
            nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k] if k else np.empty((len(similarity), 0), int)
            kept = np.take_along_axis(similarity, nearest, axis=1)  # (rows, k)
            kept /= np.maximum(kept.sum(axis=1, keepdims=True), 1e-9)  # every item of a history has one vote to share
            item.append(np.repeat(np.arange(rows.start, rows.stop), k))
            neighbour.append(nearest.ravel())
            similar.append(kept.ravel())
            run.progress(rows.stop, seen.n_items)
        # vote[j, i] = what j in the history gives to i
        coordinates = (np.concatenate(item), np.concatenate(neighbour))
        self.vote = sparse.csr_array((np.concatenate(similar), coordinates), shape=(seen.n_items, seen.n_items))
        self.n_parameters = int(self.vote.nnz)
        self.weight = 1.0 if self.decay is None else self.decay
        if self.decay is None and train.validation:
            scores = {weight: self._validate(train, weight) for weight in DECAYS}
            self.weight = max(scores, key=lambda weight: scores[weight])
            run.log(decay=self.weight, validation=scores[self.weight])

    def _validate(self, train: Train, weight: float) -> float:
        """Return the validation score with this decay."""
        self.weight = weight
        asks = train.validation.values()
        return float(np.mean([a.score(self.rank(a.queries)) for a in asks if isinstance(a.queries, RankQueries)]))

    def rank(self, queries: RankQueries) -> Ints:
        return top_k(lambda rows: self._score(queries, rows), queries)  # (q, k)

    def _score(self, queries: RankQueries, rows: slice) -> Floats:
        history = queries.history.part(rows)
        n_after = history.offsets[1:][history.rows()] - 1 - np.arange(len(history.values))  # (events,) newer ones
        taken = sparse.csr_array(
            (np.float32(self.weight) ** n_after.astype(np.float32), history.values, history.offsets),
            shape=(len(history), queries.n_items),
        )
        score: Floats = (taken @ self.vote).toarray()  # (rows, n_items)
        score[history.lengths == 0] = self.count  # who has no history gets what is popular
        return score
