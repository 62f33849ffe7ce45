"""Mahalanobis distance in a space of principal components: the usual measure of how far out a row lies."""

from __future__ import annotations

from dataclasses import dataclass

from recarena import DetectQueries, Floats, Run, Train, implementation

from ._components import Components


@implementation(author="recarena", deterministic=True)
@dataclass
class Mahalanobis:
    """Score = the squared distance from the mean, each component divided by its deviation (Hotelling's T^2).

    Attributes:
        n_components: dimensions of the space; fewer where there are fewer users or items.
    """

    n_components: int = 32

    def fit(self, train: Train, run: Run) -> None:
        histories = train.interactions.histories()
        self.components = Components(histories, train.interactions.n_items, self.n_components)
        z, _ = self.components.project(histories)
        self.mean, self.deviation = z.mean(axis=0), z.std(axis=0) + 1e-12  # (k,)

    def detect(self, queries: DetectQueries) -> Floats:
        z, _ = self.components.project(queries.history)
        distance: Floats = (((z - self.mean) / self.deviation) ** 2).sum(axis=1)  # (q,)
        return distance
