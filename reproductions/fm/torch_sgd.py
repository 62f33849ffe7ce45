"""Factorization machine by mini-batches in torch, on CPU or GPU: Rendle, "Factorization Machines", ICDM 2010.

The loss is the question's: log loss where all training values are 0 and 1, else half the squared error. Rows stay on
the device and batches are slices of them. The gradient (section III-C) is taken by hand, block by block: with the Q and
c of block rows (see ``_sgd``), e_n = dloss/dy of row n, g_r = sum of e_n and G_r = sum of e_n (S_n - Q_r) over the rows
n of the batch that point to block row r,

    dloss/dw_j = sum_r x_rj g_r,   dloss/dv_j = sum_r x_rj (G_r + g_r Q_r) - v_j sum_r x_rj^2 g_r

which for a block of ids alone is g and G themselves, so that a feature that many rows share is never looked up row by
row. On a GPU, sums that many rows add to come in any order: the same seed gives the same numbers up to rounding.
"""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recarena import Floats, Ints, RateQueries, Run, Skip, Train, implementation

from ._features import Block, available, design
from ._sgd import Table, predict, table


@implementation(
    author="recarena",
    departs=(
        "mini-batches by Adam",
        "lambda of a feature's vector divided by the root of the number of its rows",
        "learning rate falls linearly to 0",
    ),
)
@dataclass
class TorchSGD:
    """y(x) = w0 + sum_j w_j x_j + sum_{j < l} v_j . v_l x_j x_l; the chance of a yes is sigma(y).

    Attributes:
        n_factors: length of v_j.
        n_epochs: passes over the training rows.
        batch_size: rows of a step.
        learning_rate: Adam's, in the first epoch.
        regularisation: lambda of the vectors of a feature that one row has; lambda / sqrt(n) where n rows have it. A
            row brings lambda / 2 |v_j|^2 for each of its features to the squared loss, and a quarter of that to the log
            loss, whose second derivative is at most 1/4. One number for all families, or one for each.
        linear_regularisation: lambda of the weights w_j, likewise, but the same whatever n is.
        init_std: standard deviation of the first vectors.
        families: which features; those that a benchmark does not give are left out.
    """

    n_factors: int = 16
    n_epochs: int = 20
    batch_size: int = 4096
    learning_rate: float = 0.02
    regularisation: tuple[float, ...] = (1.8,)
    linear_regularisation: tuple[float, ...] = (0.008,)
    init_std: float = 0.05
    families: tuple[str, ...] = ("user", "age", "gender", "occupation", "item", "genres", "year")

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no values")
        if not np.isfinite(seen.value).all():
            bad = int(np.argmin(np.isfinite(seen.value)))
            raise ValueError(f"fm: the value of training event {bad} is {seen.value[bad]}, expected a finite number")
        self.binary = bool(np.isin(seen.value, (0, 1)).all())
        self.low, self.high = float(seen.value.min()), float(seen.value.max())
        families = tuple(name for name in self.families if name in available(train))
        self.features = table(design(train, families))
        rows = self.features.rows(seen)  # (n, blocks)
        n_rows = self.features.counts(rows)  # (n_columns,)
        held = [
            (ask, self.features.rows(asked))
            for ask in train.validation.values()
            if isinstance(asked := ask.queries, RateQueries)
        ]

        v = np.float32(self.init_std) * run.rng.standard_normal((len(n_rows), self.n_factors), np.float32)
        v[n_rows == 0] = 0  # never moved: no noise in the prediction
        lam_w = self.features.per_column("linear_regularisation", self.linear_regularisation, families)
        lam_v = self.features.per_column("regularisation", self.regularisation, families)
        lam_v /= np.sqrt(np.maximum(n_rows, 1)).astype(np.float32)
        # a row of a batch has the feature with this chance
        share = (n_rows / len(seen) * (0.25 if self.binary else 1)).astype(np.float32)
        mean = float(seen.value.mean(dtype=np.float64))
        if self.binary:
            mean = min(max(mean, 1e-6), 1 - 1e-6)
            mean = float(np.log(mean / (1 - mean)))
        machine = Machine(self.features, mean, v, lam_w * share, lam_v * share, self.binary, run.device)
        adam = torch.optim.Adam(machine.parameters, lr=self.learning_rate, fused=True)
        device_rows, target = machine.put(rows), torch.from_numpy(seen.value.astype(np.float32)).to(run.device)
        random = torch.Generator(run.device).manual_seed(int(run.rng.integers(2**63)))

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a step's parts are small: on a busy machine two threads wait for each other
        best, score = -np.inf, 0.0
        for done in range(self.n_epochs):
            adam.param_groups[0]["lr"] = self.learning_rate * (1 - done / self.n_epochs)
            for batch_rows, batch_target in batches(device_rows, target, self.batch_size, random):
                machine.gradient(batch_rows, batch_target)
                adam.step()
            w0, c, q = machine.block_rows()
            curve = {}
            for ask, held_rows in held:
                guess, metric = self._guess(predict(held_rows, w0, c, q)), "auc" if self.binary else "rmse"
                curve[f"validation_{metric}"] = ask.score(guess, metric)
                score = curve[f"validation_{metric}"] * (1 if self.binary else -1)
            if score >= best:  # always, where nothing is held out
                best, self.w0, self.c, self.q = score, w0, c, q
            run.progress(done + 1, self.n_epochs)
            run.log(epoch=done + 1, **curve)
        torch.set_num_threads(threads)
        self.n_parameters = 1 + len(n_rows) + v.size

    def rate(self, queries: RateQueries) -> Floats:
        return self._guess(predict(self.features.rows(queries), self.w0, self.c, self.q))  # (q,)

    def _guess(self, y: Floats) -> Floats:
        guess: Floats = 1 / (1 + np.exp(-y)) if self.binary else np.clip(y, self.low, self.high)
        return guess


