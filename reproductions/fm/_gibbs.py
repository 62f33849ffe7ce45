"""The Gibbs sampler of factorization machines, on blocks: shared by the learners that draw (MCMC) and solve (ALS).

Rendle, "Factorization Machines with libFM", TIST 2012, sections 3.2.2 to 3.3, with the hyperpriors of its
implementation: alpha_0 = beta_0 = gamma_0 = 1, mu_0 = 0. One sweep draws, in this order,

    alpha    ~ Gamma((alpha_0 + n) / 2, (gamma_0 + sum e^2) / 2)                             noise precision
    w_0      ~ N(w_0 + mean(e), 1 / (alpha n))
    lambda_g ~ Gamma((alpha_0 + n_g + 1) / 2, (beta_0 (mu_g - mu_0)^2 + gamma_0 + sum_g (theta - mu_g)^2) / 2)
    mu_g     ~ N((sum_g theta + beta_0 mu_0) / (n_g + beta_0), 1 / ((n_g + beta_0) lambda_g))
    theta    ~ N(var (alpha (theta sum h^2 + sum h e) + mu_g lambda_g), var), var = 1 / (lambda_g + alpha sum h^2)

with e = target - prediction and h = d prediction / d theta: lambda and mu of w for every group g and of V for every
factor and group; w column by column; V factor by factor and column by column. A draw that is not finite is refused.

All rows that share a block row share its columns, so a column is drawn on five sums over each of its block rows'
training rows, kept up to date from column to column, one-hot or not: Rendle, "Scaling Factorization Machines to
Relational Data", VLDB 2013. A factor of a block costs a pass over the training rows and one over the block's nonzeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from recarena import Floats, Ints

from . import _kernels as kernels
from . import _one_hot as one_hot
from ._features import Block

REBUILD = 20  # sweeps after which e is made anew: it is kept up to date in float32


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of all parameters, as far as predictions need it.

    Attributes:
        w0: the global bias.
        c: for each block, (n_b,) float32 what its row adds by itself.
        q: for each block, (n_b, d) float32 its row's sum of x v.
    """

    w0: float
    c: tuple[Floats, ...]
    q: tuple[Floats, ...]


def predict(draw: Draw, rows: Sequence[Ints]) -> Floats:
    """Return the (q,) float32 predictions of one draw; ``rows`` has the (q,) block rows of every block."""
    out = np.empty(len(rows[0]), np.float32)
    kernels.scores(draw.w0, draw.c, draw.q, _int32(rows), out)
    return out


def average(draws: Iterable[Draw], rows: Sequence[Ints], low: float, high: float) -> Floats:
    """Return the (q,) mean over draws of their predictions, each clipped to [low, high]."""
    rows = _int32(rows)
    total, count = np.zeros(len(rows[0])), 0
    for draw in draws:
        total += np.clip(predict(draw, rows), low, high)
        count += 1
    mean: Floats = (total / count).astype(np.float32)
    return mean


