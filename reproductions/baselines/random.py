"""Chance: what a contender must beat before it has learnt anything."""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, Ints, RankQueries, RateQueries, Run, Skip, Train, implementation, top_k


@implementation(author="recarena")
@dataclass
class Random:
    """Rate: a training rating drawn at random. Rank: the allowed items in random order.

    Two independent draws from the training ratings differ by sqrt(2) standard deviations on average (root mean
    square), which is the closed form that this row must show on a rating board. A draw from the ratings themselves,
    and not from a normal fitted to them (Surprise's NormalPredictor), because only the former has that closed form:
    the normal's tails must be clipped.
    """

    def fit(self, train: Train, run: Run) -> None:
        self.value = train.interactions.value  # (n,) or None
        self.seed = run.seed
        self.n_parameters = 0  # the ratings kept here are not learnt

    def rate(self, queries: RateQueries) -> Floats:
        if self.value is None:
            raise Skip("the training events carry no ratings to draw from")
        rng = np.random.default_rng(self.seed)  # anew for every ask: the order of the asks changes nothing
        return self.value[rng.integers(len(self.value), size=len(queries))]  # (q,)

    def rank(self, queries: RankQueries) -> Ints:
        rng = np.random.default_rng(self.seed)
        return top_k(lambda rows: rng.random((rows.stop - rows.start, queries.n_items), np.float32), queries)  # (q, k)
