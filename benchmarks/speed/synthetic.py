"""Seeded interactions whose shape is that of real logs: few items have most of the rows, few users too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

ML_20M = (138_493, 26_744)  # users and items at 20,000,263 ratings


def pairs(n: int, n_users: int, n_items: int, seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return n distinct (user, item) pairs in random order, both sides power laws: weight 1 / sqrt(rank + 10).

    Args:
        n: rows; at most a fifth of all pairs, or the drawing would not end.
        n_users: numbers run below it; nearly all occur.
        n_items: likewise.
        seed: of the generator.
    """
    if n > n_users * n_items / 5:
        raise ValueError(f"{n:,} distinct pairs of {n_users:,} users x {n_items:,} items: too dense to draw")
    rng = np.random.default_rng(seed)
    cumulative = [np.cumsum(1 / np.sqrt(np.arange(size) + 10)) for size in (n_users, n_items)]
    keys = np.empty(0, np.int64)
    while len(keys) < n:
        draws = int(1.3 * (n - len(keys))) + 1000
        user, item = (np.searchsorted(c, c[-1] * rng.random(draws)).clip(max=len(c) - 1) for c in cumulative)
        keys = np.unique(np.concatenate([keys, user * n_items + item]))
    keys = rng.permutation(keys)[:n]
    return (keys // n_items).astype(np.int32), (keys % n_items).astype(np.int32)


def write_inter(file: Path, n: int, n_users: int, n_items: int, seed: int = 0) -> dict[str, int]:
    """Write n rows as RecBole's atomic file: ids from 1, ratings of 1 to 5, times in seconds; return the counts."""
    user, item = pairs(n, n_users, n_items, seed)
    rng = np.random.default_rng(seed + 1)
    columns = {
        "user_id:token": user + 1,
        "item_id:token": item + 1,
        "rating:float": rng.integers(1, 6, n, dtype=np.int8),
        "timestamp:float": rng.integers(10**9, 10**9 + 2 * 10**8, n, dtype=np.int64),
    }
    pl.DataFrame(columns).write_csv(file, separator="\t")
    return {"users": len(np.unique(user)), "items": len(np.unique(item)), "interactions": n}


def rows_of(n_rows: int, width: int, below: int, seed: int = 0) -> NDArray[np.int32]:
    """Return (n_rows, width) numbers below ``below``, distinct within a row.

    Each row walks around the circle of all numbers from a random start, with a random step that shares no divisor with
    ``below``: so it meets none twice.
    """
    rng = np.random.default_rng(seed)
    steps = np.flatnonzero(np.gcd(np.arange(below), below) == 1)
    start, step = rng.integers(0, below, (n_rows, 1)), rng.choice(steps, (n_rows, 1))
    return ((start + step * np.arange(width)) % below).astype(np.int32)