class Sampler:
    """The state of one chain, and the sweep that moves it.

    Attributes:
        w0: the global bias.
        w: for each block, (columns,) float32.
        v: for each block, (d, columns) float32, a factor's columns side by side.
        alpha: the noise precision.
        lambda_w, mu_w: (groups,) precision and mean of the prior of w.
        lambda_v, mu_v: (d, groups) the same of V.
        e: (n,) float32 target - prediction.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        rows: Sequence[Ints],
        target: Floats,
        *,
        dim: int,
        rng: np.random.Generator,
        init_std: float = 0.1,
        groups: bool = True,
        sample: bool = True,
        noise_precision: float | None = None,
        regularisation: tuple[float, float, float] = (0.0, 0.0, 0.0),
        threads: int = 1,
    ) -> None:
        """Draw the first w and V; w_0 is 0.

        Args:
            blocks: the features.
            rows: for each block, (n,) which of its rows a training row points to.
            target: (n,) what to predict.
            dim: d, how many factors.
            rng: where all that is random comes from.
            init_std: standard deviation of the first w and V.
            groups: one hyperprior for every family of columns; False: one for all columns.
            sample: False: ALS, every parameter moves to the minimum of
                sum e^2 + lambda_0 w_0^2 + lambda_w |w|^2 + lambda_v |V|^2 along its coordinate.
            noise_precision: alpha, where it is not to be drawn.
            regularisation: lambda_0, lambda_w, lambda_v; used by ALS, and lambda_0 also by MCMC.
            threads: how many may work at once where every row is one user and one item; they change no number.

        Raises:
            ValueError: targets that are not finite, or no rows.
        """
        target = np.ascontiguousarray(target, np.float32)
        if len(target) == 0:
            raise ValueError("fm: there are no training rows to learn from")
        if not np.isfinite(target).all():
            bad = int(np.flatnonzero(~np.isfinite(target))[0])
            raise ValueError(f"fm: the target of training row {bad} is {target[bad]}; expected a finite number")
        self.blocks, self.rows, self.target = tuple(blocks), _int32(rows), target
        self.rng, self.sample, self.dim = rng, sample, dim
        self.lambda_0, lambda_w, lambda_v = regularisation
        self.draw_alpha = sample and noise_precision is None
        self.alpha = 1.0 if noise_precision is None else noise_precision

        families = np.concatenate([[0], np.cumsum([len(block.families) for block in blocks])])
        self.n_groups = int(families[-1]) if groups else 1
        self.group = tuple(
            (b.family_of + first if groups else np.zeros(b.n_columns)).astype(np.int32)
            for b, first in zip(blocks, families[:-1], strict=True)
        )
        self.n_of_group = np.bincount(np.concatenate(self.group), minlength=self.n_groups)
        self.lambda_w, self.mu_w = np.full(self.n_groups, float(lambda_w)), np.zeros(self.n_groups)
        self.lambda_v, self.mu_v = np.full((dim, self.n_groups), float(lambda_v)), np.zeros((dim, self.n_groups))

        scale = np.float32(init_std)
        self.w0 = 0.0
        self.w = tuple(scale * rng.standard_normal(b.n_columns, np.float32) for b in blocks)
        self.v = tuple(scale * rng.standard_normal((dim, b.n_columns), np.float32) for b in blocks)
        self.stats = tuple(np.zeros((b.n_rows, kernels.WIDTH), np.float32) for b in blocks)
        for stats, row in zip(self.stats, self.rows, strict=True):
            stats[:, kernels.N] = np.bincount(row, minlength=len(stats))
        self.fused = len(self.blocks) == 2 and all(b.is_identity for b in blocks) and _ascending(self.rows[0])
        if self.fused:
            self.offset = np.searchsorted(self.rows[0], np.arange(self.blocks[0].n_rows + 1))
            self.bounds = one_hot.parts(self.offset, self.blocks[1].n_rows)
            self.threads = max(1, min(threads, len(self.bounds) - 1))
            self.pool = ThreadPoolExecutor(self.threads)  # starts a thread only when one is called for
        self.sweeps = 0
        self.rebuild()

    @property
    def n_parameters(self) -> int:
        """How many numbers w_0, w and V are."""
        return 1 + sum(array.size for array in (*self.w, *self.v))

    @property
    def rmse(self) -> float:
        """Root of the mean of e^2."""
        return float(np.sqrt(np.dot(self.e, self.e) / len(self.e)))

    def rebuild(self) -> None:
        """Make Q and e anew from w0, w and V."""
        self.q = tuple(  # (d, n_b) each
            v if self.fused else _turned(kernels.row_vectors(b.start, b.column, b.x, _turned(v)))
            for b, v in zip(self.blocks, self.v, strict=True)
        )
        self.e = self.target - predict(self.draw(), self.rows)

    def draw(self) -> Draw:
        """Return a copy of the current parameters, as block scores."""
        q = tuple(_turned(q) for q in self.q)
        c = tuple(
            w.copy() if b.is_identity else kernels.row_scores(b.start, b.column, b.x, w, np.square(v).sum(axis=0), q_b)
            for b, w, v, q_b in zip(self.blocks, self.w, self.v, q, strict=True)
        )
        return Draw(self.w0, c, q)

    def set_target(self, target: Floats) -> None:
        """Change the targets, such as the latent ones of probit; e follows."""
        target = np.ascontiguousarray(target, np.float32)
        self.e += target - self.target
        self.target = target

    def sweep(self) -> None:
        """Draw everything once; with ``sample=False``, minimise along every coordinate once."""
        if self.sweeps and self.sweeps % REBUILD == 0:
            self.rebuild()
        self.sweeps += 1
        if self.draw_alpha:
            rate = (1 + float(np.dot(self.e, self.e))) / 2
            self.alpha = float(_finite(self.alpha, self.rng.standard_gamma((1 + len(self.e)) / 2) / rate))
        shift = self._sweep_w0()
        if self.sample:
            self._hyper(self.w, self.lambda_w, self.mu_w)
            for f in range(self.dim):
                self._hyper([v[f] for v in self.v], self.lambda_v[f], self.mu_v[f])
        if self.fused:
            self._sweep_one_hot(shift)
        else:
            self.e -= shift
            self._sweep_w()
            self._sweep_v()

    def _sweep_w0(self) -> np.float32:
        """Draw w_0 and return by how much it moved."""
        precision = self.lambda_0 + self.alpha * len(self.e)
        mean = self.alpha * (self.w0 * len(self.e) + float(self.e.sum(dtype=np.float64))) / precision
        new = float(_finite(self.w0, mean + self._normal(1)[0] / np.sqrt(precision)))
        shift, self.w0 = np.float32(new - self.w0), new
        return shift

    def _sweep_one_hot(self, shift: np.float32) -> None:
        """Draw w and V where a row is one user and one item: ``_sweep_w`` and ``_sweep_v`` in half the passes."""
        n_users, n_items = (block.n_rows for block in self.blocks)
        (g_user, g_item), item = (int(group[0]) for group in self.group), self.rows[1]
        sums = np.empty((len(self.bounds) - 1, 2 * n_items), np.float32)
        pair, before = np.zeros(2 * n_items, np.float32), np.ones(n_users, np.float32)
        other = pair[one_hot.OTHER :: 2]
        other[:] = 1
        for f in range(-1, self.dim):  # -1 stands for w
            of_user, of_item = self.w if f < 0 else (v[f] for v in self.v)
            lam, mu = (self.lambda_w, self.mu_w) if f < 0 else (self.lambda_v[f], self.mu_v[f])
            if f >= 0:
                other[:] = of_item
            self._each_part(
                one_hot.draw_users, item, self.e, shift, pair, before, f < 0, of_user,
                self.alpha, lam[g_user], mu[g_user], self._normal(n_users), sums,
            )  # fmt: skip
            one_hot.draw_items(sums, of_item, self.alpha, lam[g_item], mu[g_item], self._normal(n_items), pair)
            shift = np.float32(0)
            if f >= 0:
                before = of_user
        self._each_part(one_hot.settle, item, self.e, pair, before)

    def _each_part(self, kernel: Callable[..., None], *rest: Any) -> None:
        """Run a kernel on all parts of the users, a share of them on each thread."""
        cuts = np.linspace(0, len(self.bounds) - 1, self.threads + 1).astype(int).tolist()
        jobs = [self.pool.submit(kernel, self.offset, self.bounds, *cut, *rest) for cut in pairwise(cuts[1:])]
        kernel(self.offset, self.bounds, *cuts[:2], *rest)
        for job in jobs:
            job.result()

    def _sweep_w(self) -> None:
        last_row, change = self.rows[0], np.zeros(self.blocks[0].n_rows, np.float32)
        for b, block in enumerate(self.blocks):
            kernels.gather_w(self.e, last_row, change, self.rows[b], self.stats[b])
            last_row, change = self.rows[b], np.empty(block.n_rows, np.float32)
            kernels.draw_w(
                *block.by_column, self.stats[b], change, self.group[b], self.w[b],
                self.alpha, self.lambda_w, self.mu_w, self._normal(block.n_columns),
            )  # fmt: skip
        self.e -= change[last_row]

    def _sweep_v(self) -> None:
        total = np.zeros(len(self.e), np.float32)
        last_row, last = self.rows[0], np.zeros((self.blocks[0].n_rows, 3), np.float32)
        for f in range(self.dim):
            q = tuple(q[f] for q in self.q)
            for b, block in enumerate(self.blocks):
                row, stats = self.rows[b], self.stats[b]
                kernels.gather_v(self.e, total, last_row, last, self.rows, q, b == 0, row, q[b], stats)
                kernels.draw_v(
                    *block.by_column, stats, self.group[b], self.v[b][f],
                    self.alpha, self.lambda_v[f], self.mu_v[f], self._normal(block.n_columns),
                )  # fmt: skip
                last_row, last = row, kernels.changes(stats, q[b])
        kernels.settle(self.e, total, last_row, last)

    def _hyper(self, theta: Sequence[Floats], lam: Floats, mu: Floats) -> None:
        """Draw lambda and mu of every group, given its parameters; both are changed in place."""
        sums = np.zeros((self.n_groups, 2))
        for one, group in zip(theta, self.group, strict=True):
            kernels.add_by_group(one, group, mu, sums)
        rate = (mu**2 + 1 + sums[:, 1]) / 2
        lam[:] = _finite(lam, self.rng.standard_gamma((self.n_of_group + 2) / 2) / rate)
        precision = (self.n_of_group + 1) * lam
        mean = sums[:, 0] / (self.n_of_group + 1)
        mu[:] = _finite(mu, mean + self.rng.standard_normal(self.n_groups) / np.sqrt(precision))

    def _normal(self, shape: int) -> Floats:
        return self.rng.standard_normal(shape, np.float32) if self.sample else np.zeros(shape, np.float32)


def _finite(old: Any, new: Any) -> Any:
    """Return the new numbers, the old ones where the new are not finite: such draws are refused."""
    return np.where(np.isfinite(new), new, old)


def _ascending(row: Ints) -> bool:
    return bool((row[1:] >= row[:-1]).all())


def _turned(array: Floats) -> Floats:
    """Return a transposed copy, whatever its strides were."""
    return array.T.copy()


def _int32(rows: Sequence[Ints]) -> tuple[Ints, ...]:
    """Return them all as arrays of one kind, as numba wants; those that are read-only are copied."""
    return tuple(np.require(row, np.int32, ["C", "W"]) for row in rows)
