"""Tampered histories: shilling profiles put into genuine ones, so that a model of p(x) has something to find.

The profiles are those of the attack literature (Lam and Riedl, WWW 2004; Mobasher et al., ACM TOIT 2007), for events
without ratings: *random* items; *popular* ones, of the tenth of the catalogue with most training events; or an
*average* user's, drawn by the items' training events. A tampered history keeps its length, so length tells nothing.
"""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Bools, Floats, Ints, Ragged

POPULAR_SHARE = 0.1
LAST_RESORT = 1e-9  # weight of what a profile does not want, drawn where there is nothing else


def tampered(
    histories: Ragged, popularity: Ints, profile: str, strength: float, fraction: float, rng: np.random.Generator
) -> tuple[Ragged, Bools]:
    """Replace items in some histories.

    Args:
        histories: q rows of items, ascending, without repeats.
        popularity: (n_items,) training events of every item.
        profile: "random", "popular" or "average".
        strength: share of a tampered history that is replaced, at least one item.
        fraction: share of the histories that are tampered with, at least one.
        rng: draws everything.

    Returns:
        The histories, in their order, items ascending; and which of them, (q,), were tampered with.
    """
    weight = np.log(np.maximum(_weights(popularity, profile), LAST_RESORT))
    chosen = np.zeros(len(histories), dtype=bool)
    chosen[rng.permutation(len(histories))[: max(1, round(fraction * len(histories)))]] = True
    rows = [_injected(row, weight, strength, rng) if chosen[n] else row for n, row in enumerate(histories)]
    return Ragged.from_lengths(histories.lengths, np.concatenate(rows).astype(histories.values.dtype)), chosen


def _weights(popularity: Ints, profile: str) -> Floats:
    """(n_items,) how much a profile wants each item."""
    if profile == "random":
        return np.ones(len(popularity))
    if profile == "average":
        return popularity.astype(np.float64)
    most = np.argsort(-popularity, kind="stable")[: max(1, round(POPULAR_SHARE * len(popularity)))]
    wanted = np.zeros(len(popularity))
    wanted[most] = 1
    return wanted


def _injected(row: Ints, weight: Floats, strength: float, rng: np.random.Generator) -> Ints:
    """Return a history whose share ``strength`` is drawn anew, without replacement, by log weights (n_items,)."""
    n_new = min(max(1, round(strength * len(row))), len(row))
    kept = rng.permutation(row)[n_new:]
    key = weight + rng.gumbel(size=len(weight))  # the largest keys are a draw without replacement by weight
    key[kept] = -np.inf
    new = np.argpartition(-key, n_new - 1)[:n_new]
    return np.sort(np.concatenate([kept, new]))
