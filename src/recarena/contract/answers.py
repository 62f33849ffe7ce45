"""Answers: what an implementation may not see."""

from __future__ import annotations

from dataclasses import dataclass

from recarena.contract.arrays import Floats, Ragged


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
