"""Questions: all that an implementation may see.

What is held out is in ``answers.py`` and never crosses the wall, except for validation, which is part of the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recarena.contract.features import Features
from recarena.contract.queries import Interactions, Queries
from recarena.contract.validation import ValidationAsk


@dataclass(frozen=True, eq=False)
class Train:
    """What a model learns from.

    Attributes:
        interactions: the training events.
        validation: asks held out of the training events, by the name of the ask they stand for, each with a
            ``score(prediction)``; empty where the protocol has none.
        users: facts about the n_users training users, or None where the benchmark gives none.
        items: facts about the n_items items of the catalogue, or None.
    """

    interactions: Interactions
    validation: Mapping[str, ValidationAsk] = field(default_factory=dict)
    users: Features | None = None
    items: Features | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """One fit answers every ask.

    Attributes:
        train: what to learn from.
        asks: name of the ask -> its queries.
    """

    train: Train
    asks: Mapping[str, Queries]
