"""The most popular items for everybody: the first baseline of every paper on ranking."""

from dataclasses import dataclass

import numpy as np

from recarena import Ints, RankQueries, Run, Train, implementation, top_k


@implementation(author="recarena", deterministic=True)
@dataclass
class Popularity:
    """An item's score is the number of its training events."""

    def fit(self, train: Train, run: Run) -> None:
        self.count = np.bincount(train.interactions.item, minlength=train.interactions.n_items)  # (n_items,)

    def rank(self, queries: RankQueries) -> Ints:
        return top_k(self.count, queries)  # (q, k)
