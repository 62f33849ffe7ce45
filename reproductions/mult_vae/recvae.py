"""RecVAE: Shenbin, Alekseev, Tutubalina, Malykh and Nikolenko, WSDM 2020.

"RecVAE: A New Variational Autoencoder for Top-N Recommendations with Implicit Feedback".

A Mult-VAE with a deeper encoder and a linear decoder; a prior that remembers what the encoder said before; a weight of
the KL term that grows with the length of the history; and steps of the encoder and of the decoder in turn. Numbers
that the paper leaves open are those of the authors' code.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from recarena import Ints, RankQueries, Run, Train, implementation

from ._selection import Selection
from ._sparse import Batch, Histories, Softmax, SparseLinear, popularity, rank

N_DENSE = 5  # layers of the encoder below its two heads


@implementation(
    author="recarena",
    departs=("where a benchmark has no validation, a fifth of the items of 2,000 users is held out for it",),
)
@dataclass
class RecVAE:
    """An encoder of five dense layers; the scores of the items are linear in z.

    Attributes:
        n_hidden: units of each layer of the encoder.
        n_latent: dimensions of z.
        dropout: share of x that the encoder does not read in its own steps.
        gamma: weight of the KL term for each item of the history.
        prior: shares of the standard normal, of the encoder's last posterior, and of a wide normal.
        learning_rate: of both Adams.
        batch_size: users of an update.
        n_epochs: rounds of encoder and decoder; the best of them on validation is kept.
        n_encoder_epochs: passes of a round that change the encoder.
        n_decoder_epochs: passes of a round that change the decoder.
        patience: stop after so many rounds without a better one; 0 never stops, as the authors.
    """

    n_hidden: int = 600
    n_latent: int = 200
    dropout: float = 0.5
    gamma: float = 0.005
    prior: tuple[float, float, float] = (0.15, 0.75, 0.1)
    learning_rate: float = 5e-4
    batch_size: int = 500
    n_epochs: int = 50
    n_encoder_epochs: int = 3
    n_decoder_epochs: int = 1
    patience: int = 0

    def fit(self, train: Train, run: Run) -> None:
        self.device, self.count = run.device, popularity(train)
        self.random = torch.Generator(run.device).manual_seed(run.seed)
        torch.manual_seed(run.seed)
        selection = Selection(train, run)
        histories = Histories(selection.histories, run.device)
        n_items = train.interactions.n_items
        self.encoder = _Encoder(n_items, self.n_hidden, self.n_latent).to(run.device)
        self.decoder = Softmax(self.n_latent, n_items).to(run.device)
        _torch_start(self.decoder.weight, self.decoder.bias, self.n_latent)
        self.before = deepcopy(self.encoder).requires_grad_(False)  # the encoder of the last round
        adams = [torch.optim.Adam(side.parameters(), self.learning_rate, fused=True) for side in self._sides()]
        nll = kl = 0.0
        for epoch in range(self.n_epochs):
            for _ in range(self.n_encoder_epochs):
                _, kl = self._pass(histories, adams[0], self.encoder, self.dropout)
            self.before.load_state_dict(self.encoder.state_dict())
            for _ in range(self.n_decoder_epochs):
                nll, _ = self._pass(histories, adams[1], self.decoder, 0.0)
            value = selection.look(self.rank, *self._sides())
            run.log(epoch=epoch + 1, nll=nll, kl=kl, validation=value)
            run.progress(epoch + 1, self.n_epochs)
            if self.patience and selection.stale >= self.patience:
                break
        selection.restore(*self._sides())
        self.n_parameters = sum(weights.numel() for side in self._sides() for weights in side.parameters())

    def _sides(self) -> tuple[nn.Module, nn.Module]:
        return self.encoder, self.decoder

    def _pass(
        self, histories: Histories, adam: torch.optim.Optimizer, learning: nn.Module, drop: float
    ) -> tuple[float, float]:
        """Go once over the users, changing one side alone; return the means of both terms of the loss."""
        for side in self._sides():
            side.requires_grad_(side is learning)
        total, n_batches = torch.zeros(2, device=self.device), 0
        for batch in histories.batches(self.batch_size, self.random):
            mean, log_variance = self.encoder(batch, batch.normalised(drop, self.random))
            z = mean + torch.randn(mean.shape, generator=self.random, device=mean.device) * (0.5 * log_variance).exp()
            nll = self.decoder.nll(z, batch)
            loss = nll
            if learning is self.encoder:  # the KL term does not know the decoder
                kl = self.gamma * (batch.lengths * self._kl(batch, z, mean, log_variance)).mean()
                loss = nll + kl
                total[1] += kl.detach()
            adam.zero_grad()
            loss.backward()
            adam.step()
            total[0] += nll.detach()
            n_batches += 1
        nll_mean, kl_mean = (total / max(n_batches, 1)).tolist()
        return nll_mean, kl_mean

    def _kl(self, batch: Batch, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """(users,) log q(z | x) - log p(z) at the drawn z, p the mixture of section 3.3, dimension by dimension."""
        with torch.no_grad():
            parts = (torch.zeros(()), torch.zeros(())), self.before(batch, batch.normalised(0, None)), (0.0, 10.0)
        mixture = [
            log(share) + _log_normal(z, torch.as_tensor(m).to(z), torch.as_tensor(v).to(z))
            for share, (m, v) in zip(self.prior, parts, strict=True)
        ]
        return (_log_normal(z, mean, log_variance) - torch.stack(mixture).logsumexp(0)).sum(1)

    def rank(self, queries: RankQueries) -> Ints:
        return rank(self._mean, self.decoder, self.count, queries, self.device)  # (q, k)

    def _mean(self, batch: Batch) -> Tensor:
        mean, _ = self.encoder(batch, batch.normalised(0, None))
        return mean


class _Encoder(nn.Module):
    """x to the mean and log variance of q(z | x): each layer reads the sum of all before it."""

    def __init__(self, n_items: int, n_hidden: int, n_latent: int) -> None:
        super().__init__()
        self.read = SparseLinear(n_items, n_hidden)
        _torch_start(self.read.weight, self.read.bias, n_items)
        self.deeper = nn.ModuleList(nn.Linear(n_hidden, n_hidden) for _ in range(N_DENSE - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(n_hidden, eps=0.1) for _ in range(N_DENSE))
        self.heads = nn.Linear(n_hidden, 2 * n_latent)

    def forward(self, batch: Batch, value: Tensor) -> tuple[Tensor, Tensor]:
        h = self.norms[0](functional.silu(self.read(batch, value)))
        total = h
        for layer, norm in zip(self.deeper, self.norms[1:], strict=True):
            h = norm(functional.silu(layer(h) + total))
            total = total + h
        mean, log_variance = self.heads(h).chunk(2, dim=1)
        return mean, log_variance


def _log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * (log(2 * pi) + log_variance + (z - mean).square() / log_variance.exp())


def _torch_start(weight: Tensor, bias: Tensor, n_inputs: int) -> None:
    """First weights as the authors' library draws them."""
    for one in (weight, bias):
        nn.init.uniform_(one, -(n_inputs**-0.5), n_inputs**-0.5)
