"""Guesses at labels of 0 and 1: how well they separate the two (AUC), how likely they make what happened (log loss)."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Bools, Floats, Ints
from recarena.contract.errors import PredictionError, RecarenaError

CLIP = float(np.finfo(np.float64).eps)


def auc(prediction: Floats, label: Floats) -> Floats:
    """Auc = P(a positive's score > a negative's) + P(equal) / 2, over all pairs of one each.

    The area under the ROC curve, by its identity with Mann and Whitney's U (Hanley and McNeil, Radiology 1982). It is
    no mean over queries, but one of pseudo-values: with ``V_i`` the share of the other class that row i is on the right
    side of (a tie is half), m positives and n negatives,

        psi_i = AUC + (V_i - AUC) * (m + n) / m   for a positive, ... / n for a negative.

    Their mean is AUC, and the variance of that mean is the variance of DeLong, DeLong and Clarke-Pearson (Biometrics
    1988, equation 2 and what follows) but for factors (m - 1) / m and (n - 1) / n: intervals over queries and paired
    comparisons are their test. A psi_i may lie outside [0, 1].

    Args:
        prediction: (q,) scores; only their order counts.
        label: (q,) of 0 and 1, both of them.
    """
    positive = _positive("auc", label)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        raise RecarenaError(
            f'metric "auc": all {len(label)} labels are {int(n == 0)}, so there is no pair to order; '
            "ask more queries (a larger --limit), or use log_loss"
        )
    # V of a positive: negatives below + half of those equal; V of a negative: positives above + half of those equal
    value = np.where(positive, _below(prediction, ~positive) / n, 1.0 - _below(prediction, positive) / m)
    area = value[positive].mean()
    pseudo: Floats = area + (value - area) * np.where(positive, (m + n) / m, (m + n) / n)
    return pseudo


def log_loss(prediction: Floats, label: Floats) -> Floats:
    """Log_loss = mean of -log(p) for a label of 1, -log(1 - p) for a label of 0; natural logarithm.

    The prediction p is clipped to [eps, 1 - eps] with float64's eps, 2.2e-16, as scikit-learn does: no query costs more
    than 36.04.

    Args:
        prediction: (q,) probabilities of a 1.
        label: (q,) of 0 and 1.
    """
    positive = _positive("log_loss", label)
    outside = ~((prediction >= 0) & (prediction <= 1))
    if outside.any():
        first = int(outside.argmax())
        raise PredictionError(f'metric "log_loss": query {first} has {prediction[first]:g}, {PROBABILITY}')
    p = np.clip(prediction, CLIP, 1 - CLIP)
    return -np.log(np.where(positive, p, 1 - p))


PROBABILITY = "expected the probability of a 1, from 0 to 1; a sigmoid makes one of a score"


def _positive(name: str, label: Floats) -> Bools:
    positive: Bools = label == 1
    other = ~positive & (label != 0)
    if other.any():
        raise RecarenaError(
            f'metric "{name}" judges labels of 0 and 1, but query {int(other.argmax())} was rated '
            f"{label[other.argmax()]:g}; give the benchmark a [label], or use rmse"
        )
    return positive


def _below(score: Floats, among: Bools) -> Floats:
    """(q,) how many of ``among`` score lower than each row, those that score the same counting half."""
    _, group = np.unique(score, return_inverse=True)
    in_group: Ints = np.bincount(group, weights=among)
    below = np.cumsum(in_group) - in_group / 2
    return below[group]
