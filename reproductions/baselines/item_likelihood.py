"""How unlikely a history is if items were drawn one by one by their popularity: no model of what goes with what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recarena import DetectQueries, Floats, Run, Train, implementation


@implementation(author="recarena", deterministic=True)
@dataclass
class ItemLikelihood:
    """Score = -mean of log p_i over the history; p_i is the share of the training events that are of i, plus 1."""

    def fit(self, train: Train, run: Run) -> None:
        count = np.bincount(train.interactions.item, minlength=train.interactions.n_items) + 1
        self.log_p = np.log(count / count.sum())  # (n_items,)

    def detect(self, queries: DetectQueries) -> Floats:
        history = queries.history
        total = np.bincount(history.rows(), self.log_p[history.values], len(history))  # (q,)
        return -total / np.maximum(history.lengths, 1)
