"""One moment for everybody."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Bools, Ints
from recarena.contract.errors import DataError
from recarena.data.grouping import groups
from recarena.data.raw import Raw
from recarena.data.splits.rows import Held, RowSplit


def global_time(raw: Raw, *, train_fraction: float, validation_fraction: float = 0.0) -> list[RowSplit]:
    """Cut all rows at one moment, or at two: what came before is for training, what came after is asked.

    A moment is the time of the row that stands at ``floor(fraction * n)`` in the order of time, and rows of that very
    time are after it: rows with equal times are never parted, and training holds at most its fraction. The catalogue is
    the users and items of the training rows: rows after the first moment with other users or items are dropped, since
    an item that is known to come but has no past gives itself away. The history at the test is everything before the
    test's moment, the validation rows included.

    Args:
        raw: the rows.
        train_fraction: in (0, 1).
        validation_fraction: in [0, 1); 0 for no validation.

    Raises:
        DataError: the source gives no real times, or a part would be empty.
    """
    if raw.time is None:
        raise DataError(
            "split global_time: these rows have no times, or not all of them: a place in each user's own order does "
            "not say who came first; use a source that gives times"
        )
    after = np.zeros(len(raw), dtype=np.int8)  # how many moments lie at or before the row
    fractions = [train_fraction]
    if validation_fraction > 0:
        fractions.append(train_fraction + validation_fraction)
    places = [int(round(fraction, 9) * len(raw)) for fraction in fractions]  # 0.7 + 0.1 is less than 0.8
    for moment in np.partition(raw.time, places)[places]:
        after += raw.time >= moment
    train = np.flatnonzero(after == 0)
    if len(train) == 0:
        raise DataError(
            f"split global_time: none of the {len(raw):,} rows is earlier than the moment at {train_fraction:g} of "
            "them; raise train_fraction in the benchmark's recipe"
        )
    known_user, known_item = _seen(raw.user, train), _seen(raw.item, train)
    kept = known_user & known_item
    late = after > 0
    dropped = {
        "later rows of users without a training row": np.flatnonzero(late & ~known_user),
        "later rows with items no training row has": np.flatnonzero(late & known_user & ~known_item),
    }
    parts = [np.flatnonzero(kept & (after == moment)) for moment in range(1, len(fractions) + 1)]
    for name, rows in zip(("validation", "test")[-len(parts) :], parts, strict=True):
        if len(rows) == 0:
            raise DataError(
                f"split global_time: no {name} row has a user and an item of the training rows; "
                "change the fractions in the benchmark's recipe, or use a larger dataset"
            )
    validation = Held(parts[0], train) if len(parts) == 2 else None
    before_test = np.flatnonzero(kept & (after < len(fractions)))
    return [RowSplit("", train, validation, Held(parts[-1], before_test), dropped)]


def _seen(ids: Ints, rows: Ints) -> Bools:
    """Mark the rows, (n,), whose id occurs in some rows."""
    group = groups(ids)
    seen = np.zeros(int(group.max()) + 1, dtype=bool)
    seen[group[rows]] = True
    return seen[group]
