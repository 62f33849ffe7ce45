"""Mult-VAE: Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018.

A user's items x are n draws from a softmax over the catalogue whose logits a network makes of a latent z ~ N(0, I) (1);
a second network guesses z from x (4), and both are trained on the evidence lower bound (3) with a weight beta on its KL
term (7). Numbers in brackets are the equations of README.md. What the paper leaves open is as in the authors' notebook:
layer sizes, first weights, Adam, batches of 500 users, and beta rising to its cap over 200,000 updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn

from recarena import DetectQueries, Floats, Ints, Ragged, RankQueries, Run, Train, implementation

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
    rank,
)

# beta = updates / 200,000 reaches the authors' cap of .2 at update 40,000 of 46,800: 200 epochs of the 234 batches that
# the 116,677 training users of ML-20M make
RISING = 40_000 / 46_800


@implementation(
    author="recarena",
    departs=(
        "beta rises within the first 85.5% of the updates, as the authors' does on ML-20M, not within 40,000 of them",
        "cap = None: beta rises to 1 in a first training; its value at the best epoch is the cap (section 2.2.2)",
        "where a benchmark has no validation, a fifth of the items of 2,000 users is held out for it",
    ),
)
@dataclass
class MultVAE:
    """I-600-200-600-I with tanh; x is normalised and half of it dropped before it is read.

    Attributes:
        n_hidden: units of each hidden layer.
        n_latent: dimensions of z.
        dropout: share of x that is not read in training.
        cap: the largest beta; None finds it on validation, at the price of a second training.
        learning_rate: Adam's.
        batch_size: users of an update.
        n_epochs: passes over the users; the best of them on validation is kept.
        patience: stop after so many epochs without a better one; 0 never stops, as the authors.
        products: type of the numbers in the last layer's products; bfloat16 pays where the processor has units for it.
        suspicion: "likelihood", or "ratio" to that of popular items; for detect asks.
    """

    n_hidden: int = 600
    n_latent: int = 200
    dropout: float = 0.5
    cap: float | None = 0.2
    learning_rate: float = 1e-3
    batch_size: int = 500
    n_epochs: int = 200
    patience: int = 0
    products: str = "float32"
    suspicion: str = "likelihood"

    def fit(self, train: Train, run: Run) -> None:
        if self.suspicion not in ("likelihood", "ratio"):
            raise ValueError(f'mult_vae: suspicion is "{self.suspicion}", expected "likelihood" or "ratio"')
        self.device, self.count = run.device, popularity(train)
        self.random = torch.Generator(run.device).manual_seed(run.seed)
        selection = Selection(train, run)
        histories = Histories(selection.histories, run.device)
        cap = self.cap
        if cap is None:
            cap = self._train(histories, train.interactions.n_items, 1.0, selection, run)
            selection.forget()
        self._train(histories, train.interactions.n_items, cap, selection, run)
        self.n_parameters = sum(p.numel() for p in self.network.parameters())

    def _train(self, histories: Histories, n_items: int, cap: float, selection: Selection, run: Run) -> float:
        """Train a new network; keep the best epoch and return its beta."""
        adam = self._begin(n_items, run)
        n_updates = self.n_epochs * -(-len(histories.known) // self.batch_size)
        rise = max(1, round(RISING * n_updates))
        betas = (annealed(update, cap, rise) for update in count(0))
        best_beta = 0.0
        for epoch in range(self.n_epochs):
            nll, kl, beta = self._epoch(histories, adam, betas)
            value = selection.look(self.rank, self.network)
            if selection.stale == 0:
                best_beta = beta
            run.log(epoch=epoch + 1, nll=nll, kl=kl, beta=beta, validation=value)
            run.progress(epoch + 1, self.n_epochs)
            if self.patience and selection.stale >= self.patience:
                break
        selection.restore(self.network)
        return best_beta

    def _begin(self, n_items: int, run: Run) -> torch.optim.Optimizer:
        torch.manual_seed(run.seed)
        self.network = _Network(n_items, self.n_hidden, self.n_latent, self.dropout, self.products).to(run.device)
        return torch.optim.Adam(self.network.parameters(), self.learning_rate, fused=True)

    def _epoch(
        self, histories: Histories, adam: torch.optim.Optimizer, betas: Iterator[float]
    ) -> tuple[float, float, float]:
        """Go once over the users; return the means of both terms of the loss, and the last beta."""
        total, n_batches, beta = torch.zeros(2, device=self.device), 0, 0.0
        for batch, beta in zip(histories.batches(self.batch_size, self.random), betas, strict=False):
            nll, kl = self.network(batch, self.random)
            adam.zero_grad()
            (nll + beta * kl).backward()  # (7)
            adam.step()
            total += torch.stack([nll.detach(), kl.detach()])
            n_batches += 1
        nll_mean, kl_mean = (total / max(n_batches, 1)).tolist()
        return nll_mean, kl_mean, beta

    def rank(self, queries: RankQueries) -> Ints:
        return rank(self.network.hidden, self.network.output, self.count, queries, self.device)  # (q, k)

    def elbo(self, histories: Ragged) -> Floats:
        """Return (users,) the evidence lower bound of each history's log-probability (3), with z at its mean."""
        sparse = Histories(histories, self.device)
        with torch.no_grad():
            parts = [self.network.elbo(sparse.of(u)) for u in torch.arange(len(sparse)).split(self.batch_size)]
        bound: Floats = torch.cat(parts).cpu().numpy()
        return bound

    def detect(self, queries: DetectQueries) -> Floats:
        """Return (q,) how unlikely each history is: minus its lower bound, for each of its items.

        With ``suspicion = "ratio"`` what items drawn by their popularity would have is taken away (Ren et al.,
        "Likelihood Ratios for Out-of-Distribution Detection", NeurIPS 2019).
        """
        history = queries.history
        bound = self.elbo(history)
        if self.suspicion == "ratio":
            share = (self.count + 1) / (self.count + 1).sum()  # (n_items,)
            bound = bound - np.bincount(history.rows(), np.log(share)[history.values], len(history))
        return -bound / np.maximum(history.lengths, 1)


