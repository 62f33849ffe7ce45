"""Errors of guessed ratings. Differences are computed in float64, and nothing is clipped to the rating scale."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Floats


def rmse(prediction: Floats, rating: Floats) -> Floats:
    """Rmse = sqrt(mean of (prediction - rating)^2); the value of a query is its square."""
    return (prediction - rating) ** 2


def mae(prediction: Floats, rating: Floats) -> Floats:
    """Mae = mean of |prediction - rating|."""
    return np.abs(prediction - rating)
