"""Answers: what an implementation may not see, and the validation asks, which it may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recarena.contract.arrays import Floats, Ints, Ragged
from recarena.contract.metrics import evaluate, summary
from recarena.contract.questions import Queries


@dataclass(frozen=True, eq=False)
class RateAnswers:
    """The held-out ratings: value (q,) float32."""

    value: Floats

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, eq=False)
class RankAnswers:
    """The held-out items of every query, q rows, none of them empty."""

    relevant: Ragged

    def __len__(self) -> int:
        return len(self.relevant)


Answers = RateAnswers | RankAnswers


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
