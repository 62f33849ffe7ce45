"""A tuned Mult-VAE: a linear decoder, smaller batches, and a vote for the linear model beside it.

Mult-VAE (Liang et al. 2018) is smooth where EASE (Steck 2019) is sharp: the network knows what a user likes, the
item-by-item regression which film goes with which. Standard scores of both are added, with weights found
on validation. README.md says what was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from recarena import Floats, Ints, Ragged, RankQueries, Run, Skip, Train, implementation, top_k

from ._selection import Selection
from ._sparse import (
    Batch,
    Histories,
    Softmax,
    SparseLinear,
    annealed,
    kl_from_standard_normal,
    linear,
    popularity,
)

SHARES = tuple(n / 10 for n in range(11))  # of EASE in the sum
MOST_ITEMS = 25_000  # of which EASE's inverse is made


@implementation(
    author="recarena",
    departs=(
        "decoder without a hidden layer, as RecVAE's: I-600-200-I",
        "its scores are added to those of EASE, with weights chosen on validation",
        "beta rises within the first half of the updates",
    ),
)
@dataclass
class TunedMultVAE:
    """z = a network of x; score = (1 - share) standardised logits of z + share standardised EASE.

    Attributes:
        n_hidden: units of the encoder's hidden layer.
        n_latent: dimensions of z.
        dropout: share of x that is not read in training.
        cap: the largest beta.
        learning_rate: Adam's.
        batch_size: users of an update.
        n_epochs: passes over the users; the best of them on validation is kept.
        patience: stop after so many epochs without a better one; 0 never stops.
        l2: of EASE; the best of these on validation.
    """

    n_hidden: int = 600
    n_latent: int = 200
    dropout: float = 0.5
    cap: float = 0.2
    learning_rate: float = 1e-3
    batch_size: int = 250
    n_epochs: int = 100
    patience: int = 20
    l2: tuple[float, ...] = (250.0, 500.0, 1000.0)

    def fit(self, train: Train, run: Run) -> None:
        n_items = train.interactions.n_items
        if n_items > MOST_ITEMS:
            raise Skip(
                f"EASE's inverse of {n_items:,} by {n_items:,} items is beyond this file ({MOST_ITEMS:,} at most)"
            )
        self.device, self.count = run.device, popularity(train)
        selection = Selection(train, run)
        self._train_network(selection, n_items, run)
        self._choose_linear(selection, n_items, run)
        self.n_parameters = self.weight.size + sum(weights.numel() for weights in self.network.parameters())

    def _train_network(self, selection: Selection, n_items: int, run: Run) -> None:
        self.share, self.weight = 0.0, np.zeros((n_items, 0), np.float32)  # no EASE yet
        torch.manual_seed(run.seed)
        random = torch.Generator(run.device).manual_seed(run.seed)
        histories = Histories(selection.histories, run.device)
        self.network = _Network(n_items, self.n_hidden, self.n_latent, self.dropout).to(run.device)
        adam = torch.optim.Adam(self.network.parameters(), self.learning_rate, fused=True)
        rise = max(1, self.n_epochs * -(-len(histories.known) // self.batch_size) // 2)
        update = 0
        for epoch in range(self.n_epochs):
            total, n_batches = torch.zeros(2, device=run.device), 0
            for batch in histories.batches(self.batch_size, random):
                nll, kl = self.network(batch, random)
                adam.zero_grad()
                (nll + annealed(update, self.cap, rise) * kl).backward()
                adam.step()
                total += torch.stack([nll.detach(), kl.detach()])
                update, n_batches = update + 1, n_batches + 1
            value = selection.look(self.rank, self.network)
            nll_mean, kl_mean = (total / max(n_batches, 1)).tolist()
            run.log(epoch=epoch + 1, nll=nll_mean, kl=kl_mean, validation=value)
            run.progress(epoch + 1, self.n_epochs)
            if self.patience and selection.stale >= self.patience:
                break
        selection.restore(self.network)

    def _choose_linear(self, selection: Selection, n_items: int, run: Run) -> None:
        """Find EASE's l2 and its share in the sum."""
        best = (-np.inf, 0.0, self.weight)
        for l2 in self.l2:
            self.weight = _ease(selection.histories, n_items, l2)
            for self.share in SHARES:
                value = selection.value(self.rank)
                run.log(l2=l2, share=self.share, validation=value)
                if value > best[0]:
                    best = (value, self.share, self.weight)
        _, self.share, self.weight = best

    def rank(self, queries: RankQueries) -> Ints:
        return top_k(lambda rows: self._score(queries.history.part(rows)), queries)  # (q, k)

    def _score(self, history: Ragged) -> Floats:
        """(rows, n_items)."""
        score = np.zeros((len(history), len(self.count)), np.float32)
        if self.share < 1:
            batch = Histories(history, self.device)
            with torch.no_grad():
                mean = self.network.mean(batch.of(torch.arange(len(history), device=self.device)))
                logits = nn.functional.linear(mean, self.network.output.weight, self.network.output.bias)
            score += (1 - self.share) * _standard(logits.cpu().numpy())
        if self.share > 0:
            score += self.share * _standard(_rows(history, len(self.count)) @ self.weight)
        score[history.lengths == 0] = self.count  # who has no history gets what is popular
        return score


class _Network(nn.Module):
    """I-600-200-I."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.read = SparseLinear(n_items, n_hidden)
        self.infer = linear(n_hidden, 2 * n_latent)
        self.output = Softmax(n_latent, n_items)

    def posterior(self, batch: Batch, value: Tensor) -> tuple[Tensor, Tensor]:
        """(users, n_latent) mean and log variance of q(z | x)."""
        mean, log_variance = self.infer(torch.tanh(self.read(batch, value))).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, batch: Batch, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return -E_q[log p(x | z)] with one draw of z, and KL(q || p), means over the batch."""
        mean, log_variance = self.posterior(batch, batch.normalised(self.dropout, random))
        noise = torch.randn(mean.shape, generator=random, device=mean.device)
        nll = self.output.nll(mean + noise * (0.5 * log_variance).exp(), batch)
        return nll, kl_from_standard_normal(mean, log_variance).mean()

    def mean(self, batch: Batch) -> Tensor:
        """(users, n_latent) z at the mean."""
        return self.posterior(batch, batch.normalised(0, None))[0]


def _ease(histories: Ragged, n_items: int, l2: float) -> Floats:
    """(n_items, n_items) B of min |X - X B|^2 + l2 |B|^2 with a diagonal of 0: P = (X'X + l2 I)^-1, -P_ij / P_jj."""
    X = _rows(histories, n_items)
    P = np.linalg.inv((X.T @ X).toarray().astype(np.float64) + l2 * np.eye(n_items))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    return B.astype(np.float32)


def _rows(histories: Ragged, n_items: int) -> sparse.csr_array:
    """(rows, n_items) of zeros and ones."""
    x = sparse.csr_array(
        (np.ones(len(histories.values), np.float32), histories.values, histories.offsets),
        shape=(len(histories), n_items),
    )
    x.sum_duplicates()
    x.data[:] = 1
    return x


def _standard(score: Floats) -> Floats:
    """Each row less its mean, over its standard deviation."""
    out: Floats = score - score.mean(1, keepdims=True)
    out /= np.maximum(out.std(1, keepdims=True), 1e-12)
    return out
