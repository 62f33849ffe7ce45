"""What the autoencoders of this folder share: histories that stay sparse, the layers at both ends, the loss, the lists.

A user's x is a row of zeros and ones over all items. Only the ones are stored, on the device that trains; the first
layer sums their rows of its weight, and the loss needs the ones' logits and the normaliser alone, so the only dense
matrix of (batch, items) is that of the logits, which becomes its own gradient in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recarena import Factors, Ints, Ragged, RankQueries, Train, top_k

QUERIES_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Batch:
    """Some users' histories.

    Attributes:
        items: (ones,) int64 the items of all users, one user after the other.
        offsets: (users + 1,) int64 where each user's items start and end.
        rows: (ones,) int64 the user that every item belongs to.
    """

    items: Tensor
    offsets: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """(users,) int64 items of each user."""
        return self.offsets.diff()

    def normalised(self, drop: float, random: torch.Generator | None) -> Tensor:
        """(ones,) the values of x / ||x||, then inverted dropout with the share ``drop`` of them set to 0."""
        value = self.lengths.float().clamp(min=1).rsqrt()[self.rows]
        if drop == 0:
            return value
        kept = torch.rand(len(value), generator=random, device=value.device) >= drop
        return value * kept / (1 - drop)


class Histories:
    """The histories of all users on one device."""

    def __init__(self, lists: Ragged, device: str) -> None:
        self.items = torch.as_tensor(np.array(lists.values, np.int64), device=device)
        self.offsets = torch.as_tensor(np.array(lists.offsets, np.int64), device=device)
        self.lengths = self.offsets.diff()
        self.known = self.lengths.nonzero()[:, 0]  # users with a history

    def __len__(self) -> int:
        return len(self.lengths)

    def of(self, users: Tensor) -> Batch:
        """Return some users' histories in the order given."""
        lengths = self.lengths[users]
        offsets = functional.pad(lengths.cumsum(0), (1, 0))
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        place = torch.arange(len(rows), device=users.device) + (self.offsets[users] - offsets[:-1])[rows]
        return Batch(self.items[place], offsets, rows)

    def batches(self, size: int, random: torch.Generator) -> Iterator[Batch]:
        """Go once over all users with a history, in random order; the last batch is what is left."""
        everybody = self.of(self.known[torch.randperm(len(self.known), generator=random, device=self.known.device)])
        starts = range(0, len(everybody), size)
        cuts = [*everybody.offsets[:-1:size].tolist(), len(everybody.items)]  # one wait for the device an epoch
        for first, low, high in zip(starts, cuts[:-1], cuts[1:], strict=True):
            offsets = everybody.offsets[first : first + size + 1] - low
            yield Batch(everybody.items[low:high], offsets, everybody.rows[low:high] - first)


class SparseLinear(nn.Module):
    """A linear layer whose input is a batch of sparse rows: sums of rows of the weight.

    Attributes:
        weight: (n_inputs, n_outputs), Glorot uniform. Its gradient is written to one buffer, made once: a fresh one of
            tens of MB at every update costs more than filling it.
        bias: (n_outputs,), normal of standard deviation .001 cut off at two deviations.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_inputs, n_outputs))
        self.bias = nn.Parameter(torch.empty(n_outputs))
        glorot(self.weight, self.bias)
        self.gradient: Tensor | None = None
        self.touched = torch.empty(0, dtype=torch.int64)  # rows of the buffer that are not 0

    def forward(self, batch: Batch, value: Tensor) -> Tensor:
        """(users, n_outputs) for the items of a batch and their values, (ones,)."""
        total: Tensor = _SparseProduct.apply(self.weight, self, batch, value)
        return total + self.bias


class _SparseProduct(torch.autograd.Function):
    """X W for sparse X; the gradient of W, X' G, has rows for the batch's items alone."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: SparseLinear, batch: Batch, value: Tensor) -> Tensor:
        ctx.layer, ctx.batch, ctx.value = layer, batch, value
        return _weighted_sums(weight, batch.items, batch.offsets, value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, None, None, None]:
        layer, batch = ctx.layer, ctx.batch
        item, order = batch.items.sort(stable=True)
        touched, count = item.unique_consecutive(return_counts=True)
        offsets = functional.pad(count.cumsum(0), (1, 0))
        rows = _weighted_sums(upstream.contiguous(), batch.rows[order], offsets, ctx.value[order])
        if layer.gradient is None:
            layer.gradient = torch.zeros_like(layer.weight)
        layer.gradient[layer.touched.to(item.device)] = 0
        layer.gradient[touched] = rows
        layer.touched, layer.weight.grad = touched, layer.gradient
        return None, None, None, None


def _weighted_sums(table: Tensor, row: Tensor, offsets: Tensor, value: Tensor) -> Tensor:
    """(bags, d) sums of the rows of a table, each times its value; a bag's are row[offsets[b] : offsets[b + 1]]."""
    with torch.no_grad():
        return functional.embedding_bag(
            row, table, offsets, mode="sum", per_sample_weights=value.to(table.dtype), include_last_offset=True
        )


def glorot(weight: Tensor, bias: Tensor) -> None:
    """Draw first weights as the authors' code does."""
    nn.init.xavier_uniform_(weight)
    nn.init.trunc_normal_(bias, std=0.001, a=-0.002, b=0.002)


def linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    """A dense layer with those first weights."""
    layer = nn.Linear(n_inputs, n_outputs)
    glorot(layer.weight, layer.bias)
    return layer


