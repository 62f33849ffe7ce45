"""Validation asks: held out of the training events, with their answers open, to choose epochs and settings by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recarena.contract.answers import Answers
from recarena.contract.arrays import Floats, Ints
from recarena.contract.metrics import evaluate, summary
from recarena.contract.queries import Queries


@dataclass(frozen=True, eq=False)
class ValidationAsk:
    """Queries with their answers, to choose epochs and settings by.

    Attributes:
        queries: as the test's.
        answers: open to the implementation.
        metric: the benchmark's first metric, such as ``ndcg@10``.
    """

    queries: Queries
    answers: Answers
    metric: str

    def score(self, prediction: Ints | Floats, metric: str | None = None) -> float:
        """Return the mean of a metric over the queries, by the judge's own definition.

        Args:
            prediction: (q,) ratings or (q, k) item ids, as for the test.
            metric: any metric of the judge; the benchmark's first one if None.
        """
        name = metric or self.metric
        return summary(name, evaluate(self.queries, self.answers, np.asarray(prediction), name))
