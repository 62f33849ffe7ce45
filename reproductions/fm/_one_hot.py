"""The sampler's inner loops where a row is one user and one item and nothing else: one pass over the rows a factor.

With h_n = O_n, the other side's parameter, S2 = sum O_n^2 and ES = sum e_n O_n are all that a draw needs. The rows are
sorted by user, so a user's part of e is in the nearest cache while it is brought up to date with the items drawn
before, summed up, brought up to date with the user drawn now, and scattered to the items' sums.

Users are cut into parts, each with item sums of its own, added up in a fixed order: threads change no bit.
"""

import numba
import numpy as np

from recarena import Floats, Ints

from ._kernels import FAST, draw_one

MOST_PARTS, LEAST_ROWS = 16, 100_000  # of a part
STEP, OTHER = 0, 1  # of an item, side by side in ``pair``: by how much its last parameter moved; its next parameter
SQUARES, PRODUCTS = 0, 1  # of an item, side by side in ``sums``: S2 and ES


def parts(offset: Ints, n_items: int) -> Ints:
    """Return where each part of the users starts, (parts + 1,), by the data alone: many rows for each item sum.

    Args:
        offset: (n_users + 1,) where each user's rows start.
        n_items: size of the catalogue.
    """
    n_rows = int(offset[-1])
    count = 1
    while count < MOST_PARTS and n_rows > 2 * count * max(16 * n_items, LEAST_ROWS):
        count *= 2
    bounds: Ints = np.searchsorted(offset[1:], np.arange(count + 1) * n_rows / count)
    bounds[-1] = len(offset) - 1
    return bounds


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def draw_users(
    offset: Ints,
    bounds: Ints,
    first: int,
    stop: int,
    item: Ints,
    e: Floats,
    shift: np.float32,
    pair: Floats,
    before: Floats,
    linear: bool,
    v: Floats,
    alpha: float,
    lam: float,
    mu: float,
    z: Floats,
    sums: Floats,
) -> None:
    """Draw the w, or factor f, of all users of some parts, and sum up for the items.

    Args:
        offset: (n_users + 1,) where each user's rows start.
        bounds: (parts + 1,) where each part of the users starts.
        first: the first part to do.
        stop: the part after the last.
        item: (n,) of every row.
        e: (n,) target - prediction, before the last change of the items.
        shift: to subtract from all of e, too.
        pair: (2 n_items,) STEP and OTHER of every item; OTHER is 1 for w.
        before: (n_users,) the O that the items' last step is to be multiplied by: the factor before, or 1 for w.
        linear: whether w is to be drawn.
        v: (n_users,) the parameters to draw.
        alpha: the noise precision.
        lam: precision of the prior.
        mu: mean of the prior.
        z: (n_users,) standard normal.
        sums: (parts, 2 n_items) to be written: SQUARES and PRODUCTS of every item.
    """
    for part in range(first, stop):
        out = sums[part]
        out[:] = 0
        for u in range(bounds[part], bounds[part + 1]):
            items, e_u = item[offset[u] : offset[u + 1]], e[offset[u] : offset[u + 1]]
            last, squares, products = before[u], np.float32(0), np.float32(0)
            for n in range(len(items)):
                at = np.uint32(items[n]) * np.uint32(2)
                other = pair[at + OTHER]
                e_n = e_u[n] - shift - pair[at + STEP] * last
                e_u[n] = e_n
                squares += other * other
                products += e_n * other
            new = draw_one(v[u], squares, products, alpha, lam, mu, z[u])
            step = new - v[u]
            v[u] = new
            o = np.float32(1) if linear else new
            o2 = o * o
            for n in range(len(items)):
                at = np.uint32(items[n]) * np.uint32(2)
                e_n = e_u[n] - step * pair[at + OTHER]
                e_u[n] = e_n
                out[at + SQUARES] += o2
                out[at + PRODUCTS] += e_n * o


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def draw_items(sums: Floats, v: Floats, alpha: float, lam: float, mu: float, z: Floats, pair: Floats) -> None:
    """Draw all items' w, or all items' factor f; STEP of ``pair`` becomes by how much they moved."""
    for i in range(len(v)):
        squares, products = np.float32(0), np.float32(0)
        for part in range(len(sums)):
            squares += sums[part, 2 * i + SQUARES]
            products += sums[part, 2 * i + PRODUCTS]
        new = draw_one(v[i], squares, products, alpha, lam, mu, z[i])
        pair[2 * i + STEP] = new - v[i]
        v[i] = new


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def settle(
    offset: Ints, bounds: Ints, first: int, stop: int, item: Ints, e: Floats, pair: Floats, before: Floats
) -> None:
    """Bring e up to date with the items drawn last, in the rows of the parts ``first`` to ``stop``."""
    for part in range(first, stop):
        for u in range(bounds[part], bounds[part + 1]):
            last = before[u]
            for n in range(offset[u], offset[u + 1]):
                e[n] -= pair[np.uint32(item[n]) * np.uint32(2) + STEP] * last
