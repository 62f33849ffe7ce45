"""Which items of a list are in another: the one look-up behind the metrics and the checks on predictions."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Bools, Ints, Ragged

TABLE_ITEMS = 2**20  # marks held at once: 1 MiB, what a core's own cache holds


def listed_in(lists: Ragged, ids: Ints, n_items: int) -> Bools:
    """Say of every id whether its row of ``lists`` holds it.

    Marks the lists' items in a small table, a block of rows at a time: no sorting, and memory that does not grow with
    the number of queries.

    Args:
        lists: q rows of item ids in [0, n_items).
        ids: (q, width) item ids in [-1, n_items); -1 is in no list.
        n_items: size of the catalogue.

    Returns:
        (q, width) bool.
    """
    found = np.zeros(ids.shape, dtype=np.bool_)
    width = n_items + 1  # a row of the table starts with a place for the pad, which is never marked
    step = max(1, min(TABLE_ITEMS // width, len(ids)))
    table = np.zeros(step * width, dtype=np.bool_)
    first = np.arange(step, dtype=np.int64) * width + 1
    place = np.empty((step, ids.shape[1]), dtype=np.int64)
    for start in range(0, len(ids), step):
        stop = min(start + step, len(ids))
        n_rows = stop - start
        part = lists.part(slice(start, stop))
        marks = np.repeat(first[:n_rows], part.lengths)
        marks += part.values
        table[marks] = True
        np.add(ids[start:stop], first[:n_rows, None], out=place[:n_rows])
        np.take(table, place[:n_rows], out=found[start:stop], mode="clip")  # "raise" would copy the result once more
        table[marks] = False
    return found