class Softmax(nn.Module):
    """The last layer and its loss in one: a linear layer to all items, and the multinomial likelihood of a batch.

    Training keeps one (users, n_items) buffer: the logits become their exponentials and then, in ``backward``, their
    gradient in place. The gradient of the weight has a buffer of its own. So one batch is on its way at a time.

    Attributes:
        weight: (n_items, d).
        bias: (n_items,).
        dtype: of the three large products: float32, or bfloat16 where the processor is faster with it.
    """

    def __init__(self, d: int, n_items: int, dtype: str = "float32") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_items, d))
        self.bias = nn.Parameter(torch.empty(n_items))
        glorot(self.weight, self.bias)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.logits: Tensor | None = None
        self.gradient: Tensor | None = None
        self.n_batches = 0  # that have been in the buffer

    def forward(self, hidden: Tensor) -> Tensor:
        """(users, n_items) log-probabilities, for a few users."""
        return functional.log_softmax(functional.linear(hidden, self.weight, self.bias), dim=1)

    def nll(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return -sum_i x_ui log softmax(W h_u + b)_i of each user, mean over the users: -(2) of README.md.

        Args:
            hidden: (users, d) h.
            batch: x.
        """
        total: Tensor = _MultinomialNLL.apply(hidden, self.weight, self.bias, self, batch)
        return total


class _MultinomialNLL(torch.autograd.Function):
    """The gradient of the logits is n_u softmax - x: (8) of README.md."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, layer: Softmax, batch: Batch) -> Tensor:
        if layer.logits is None or len(layer.logits) < len(batch):
            layer.logits = hidden.new_empty(len(batch), len(weight))
        logits, n = layer.logits[: len(batch)], batch.lengths.to(hidden.dtype)
        _product(hidden, weight.T, logits, layer.dtype)
        logits += bias
        taken = logits[batch.rows, batch.items].sum()
        top = logits.amax(1, keepdim=True)
        total = logits.sub_(top).exp_().sum(1)  # logits are now exp(logits - top)
        ctx.save_for_backward(hidden, weight)
        layer.n_batches += 1
        ctx.layer, ctx.batch, ctx.number, ctx.logits, ctx.share = layer, batch, layer.n_batches, logits, n / total
        return (n @ (total.log() + top[:, 0]) - taken) / len(batch)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        hidden, weight = ctx.saved_tensors
        layer, batch, scale = ctx.layer, ctx.batch, upstream / len(ctx.batch)
        if ctx.number != layer.n_batches:
            raise RuntimeError(
                "Softmax.nll: another batch has overwritten the logits; call backward before the next nll"
            )
        layer.n_batches += 1  # nor is there a second backward: the logits are gone
        gradient = ctx.logits.mul_((ctx.share * scale)[:, None])
        gradient.index_put_((batch.rows, batch.items), -scale.expand(len(batch.items)), accumulate=True)
        of_hidden = of_bias = None
        if ctx.needs_input_grad[1]:
            if layer.gradient is None:
                layer.gradient = torch.empty_like(weight)
            _product(gradient.T, hidden, layer.gradient, layer.dtype)
            layer.weight.grad, of_bias = layer.gradient, gradient.sum(0)
        if ctx.needs_input_grad[0]:
            of_hidden = _product(gradient, weight, torch.empty_like(hidden), layer.dtype)
        return of_hidden, None, of_bias, None, None


def _product(a: Tensor, b: Tensor, out: Tensor, dtype: torch.dtype) -> Tensor:
    """Write a @ b to out, multiplied in another type where one is wanted."""
    if dtype == torch.float32:
        return torch.mm(a, b, out=out)
    return out.copy_(a.to(dtype) @ b.to(dtype))


def rank(hidden: Callable[[Batch], Tensor], output: Softmax, count: Ints, queries: RankQueries, device: str) -> Ints:
    """Return the (q, k) lists of a decoder whose last layer is linear: one product, ranked chunk by chunk.

    Args:
        hidden: a function from a ``Batch`` to (users, d) h.
        output: the last layer.
        count: (n_items,) training events of each item; who has no history gets what is popular.
        queries: what is asked.
        device: where the network is.
    """
    histories = Histories(queries.history, device)
    h = torch.zeros(len(histories), output.weight.shape[1] + 2, device=device)
    with torch.no_grad():
        for users in torch.arange(len(histories), device=device).split(QUERIES_AT_ONCE):
            h[users, :-2] = hidden(histories.of(users)).float()
    known = histories.lengths > 0
    h[:, -2], h[:, -1] = known, ~known  # what the bias and the popularity are multiplied by
    h[~known, :-2] = 0
    popular = torch.as_tensor(np.asarray(count, np.float32), device=device)
    y = torch.cat([output.weight, output.bias[:, None], popular[:, None]], 1).detach()
    if device == "cpu":
        return top_k(Factors(h.numpy(), y.float().numpy()), queries)
    return top_k(Factors(h, y.float()), queries)


def popularity(train: Train) -> Ints:
    """(n_items,) training events of every item."""
    return np.bincount(train.interactions.item, minlength=train.interactions.n_items)


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(users,) KL(N(mean, exp(log_variance)) || N(0, I)) summed over the dimensions: (5) of README.md."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(1)


def annealed(update: int, cap: float, rise: int) -> float:
    """The weight of the KL at an update, counted from 0: a straight rise to ``cap`` within ``rise`` updates."""
    return min(cap, cap * update / rise) if rise else cap
