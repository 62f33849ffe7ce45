"""What a split says: row numbers, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recarena.contract.arrays import Ints
from recarena.data.raw import Candidates


@dataclass(frozen=True, eq=False)
class Held:
    """What is asked, as row numbers into the raw rows.

    Attributes:
        target: the rows to guess; where items are ranked, one query per user that occurs in them.
        history: the rows that are known of those users when they are asked; unused where ratings are guessed.
        known_users: whether the users are among the training users.
        candidates: the only items that may be listed beside the targets, for every user asked; None for all.
    """

    target: Ints
    history: Ints
    known_users: bool = True
    candidates: Candidates | None = None


@dataclass(frozen=True, eq=False)
class RowSplit:
    """One fold: every row is in ``train``, in a ``Held`` as history or target, or in ``dropped`` with the reason.

    The catalogue is what occurs in the rows that are not dropped.
    """

    name: str
    train: Ints
    validation: Held | None
    test: Held
    dropped: Mapping[str, Ints] = field(default_factory=dict)


NOTHING: Ints = np.empty(0, dtype=np.int64)
