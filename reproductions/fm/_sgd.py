"""What the gradient learners share: the features of all blocks in one table, one pass of SGD, and the prediction.

Rendle, "Factorization Machines", ICDM 2010. A row's x is the union of the block rows that it points to, so

    y(x) = w0 + sum_j w_j x_j + 1/2 (|S|^2 - sum_j x_j^2 |v_j|^2),   S = sum_j x_j v_j           (1), lemma 3.1
    dy/dw0 = 1,   dy/dw_j = x_j,   dy/dv_j = x_j (S - x_j v_j)                                    section III-C

and what the features of a block row r say by themselves can be summed up once they are learnt:

    Q_r = sum_j x_j v_j,   c_r = sum_j x_j w_j + 1/2 (|Q_r|^2 - sum_j x_j^2 |v_j|^2)
    y(x) = w0 + sum_b c_{r_b} + sum_{b < b'} Q_{r_b} . Q_{r_b'}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from recarena import Floats, Interactions, Ints, RateQueries

from ._features import Design


@dataclass(frozen=True, eq=False)
class Table:
    """The features of all blocks: block rows below each other, columns side by side.

    Attributes:
        design: the blocks.
        first_row: (blocks + 1,) where the rows of each block start.
        families: names of the families, in the order of their columns.
        family: (n_columns,) int32 the family of every column.
        start: (n_rows + 1,) int64 where every block row starts in ``column`` and ``x``.
        column: (nonzeros,) int32.
        x: (nonzeros,) float32.
    """

    design: Design
    first_row: Ints
    families: tuple[str, ...]
    family: Ints
    start: Ints
    column: Ints
    x: Floats

    @property
    def n_columns(self) -> int:
        """How many features there are."""
        return len(self.family)

    def rows(self, events: Interactions | RateQueries) -> Ints:
        """Return (n, blocks) int32, the block rows of every event."""
        of_blocks = zip(self.design.rows(events), self.first_row[:-1], strict=True)
        return np.stack([row + np.int32(first) for row, first in of_blocks], axis=1).astype(np.int32, copy=False)

    def counts(self, rows: Ints) -> Ints:
        """Return (n_columns,) int64, how many of the events have each feature."""
        of_row = np.bincount(rows.ravel(), minlength=len(self.start) - 1)
        each = np.repeat(of_row, np.diff(self.start))
        return np.bincount(self.column, weights=each, minlength=self.n_columns).astype(np.int64)

    def per_column(self, name: str, setting: Sequence[float], families: Sequence[str]) -> Floats:
        """Return (n_columns,) float32: a setting that has one number for all families, or one for each of them.

        Raises:
            ValueError: neither one number nor as many as there are families.
        """
        if len(setting) not in {1, len(families)}:
            raise ValueError(
                f"fm: {name} has {len(setting)} numbers, expected one for all features or one for each of the "
                f"{len(families)} families {', '.join(families)}"
            )
        of_family = dict(zip(families, setting if len(setting) > 1 else list(setting) * len(families), strict=True))
        return np.array([of_family[family] for family in self.families], np.float32)[self.family]


def table(design: Design) -> Table:
    """Put the blocks of a design together."""
    blocks = design.blocks
    rows = np.cumsum([0, *(block.n_rows for block in blocks)])
    columns = np.cumsum([0, *(block.n_columns for block in blocks)])
    families = np.cumsum([0, *(len(block.families) for block in blocks)])
    nonzeros = np.cumsum([0, *(len(block.x) for block in blocks)])
    return Table(
        design,
        rows,
        tuple(family for block in blocks for family in block.families),
        np.concatenate([b.family_of + n for b, n in zip(blocks, families[:-1], strict=True)]).astype(np.int32),
        np.concatenate([[0], *(b.start[1:] + n for b, n in zip(blocks, nonzeros[:-1], strict=True))]),
        np.concatenate([b.column + n for b, n in zip(blocks, columns[:-1], strict=True)]).astype(np.int32),
        np.concatenate([block.x for block in blocks]),
    )


@numba.njit(cache=True)
def shuffled(n_of_user: Ints, seed: np.uint64) -> Ints:
    """Return (n,) int32 the rows of a training set by user, users in random order, the rows of each in random order.

    A complete shuffle costs a cache miss for every row, as much time as the arithmetic.
    """
    n_users, state = len(n_of_user), seed
    first = np.zeros(n_users + 1, np.int64)
    for u in range(n_users):
        first[u + 1] = first[u] + n_of_user[u]
    user = np.arange(n_users)
    state = _shuffle(user, 0, n_users, state)
    out, end = np.empty(first[-1], np.int32), 0
    for who in user:
        begin = end
        for row in range(first[who], first[who + 1]):
            out[end] = row
            end += 1
        state = _shuffle(out, begin, end, state)
    return out


@numba.njit(cache=True)
def _shuffle(values: Ints, begin: int, end: int, state: np.uint64) -> np.uint64:
    """Shuffle a part in place (Fisher and Yates); return the next state of splitmix64."""
    for n in range(end - 1, begin, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        other = begin + np.int64(((z >> np.uint64(32)) * np.uint64(n + 1 - begin)) >> np.uint64(32))
        values[n], values[other] = values[other], values[n]
    return state


@numba.njit(cache=True, fastmath=True)
def epoch(
    order: Ints,
    rows: Ints,
    target: Floats,
    start: Ints,
    column: Ints,
    x: Floats,
    w0: np.float32,
    w: Floats,
    v: Floats,
    eta: np.float32,
    lam_w: Floats,
    lam_v: Floats,
    logistic: bool,
) -> tuple[np.float32, float]:
    """Take one step on each row in the given order; return the new w0 and the sum of the losses met on the way.

    Of 1/2 (y - target)^2, or of the log loss of sigma(y) where ``logistic``, and of lambda / 2 |theta|^2 for every
    theta of the row: both losses have d loss / dy = guess - target.
    """
    loss, one, half, d = 0.0, np.float32(1), np.float32(0.5), v.shape[1]
    s = np.empty(d, np.float32)
    for n in order:
        y, pairs = w0, np.float32(0)
        s[:] = 0
        for b in range(rows.shape[1]):
            r = rows[n, b]
            for z in range(start[r], start[r + 1]):
                x_j, v_j = x[z], v[column[z]]
                y += x_j * w[column[z]]
                for f in range(d):
                    h = x_j * v_j[f]
                    s[f] += h
                    pairs -= h * h
        for f in range(d):
            pairs += s[f] * s[f]
        y += half * pairs  # lemma 3.1
        if logistic:
            right = y if target[n] > half else -y
            wrong = one / (one + np.exp(right))  # 1 - the chance given to what is true
            loss -= np.log(max(one - wrong, np.float32(1e-30)))
            e = -wrong if target[n] > half else wrong
        else:
            e = y - target[n]
            loss += half * e * e
        e *= eta
        w0 -= e
        for b in range(rows.shape[1]):
            r = rows[n, b]
            for z in range(start[r], start[r + 1]):
                j, x_j = column[z], x[z]
                v_j, step = v[j], e * x_j
                w[j] -= step + eta * lam_w[j] * w[j]
                keep = one - eta * lam_v[j] + step * x_j
                for f in range(d):
                    v_j[f] = keep * v_j[f] - step * s[f]  # v_j - eta (d loss / dy x_j (S - x_j v_j) + lambda v_j)
    return w0, loss


@numba.njit(cache=True)
def block_rows(start: Ints, column: Ints, x: Floats, w: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Return c (n_rows,) and Q (n_rows, d) of all block rows, float32, summed in double precision."""
    n_rows, d = len(start) - 1, v.shape[1]
    c, q = np.empty(n_rows, np.float32), np.empty((n_rows, d), np.float32)
    s = np.empty(d)
    for r in range(n_rows):
        s[:] = 0
        linear, pairs = 0.0, 0.0
        for z in range(start[r], start[r + 1]):
            x_j, v_j = np.float64(x[z]), v[column[z]]
            linear += x_j * w[column[z]]
            for f in range(d):
                h = x_j * v_j[f]
                s[f] += h
                pairs -= h * h
        for f in range(d):
            pairs += s[f] * s[f]
            q[r, f] = s[f]
        c[r] = linear + 0.5 * pairs
    return c, q


@numba.njit(cache=True)
def predict(rows: Ints, w0: float, c: Floats, q: Floats) -> Floats:
    """Return (n,) y of events that point to these block rows, (n, blocks)."""
    y = np.empty(len(rows))
    for n in range(len(rows)):
        y[n] = w0
        for b in range(rows.shape[1]):
            y[n] += c[rows[n, b]]
            for other in range(b):
                q_b, q_other = q[rows[n, b]], q[rows[n, other]]
                for f in range(q.shape[1]):
                    y[n] += q_b[f] * q_other[f]
    return y
