"""Mult-DAE: Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018.

The denoising autoencoder that the paper puts beside Mult-VAE: the same input and likelihood, no distribution over the
code, one hidden layer of 200 (the authors' notebook), and L2 on the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recarena import Ints, RankQueries, Run, Train, implementation

from ._selection import Selection
from ._sparse import Batch, Histories, Softmax, SparseLinear, popularity, rank


@implementation(
    author="recarena",
    departs=("where a benchmark has no validation, a fifth of the items of 2,000 users is held out for it",),
)
@dataclass
class MultDAE:
    """I-200-I with tanh; x is normalised and half of it dropped before it is read.

    Attributes:
        n_hidden: units of the hidden layer.
        dropout: share of x that is not read in training.
        l2: lambda; the loss has lambda / batch_size times the squares of both weights, not of the biases.
        learning_rate: Adam's.
        batch_size: users of an update.
        n_epochs: passes over the users; the best of them on validation is kept.
        patience: stop after so many epochs without a better one; 0 never stops, as the authors.
    """

    n_hidden: int = 200
    dropout: float = 0.5
    l2: float = 0.01
    learning_rate: float = 1e-3
    batch_size: int = 500
    n_epochs: int = 200
    patience: int = 0

    def fit(self, train: Train, run: Run) -> None:
        self.device, self.count = run.device, popularity(train)
        self.random = torch.Generator(run.device).manual_seed(run.seed)
        torch.manual_seed(run.seed)
        selection = Selection(train, run)
        histories = Histories(selection.histories, run.device)
        self.network = _Network(train.interactions.n_items, self.n_hidden).to(run.device)
        # Adam adds weight_decay * W to the gradient: that of lambda |W|^2 is 2 lambda W
        decayed = {"params": self.network.weights(), "weight_decay": 2 * self.l2 / self.batch_size}
        groups: list[dict[str, Any]] = [decayed, {"params": self.network.biases()}]
        adam = torch.optim.Adam(groups, self.learning_rate, fused=True)
        for epoch in range(self.n_epochs):
            total, n_batches = torch.zeros((), device=run.device), 0
            for batch in histories.batches(self.batch_size, self.random):
                hidden = self.network.hidden(batch, batch.normalised(self.dropout, self.random))
                nll = self.network.output.nll(hidden, batch)
                adam.zero_grad()
                nll.backward()
                adam.step()
                total += nll.detach()
                n_batches += 1
            value = selection.look(self.rank, self.network)
            run.log(epoch=epoch + 1, nll=float(total) / max(n_batches, 1), validation=value)
            run.progress(epoch + 1, self.n_epochs)
            if self.patience and selection.stale >= self.patience:
                break
        selection.restore(self.network)
        self.n_parameters = sum(weights.numel() for weights in self.network.parameters())

    def rank(self, queries: RankQueries) -> Ints:
        def hidden(batch: Batch) -> Tensor:
            return self.network.hidden(batch, batch.normalised(0, None))

        return rank(hidden, self.network.output, self.count, queries, self.device)  # (q, k)


class _Network(nn.Module):
    def __init__(self, n_items: int, n_hidden: int) -> None:
        super().__init__()
        self.read = SparseLinear(n_items, n_hidden)
        self.output = Softmax(n_hidden, n_items)

    def hidden(self, batch: Batch, value: Tensor) -> Tensor:
        """(users, n_hidden)."""
        return torch.tanh(self.read(batch, value))

    def weights(self) -> list[nn.Parameter]:
        return [self.read.weight, self.output.weight]

    def biases(self) -> list[nn.Parameter]:
        return [self.read.bias, self.output.bias]
