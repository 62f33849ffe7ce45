"""What principal components leave of a history: Jackson and Mudholkar's Q, Technometrics 1979."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recarena import DetectQueries, Floats, Ragged, Run, Train, implementation

from ._components import Components


@implementation(author="recarena", departs=("what the length alone explains of Q is taken away",), deterministic=True)
@dataclass
class PCAResidual:
    """Score = squared distance of the history from the space, less what a line in log length says of it.

    Attributes:
        n_components: dimensions of the space; fewer where there are fewer users or items.
    """

    n_components: int = 32

    def fit(self, train: Train, run: Run) -> None:
        histories = train.interactions.histories()
        self.components = Components(histories, train.interactions.n_items, self.n_components)
        _, residual = self.components.project(histories)
        self.line = np.linalg.lstsq(_of_length(histories), residual, rcond=None)[0]  # (2,)

    def detect(self, queries: DetectQueries) -> Floats:
        _, residual = self.components.project(queries.history)
        score: Floats = residual - _of_length(queries.history) @ self.line  # (q,)
        return score


def _of_length(histories: Ragged) -> Floats:
    """(q, 2) of one and the log of the length."""
    return np.stack([np.ones(len(histories)), np.log(np.maximum(histories.lengths, 1))], axis=1)
