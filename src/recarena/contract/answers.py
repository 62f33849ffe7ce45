"""Answers: what an implementation may not see."""

from __future__ import annotations

from dataclasses import dataclass

from recarena.contract.arrays import Floats, Ints, Ragged


@dataclass(frozen=True, eq=False)
class RateAnswers:
    """The held-out ratings: value (q,) float32."""

    value: Floats

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, eq=False)
class RankAnswers:
    """The held-out items of every query.

    Attributes:
        relevant: q rows, none of them empty.
        popularity: (n_items,) in how many training rows each item occurs, for the metrics that look at what is listed
            rather than at what is hit; None where nobody asks for them.
    """

    relevant: Ragged
    popularity: Ints | None = None

    def __len__(self) -> int:
        return len(self.relevant)


Answers = RateAnswers | RankAnswers
