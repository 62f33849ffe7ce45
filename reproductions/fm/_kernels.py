"""The inner loops of the Gibbs sampler: numba, float32, one factor f at a time. ``_gibbs.py`` says what they are for.

A block row r with A = Q_f[r] is used by N training rows n, where the other blocks add up to O_n. What its columns need
to know of those rows fits in five numbers: N, S1 = sum O_n, S2 = sum O_n^2, E = sum e_n, ES = sum e_n O_n.
"""

import numba
import numpy as np

from recarena import Floats, Ints

# sums may be reordered, but NaN and infinity must stay what they are: such draws are refused
FAST = {"reassoc", "contract", "arcp", "nsz"}
A, N, S1, S2, E, ES, W = range(7)  # of a block row, side by side; W: by how much -1/2 sum x^2 v^2 has grown
WIDTH = np.uint32(8)  # so that a block row is half a cache line
# of a row of the block drawn last: its Q_f before, and by how much Q_f and 1/2 (Q_f^2 - sum x^2 v^2) have grown
OLD_Q, MORE_Q, MORE_W = range(3)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def draw_one(
    theta: np.float32, hh: np.float32, he: np.float32, alpha: float, lam: float, mu: float, z: np.float32
) -> np.float32:
    """Draw a parameter from its conditional, given h, the derivative of the predictions by it; z = 0 gives the mean.

    p(theta | rest) = N(mean, var) with var = 1 / (lambda + alpha sum h^2)
    and mean = var (alpha (theta sum h^2 + sum h e) + mu lambda). A draw that is not finite is refused.
    """
    precision = lam + alpha * hh
    if not precision > 0:
        return theta
    new = np.float32((alpha * (theta * hh + he) + mu * lam) / precision + z / np.sqrt(precision))
    return new if np.isfinite(new) else theta


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def add_by_group(theta: Floats, group: Ints, mu: Floats, sums: Floats) -> None:
    """Add theta and (theta - mu)^2 of every column to the (groups, 2) sums of its group."""
    for j in range(len(theta)):
        value = np.float64(theta[j])
        deviation = value - mu[group[j]]
        sums[group[j], 0] += value
        sums[group[j], 1] += deviation * deviation


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def gather_w(e: Floats, last_row: Ints, last_change: Floats, row: Ints, stats: Floats) -> None:
    """Bring e up to date with a block's new w, and sum it up by the rows of the next block."""
    for r in range(len(stats)):
        stats[r, E] = 0
    flat = stats.reshape(-1)
    for n in range(len(e)):
        e_n = e[n] - last_change[last_row[n]]
        e[n] = e_n
        flat[np.uint32(row[n]) * WIDTH + E] += e_n


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def draw_w(
    start: Ints,
    row: Ints,
    x: Floats,
    stats: Floats,
    change: Floats,
    group: Ints,
    w: Floats,
    alpha: float,
    lam: Floats,
    mu: Floats,
    z: Floats,
) -> None:
    """Draw a block's w, column by column; ``change`` becomes what that adds to every block row's sum x w."""
    change[:] = 0
    flat = stats.reshape(-1)
    for j in range(len(w)):
        rows, xs = row[start[j] : start[j + 1]], x[start[j] : start[j + 1]]
        hh, he = np.float32(0), np.float32(0)
        for t in range(len(rows)):
            at = np.uint32(rows[t]) * WIDTH
            hh += xs[t] * xs[t] * flat[at + N]
            he += xs[t] * flat[at + E]
        new = draw_one(w[j], hh, he, alpha, lam[group[j]], mu[group[j]], z[j])
        step = new - w[j]
        w[j] = new
        for t in range(len(rows)):
            at = np.uint32(rows[t]) * WIDTH
            flat[at + E] -= step * xs[t] * flat[at + N]
            change[rows[t]] += step * xs[t]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def gather_v(
    e: Floats,
    total: Floats,
    last_row: Ints,
    last: Floats,
    rows: tuple[Ints, ...],
    q: tuple[Floats, ...],
    fresh: bool,
    row: Ints,
    q_row: Floats,
    stats: Floats,
) -> None:
    """Bring e up to date with a block's new factor, and sum up for the rows of the next block.

    Args:
        e: (n,) target - prediction.
        total: (n,) sum of all blocks' Q_f of the row.
        last_row: (n,) the row of the block drawn last.
        last: (n_last, 3) its OLD_Q, MORE_Q and MORE_W.
        rows: every block's row of n.
        q: every block's Q_f.
        fresh: whether this is another factor than the last one, so that the total must be made anew.
        row: (n,) the row of the block to draw next.
        q_row: its Q_f.
        stats: (n_next, WIDTH) to be written.
    """
    for r in range(len(stats)):
        stats[r, A] = q_row[r]
        stats[r, S1] = stats[r, S2] = stats[r, E] = stats[r, ES] = stats[r, W] = 0
    flat = stats.reshape(-1)
    for n in range(len(e)):
        r_last = np.uint32(last_row[n])
        more_q = last[r_last, MORE_Q]
        e_n = e[n] - (last[r_last, MORE_W] + more_q * (total[n] - last[r_last, OLD_Q]))
        e[n] = e_n
        if fresh:
            t_n = np.float32(0)
            for b in range(len(rows)):
                t_n += q[b][rows[b][n]]
        else:
            t_n = total[n] + more_q
        total[n] = t_n
        at = np.uint32(row[n]) * WIDTH
        o = t_n - q_row[np.uint32(row[n])]
        flat[at + S1] += o
        flat[at + S2] += o * o
        flat[at + E] += e_n
        flat[at + ES] += e_n * o


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def draw_v(
    start: Ints,
    row: Ints,
    x: Floats,
    stats: Floats,
    group: Ints,
    v: Floats,
    alpha: float,
    lam: Floats,
    mu: Floats,
    z: Floats,
) -> None:
    """Draw a block's factor f, column by column, on the statistics alone: at the cost of the block, not of the rows.

    Column j moves the prediction of row n by h_n = x (g + O_n), g = A - x v_j being what the rest of the block row
    adds up to. When v_j has moved, the sums of e_n move along, and the next column finds them as a pass over the
    training rows would have made them.
    """
    flat = stats.reshape(-1)
    for j in range(len(v)):
        rows, xs, v_j = row[start[j] : start[j + 1]], x[start[j] : start[j + 1]], v[j]
        hh, he = np.float32(0), np.float32(0)
        for t in range(len(rows)):
            at = np.uint32(rows[t]) * WIDTH
            g = flat[at + A] - xs[t] * v_j
            hh += xs[t] * xs[t] * (g * (g * flat[at + N] + 2 * flat[at + S1]) + flat[at + S2])
            he += xs[t] * (g * flat[at + E] + flat[at + ES])
        new = draw_one(v_j, hh, he, alpha, lam[group[j]], mu[group[j]], z[j])
        step, half = new - v_j, np.float32(0.5) * (new * new - v_j * v_j)
        v[j] = new
        for t in range(len(rows)):
            at = np.uint32(rows[t]) * WIDTH
            g, move = flat[at + A] - xs[t] * v_j, step * xs[t]
            flat[at + E] -= move * (g * flat[at + N] + flat[at + S1])
            flat[at + ES] -= move * (g * flat[at + S1] + flat[at + S2])
            flat[at + A] += move
            flat[at + W] -= half * xs[t] * xs[t]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def changes(stats: Floats, q: Floats) -> Floats:
    """Return (n_b, 3) how a block's rows have changed by the draw of factor f; q, their Q_f, is brought up to date."""
    out = np.empty((len(q), 3), np.float32)
    for r in range(len(q)):
        old, new = q[r], stats[r, A]
        out[r, OLD_Q], out[r, MORE_Q] = old, new - old
        out[r, MORE_W] = stats[r, W] + np.float32(0.5) * (new - old) * (new + old)
        q[r] = new
    return out


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def settle(e: Floats, total: Floats, last_row: Ints, last: Floats) -> None:
    """Bring e up to date with the block and factor drawn last."""
    for n in range(len(e)):
        r = np.uint32(last_row[n])
        e[n] -= last[r, MORE_W] + last[r, MORE_Q] * (total[n] - last[r, OLD_Q])


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def row_vectors(start: Ints, column: Ints, x: Floats, v: Floats) -> Floats:
    """Return Q (n_b, d), every block row's sum of x v; v is (columns, d)."""
    q = np.zeros((len(start) - 1, v.shape[1]), np.float32)
    for r in range(len(q)):
        for t in range(start[r], start[r + 1]):
            v_j, x_t = v[column[t]], x[t]
            for f in range(len(v_j)):
                q[r, f] += x_t * v_j[f]
    return q


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def row_scores(start: Ints, column: Ints, x: Floats, w: Floats, v2: Floats, q: Floats) -> Floats:
    """Return c (n_b,), what a block row adds by itself: sum x w + 1/2 (|Q|^2 - sum x^2 |v|^2); v2 is |v|^2."""
    c = np.empty(len(q), np.float32)
    half = np.float32(0.5)
    for r in range(len(q)):
        c_r = np.float32(0)
        for f in range(q.shape[1]):
            c_r += half * q[r, f] * q[r, f]
        for t in range(start[r], start[r + 1]):
            j = column[t]
            c_r += x[t] * (w[j] - half * x[t] * v2[j])
        c[r] = c_r
    return c


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def scores(w0: float, c: tuple[Floats, ...], q: tuple[Floats, ...], rows: tuple[Ints, ...], out: Floats) -> None:
    """Write the prediction of every row: w0 + sum_b c_b + sum_{b<b'} <Q_b, Q_b'>."""
    d = q[0].shape[1]
    for n in range(len(out)):
        y = np.float32(w0)
        for b in range(len(c)):
            y += c[b][rows[b][n]]
            one = q[b][rows[b][n]]
            for b2 in range(b + 1, len(c)):
                two = q[b2][rows[b2][n]]
                for f in range(d):
                    y += one[f] * two[f]
        out[n] = y
