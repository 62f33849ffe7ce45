"""Inner products made in the thread that asks for them: BLAS's own threads stay asleep. numpy only.

After a product the threads of BLAS wait for the next one by spinning, on the cores that the ranking of scores wants. A
product of few numbers is not shared out among them; so a long one is made as a stack of short ones, in one call.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import local

import numpy as np

from recarena.contract.arrays import Floats

PIECE_ROWS = 48
PIECE_PRODUCTS = 2**19  # multiplications from which on OpenBLAS takes a second thread
LEAST_ITEMS = 64  # of a piece: of shorter ones, more time goes into arranging the numbers than into multiplying them


def in_pieces(x: Floats, y: Floats, most: int) -> Callable[[slice], Floats] | None:
    """Return a function from a slice of at most ``most`` rows of x to their (rows, n_items) products with y.

    Several threads may call it at once; each gets a buffer of its own, which its next call overwrites. None where the
    vectors are too long for pieces.

    Args:
        x: (q, d).
        y: (n_items, d).
        most: rows of the buffer.
    """
    n_items, d = y.shape
    width = (PIECE_PRODUCTS - 1) // (PIECE_ROWS * max(1, d)) // 16 * 16  # items of a piece: whole registers
    if width < LEAST_ITEMS:
        return None
    dtype = np.result_type(x, y)
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    n_pieces = n_items // width
    stacked = n_pieces * width
    pieces = y[:stacked].reshape(n_pieces, width, d).transpose(0, 2, 1)
    rest = y[stacked:].T
    kept = local()

    def products(rows: slice) -> Floats:
        if not hasattr(kept, "buffer"):
            kept.buffer = np.empty((most, n_items), dtype)  # used again for every chunk: fresh memory is slow to get
        out: Floats = kept.buffer[: rows.stop - rows.start]
        for low in range(0, len(out), PIECE_ROWS):
            some, part = x[rows][low : low + PIECE_ROWS], out[low : low + PIECE_ROWS]
            np.matmul(some, pieces, out=part[:, :stacked].reshape(len(part), n_pieces, width).transpose(1, 0, 2))
            np.matmul(some, rest, out=part[:, stacked:])
        return out

    return products
