"""The mean of the training ratings for every question: its RMSE is the spread of the ratings."""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation


@implementation(author="recarena", deterministic=True)
@dataclass
class GlobalMean:
    """One number for everything."""

    def fit(self, train: Train, run: Run) -> None:
        value = train.interactions.value
        if value is None or len(value) == 0:
            raise Skip("the training events carry no ratings")
        self.mean = value.mean(dtype=np.float64)

    def rate(self, queries: RateQueries) -> Floats:
        return np.full(len(queries), self.mean)  # (q,)