def batches(
    rows: list[Tensor], target: Tensor, size: int, random: torch.Generator
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield all rows in random order, ``size`` at a time: one shuffle, then slices."""
    order = torch.randperm(len(target), generator=random, device=target.device)
    parts = zip(*(each.index_select(0, order).split(size) for each in (*rows, target)), strict=True)
    for *batch_rows, batch_target in parts:
        yield batch_rows, batch_target


class Machine:
    """The parameters w0 (), w (n_columns,) and v (n_columns, d), and the gradient of a batch, on one device."""

    def __init__(
        self, features: Table, w0: float, v: Floats, decay_w: Floats, decay_v: Floats, binary: bool, device: str
    ) -> None:
        """Take the first values; decay (n_columns,) of a parameter is its own gradient's share of its value."""
        self.binary, self.device = binary, device
        self.w0 = torch.tensor(w0, dtype=torch.float32, device=device)
        self.w = torch.zeros(len(v), device=device)
        self.v = torch.from_numpy(v).to(device)
        self.parameters = [self.w0, self.w, self.v]
        self.gradients = [torch.zeros_like(each) for each in self.parameters]
        for each, gradient in zip(self.parameters, self.gradients, strict=True):
            each.grad = gradient
        self.decay_w, self.decay_v = torch.from_numpy(decay_w).to(device), torch.from_numpy(decay_v[:, None]).to(device)
        ends = np.cumsum([block.n_columns for block in features.design.blocks])
        self.blocks = [
            _OnDevice(block, slice(int(end) - block.n_columns, int(end)), device)
            for block, end in zip(features.design.blocks, ends, strict=True)
        ]
        self.first_row = features.first_row

    def put(self, rows: Ints) -> list[Tensor]:
        """Return the block rows of events, (n, blocks), as one tensor on the device for each block."""
        own = (rows[:, b] - self.first_row[b] for b in range(len(self.blocks)))
        return [torch.from_numpy(np.ascontiguousarray(row, np.int64)).to(self.device) for row in own]

    def gradient(self, rows: list[Tensor], target: Tensor) -> None:
        """Put the gradient of a batch's mean loss into ``grad`` of every parameter."""
        w0_grad, w_grad, v_grad = self.gradients
        sums = [block.sums(self.w, self.v) for block in self.blocks]
        q = [block_q.index_select(0, row) for (_, block_q), row in zip(sums, rows, strict=True)]  # (batch, d) each
        y = self.w0 + sum(block_c.index_select(0, row) for (block_c, _), row in zip(sums, rows, strict=True))
        for one, other in itertools.combinations(q, 2):
            y += (one * other).sum(1)
        e = ((torch.sigmoid(y) if self.binary else y) - target) / len(target)  # (batch,)
        torch.sum(e, 0, out=w0_grad)
        torch.mul(self.w, self.decay_w, out=w_grad)
        torch.mul(self.v, self.decay_v, out=v_grad)
        for b, block in enumerate(self.blocks):
            others = [each for n, each in enumerate(q) if n != b]
            rest = others[0] if len(others) == 1 else torch.stack(others).sum(0)  # S_n - Q_r
            block.add_gradient(rows[b], e, rest * e[:, None], sums[b][1], self.v, w_grad, v_grad)

    def block_rows(self) -> tuple[float, Floats, Floats]:
        """Return w0, and c (n_rows,) and Q (n_rows, d) of all block rows, as arrays of the host."""
        sums = [block.sums(self.w, self.v) for block in self.blocks]
        c, q = (torch.cat(part).cpu().numpy().copy() for part in zip(*sums, strict=True))
        return float(self.w0), c, q


class _OnDevice:
    """A block's features; None where they are ids alone."""

    def __init__(self, block: Block, columns: slice, device: str) -> None:
        self.columns, self.n_rows = columns, block.n_rows
        self.x: tuple[Tensor, Tensor, Tensor, Tensor] | None = None  # X, X with x^2, and both transposed
        if not block.is_identity:
            by_column = block.by_column
            shape = (block.n_rows, block.n_columns)
            self.x = (
                _sparse(block.start, block.column, block.x, shape, device),
                _sparse(block.start, block.column, block.x**2, shape, device),
                _sparse(*by_column, shape[::-1], device),
                _sparse(*by_column[:2], by_column[2] ** 2, shape[::-1], device),
            )

    def sums(self, w: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return c (n_rows,) and Q (n_rows, d)."""
        w, v = w[self.columns], v[self.columns]
        if self.x is None:
            return w, v
        x, x2, _, _ = self.x
        q = x @ v
        return x @ w + 0.5 * ((q * q).sum(1) - x2 @ (v * v).sum(1)), q

    def add_gradient(
        self, row: Tensor, e: Tensor, e_rest: Tensor, q: Tensor, v: Tensor, w_grad: Tensor, v_grad: Tensor
    ) -> None:
        """Add what the block's features get from a batch: row (batch,), e (batch,), e (S - Q) (batch, d)."""
        if self.x is None:
            w_grad[self.columns].index_add_(0, row, e)
            v_grad[self.columns].index_add_(0, row, e_rest)
            return
        _, _, x_t, x2_t = self.x
        g = torch.zeros(self.n_rows, device=e.device).index_add_(0, row, e)
        big = torch.zeros_like(q).index_add_(0, row, e_rest)
        w_grad[self.columns] += x_t @ g
        v_grad[self.columns] += x_t @ big.addcmul_(g[:, None], q) - (x2_t @ g)[:, None] * v[self.columns]


def _sparse(start: Ints, column: Ints, x: Floats, shape: tuple[int, ...], device: str) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        parts = (torch.from_numpy(np.ascontiguousarray(part)) for part in (start, column.astype(np.int64), x))
        rows, columns, values = parts
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=True).to(device)
