"""The length of a history as its suspicion: a floor for detectors, which a fair benchmark keeps at chance."""

from __future__ import annotations

from dataclasses import dataclass

from recarena import DetectQueries, Floats, Run, Train, implementation


@implementation(author="recarena", deterministic=True)
@dataclass
class HistoryLength:
    """score = the number of items."""

    def fit(self, train: Train, run: Run) -> None:
        pass

    def detect(self, queries: DetectQueries) -> Floats:
        return queries.history.lengths.astype(float)  # (q,)
