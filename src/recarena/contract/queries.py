"""What happened, and what is asked: interactions and queries. Arrays only, frozen, shapes in the comments.

Ids are 0-based and come from a seeded shuffle of the catalogue: a number carries nothing (law 1), neither
popularity, nor age, nor the order of the raw file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recarena.contract.arrays import Floats, Ints, Ragged


@dataclass(frozen=True, eq=False)
class Interactions:
    """What happened, one row per (user, item) event, sorted by user and, within a user, oldest first.

    Where the benchmark gives no order (rating boards, held-out users), a user's rows are sorted by item id.

    Attributes:
        user: (n,) int32 in [0, n_users).
        item: (n,) int32 in [0, n_items).
        value: (n,) float32 ratings, or None on implicit boards.
        time: (n,) int64 seconds since 1970 (UTC), or None.
        n_users: users a model can learn something about; held-out users are not among them.
        n_items: the whole catalogue, items without a training row included.
    """

    user: Ints
    item: Ints
    value: Floats | None
    time: Ints | None
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.user)

    def histories(self) -> Ragged:
        """Return the items of every user as (n_users) rows, oldest first, without a copy."""
        counts = np.bincount(self.user, minlength=self.n_users)
        return Ragged.from_lengths(counts, self.item)


@dataclass(frozen=True, eq=False)
class RateQueries:
    """Guess a rating for each (user, item) pair; the prediction is (q,) floats.

    Attributes:
        user: (q,) int32.
        item: (q,) int32.
        time: (q,) int64 seconds since 1970 (UTC), or None.
    """

    user: Ints
    item: Ints
    time: Ints | None = None

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class RankQueries:
    """List ``k`` items for each query, best first; the prediction is (q, k) item ids.

    A row may end in -1 where fewer than k items are left to choose from.

    Attributes:
        user: (q,) int32, or None where users were never seen in training (answer from ``history``).
        history: what is known of each query's user, oldest first (sorted by id where there is no order); q rows.
        exclude: items that must not be listed, q rows; the very object ``history`` where they are the same; None
            where everything may be listed.
        candidates: only these may be listed, q rows, each sorted and without repeats. None: the whole catalogue.
        k: how many items to list.
        n_items: size of the catalogue.
    """

    user: Ints | None
    history: Ragged
    exclude: Ragged | None
    candidates: Ragged | None
    k: int
    n_items: int

    def __post_init__(self) -> None:
        if self.candidates is not None:
            rises = np.diff(self.candidates.values) > 0
            starts = self.candidates.offsets[1:-1]
            rises[starts[(starts > 0) & (starts < len(self.candidates.values))] - 1] = True  # from one row to the next
            if not rises.all():
                raise ValueError("candidates must be sorted, without repeats: the place of a target would tell it")

    def __len__(self) -> int:
        return len(self.history)


@dataclass(frozen=True, eq=False)
class DetectQueries:
    """Say how unlikely each history is; the prediction is (q,) floats, the higher the more suspicious.

    Attributes:
        history: each query's items, sorted by id; q rows.
        n_items: size of the catalogue.
    """

    history: Ragged
    n_items: int

    def __len__(self) -> int:
        return len(self.history)


Queries = RateQueries | RankQueries | DetectQueries
