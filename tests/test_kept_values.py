"""What the keeper keeps of a judged run: a value per query that gives the metric back."""

from __future__ import annotations

import numpy as np
import pytest

from recarena.arena import keeper


@pytest.mark.parametrize("n_queries", [100_000, 100_001])
def test_many_errors_are_kept_in_half_the_space(n_queries: int) -> None:
    error = np.random.default_rng(0).normal(0, 0.9, n_queries)
    kept = keeper._small(error)
    assert kept.dtype == (np.float32 if n_queries == keeper.MANY_ERRORS else np.float16)
    np.testing.assert_allclose(kept, error, rtol=1e-3, atol=1e-7)


def test_the_rmse_of_few_different_errors_survives_half_precision() -> None:
    # a constant prediction: rounding to the nearest float16 would move the RMSE by 2.5e-4
    error = 3.53 - np.random.default_rng(1).integers(1, 6, 120_000)
    rmse = np.sqrt(np.mean(error**2))
    nearest = error.astype(np.float16).astype(np.float64)
    assert abs(np.sqrt(np.mean(nearest**2)) - rmse) > 1e-4
    kept = keeper._small(error).astype(np.float64)
    assert np.sqrt(np.mean(kept**2)) == pytest.approx(rmse, abs=1e-5)
    assert np.abs(kept).mean() == pytest.approx(np.abs(error).mean(), abs=1e-5)
    np.testing.assert_array_equal(keeper._small(error), kept)  # equal predictions stay equal


def test_errors_beyond_half_precision_keep_their_size() -> None:
    error = np.zeros(120_000)
    error[7] = -70_000
    kept = keeper._small(error)
    assert kept.dtype == np.float32 and kept[7] == -70_000
    np.testing.assert_array_equal(keeper._small(np.zeros(120_000)), np.zeros(120_000))