class _Network(nn.Module):
    """Both networks: f, from z to the logits, and g, from x to the mean and variance of q(z | x)."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int, dropout: float, products: str) -> None:
        super().__init__()
        self.dropout = dropout
        self.read = SparseLinear(n_items, n_hidden)
        self.infer = linear(n_hidden, 2 * n_latent)  # mean and log variance as one layer: a smaller Glorot limit
        self.generate = linear(n_latent, n_hidden)
        self.output = Softmax(n_hidden, n_items, products)

    def posterior(self, batch: Batch, value: Tensor) -> tuple[Tensor, Tensor]:
        """(users, n_latent) mean and log variance of q(z | x): (4)."""
        mean, log_variance = self.infer(torch.tanh(self.read(batch, value))).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, batch: Batch, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return -E_q[log p(x | z)] with one draw of z, and KL(q || p), means over the batch."""
        mean, log_variance = self.posterior(batch, batch.normalised(self.dropout, random))
        noise = torch.randn(mean.shape, generator=random, device=mean.device)
        z = mean + noise * (0.5 * log_variance).exp()  # (6)
        nll = self.output.nll(torch.tanh(self.generate(z)), batch)
        return nll, kl_from_standard_normal(mean, log_variance).mean()

    def hidden(self, batch: Batch) -> Tensor:
        """(users, n_hidden) what the last layer reads, at z = the mean: section 2.4."""
        mean, _ = self.posterior(batch, batch.normalised(0, None))
        return torch.tanh(self.generate(mean))

    def elbo(self, batch: Batch) -> Tensor:
        """(users,) log p(x | z) - KL(q || p) at z = the mean."""
        mean, log_variance = self.posterior(batch, batch.normalised(0, None))
        taken = self.output(torch.tanh(self.generate(mean)))[batch.rows, batch.items]
        likelihood = torch.zeros(len(batch), device=taken.device).index_add(0, batch.rows, taken)
        return likelihood - kl_from_standard_normal(mean, log_variance)
