"""Choosing the epoch, or a setting, by validation: the benchmark's own, else rows held out of the training events."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from torch import nn

from recarena import Ints, Ragged, RankQueries, Run, Train
from recarena.contract.answers import RankAnswers
from recarena.contract.validation import ValidationAsk

ASKED = 2000  # users asked where the benchmark has no validation
SHARE = 0.2  # of their items, held out
AT_LEAST = 5  # items of a user who may be asked


class Selection:
    """What to learn from, and how well a network ranks what was held out of it.

    Attributes:
        histories: n_users lists of items to learn from.
        best: the highest value so far.
        weights: the state of the networks when it was reached.
        stale: looks since then.
    """

    def __init__(self, train: Train, run: Run) -> None:
        self.histories = train.interactions.histories()
        self.asks = [ask for ask in train.validation.values() if isinstance(ask.queries, RankQueries)]
        if not self.asks:
            self.histories, ask = _held_out(self.histories, train.interactions.n_items, run.rng)
            self.asks = [ask]
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.best, self.stale = -np.inf, 0
        self.weights: list[dict[str, Any]] = []

    def value(self, rank: Callable[[RankQueries], Ints]) -> float:
        """Return the mean of the benchmark's first metric now."""
        return float(np.mean([ask.score(rank(ask.queries)) for ask in self.asks]))  # type: ignore[arg-type]

    def look(self, rank: Callable[[RankQueries], Ints], *networks: nn.Module) -> float:
        """Return the mean of the benchmark's first metric now, and keep the weights if it is the best so far."""
        value = self.value(rank)
        self.stale += 1
        if value > self.best:
            self.best, self.stale = value, 0
            self.weights = [deepcopy(network.state_dict()) for network in networks]
        return value

    def restore(self, *networks: nn.Module) -> None:
        """Give the networks the best weights."""
        for network, state in zip(networks, self.weights, strict=True):
            network.load_state_dict(state)


def _held_out(lists: Ragged, n_items: int, random: np.random.Generator) -> tuple[Ragged, ValidationAsk]:
    """Take a share of the items of some users out of their histories, and ask for them."""
    long_enough = np.flatnonzero(lists.lengths >= AT_LEAST)
    asked = np.sort(random.permutation(long_enough)[:ASKED])
    held = np.zeros(len(lists.values), bool)
    for user in asked:
        low, high = lists.offsets[user], lists.offsets[user + 1]
        held[low + random.choice(high - low, int(SHARE * (high - low)), replace=False)] = True
    row = lists.rows()
    shown = Ragged.from_lengths(np.bincount(row[~held], minlength=len(lists)), lists.values[~held])
    targets = Ragged.from_lengths(np.bincount(row[held], minlength=len(lists)), lists.values[held]).take(asked)
    relevant = Ragged.from_lengths(targets.lengths, np.concatenate([np.sort(one) for one in targets]))
    history = shown.take(asked)
    queries = RankQueries(None, history, history, None, 20, n_items)
    return shown, ValidationAsk(queries, RankAnswers(relevant), "ndcg@20")
