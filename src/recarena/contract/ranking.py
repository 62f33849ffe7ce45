"""Scores to lists: mask what may not be listed, take the best k, break ties by a coin that knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recarena.contract.arrays import Floats, Ints
from recarena.contract.queries import RankQueries

CHUNK_FLOATS = 16 * 2**20  # scores held at once: 64 MiB of float32


def top_k(score: Floats | Ints | Callable[[slice], Floats], queries: RankQueries) -> Ints:
    """Return the k best items of every query, best first, never one of ``queries.exclude``.

    Equal scores are ordered by a hash of the query's number and the item's: a fair coin for every pair of items, so a
    constant score lists every allowed item with the same chance, and the same call always gives the same lists.

    Args:
        score: (n_items,) one score an item for every query; (q, n_items) one a query; or a function from a slice of
            queries to their (rows, n_items) scores, called on chunks so that the whole matrix never exists, such as
            ``lambda rows: users[queries.user[rows]] @ items.T``. NaN is an error.
        queries: what is asked.

    Returns:
        (q, k) int32 item ids; -1 at the end of a row where fewer than k items may be listed.

    Raises:
        ValueError: scores of the wrong shape, or NaN.
    """
    n_items = queries.n_items
    scores = score if callable(score) else _checked(np.asarray(score), len(queries), n_items)
    best = np.full((len(queries), queries.k), -1, dtype=np.int32)
    step = max(1, CHUNK_FLOATS // max(1, n_items))
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        best[rows] = _best(_chunk(scores, rows, n_items), queries, rows)
    return best


def _checked(score: NDArray[Any], n_queries: int, n_items: int) -> NDArray[Any]:
    """Return the scores, which must have one of the two shapes."""
    if score.shape not in ((n_items,), (n_queries, n_items)):
        raise ValueError(
            f"top_k: the scores have shape {score.shape}, expected ({n_items},) or ({n_queries}, {n_items}): "
            "one score for each item of the catalogue"
        )
    return score


def _chunk(score: NDArray[Any] | Callable[[slice], Floats], rows: slice, n_items: int) -> Floats:
    """Return a (rows, n_items) float array that may be written to."""
    n_rows = rows.stop - rows.start
    part: NDArray[Any]
    if callable(score):
        part = np.asarray(score(rows))
    else:
        part = np.broadcast_to(score, (n_rows, n_items)) if score.ndim == 1 else score[rows]
    if part.shape != (n_rows, n_items):
        raise ValueError(
            f"top_k: scores of queries {rows.start}..{rows.stop - 1} have shape {part.shape}, "
            f"expected ({n_rows}, {n_items}): one score for each item of the catalogue"
        )
    part = np.array(part, dtype=part.dtype if part.dtype in (np.float32, np.float64) else np.float64)
    if np.isnan(part).any():
        row, item = np.argwhere(np.isnan(part))[0]
        raise ValueError(f"top_k: the score of query {rows.start + row}, item {item} is NaN; did training diverge?")
    return part


def _best(part: Floats, queries: RankQueries, rows: slice) -> Ints:
    """Return the (rows, k) best items of a chunk of scores, which is overwritten."""
    n_rows, n_items = part.shape
    k = min(queries.k, n_items)
    # -inf is what marks an item as not allowed, so a contender's own -inf becomes the lowest finite score
    np.maximum(part, np.finfo(part.dtype).min, out=part)
    if queries.candidates is not None:
        allowed = np.take_along_axis(part, queries.candidates[rows], axis=1)
        part.fill(-np.inf)
        np.put_along_axis(part, queries.candidates[rows], allowed, axis=1)
    if queries.exclude is not None:
        excluded = queries.exclude.part(rows)
        part[excluded.rows(), excluded.values] = -np.inf

    if k < n_items:
        top = np.argpartition(part, n_items - k, axis=1)[:, n_items - k :]
    else:
        top = np.tile(np.arange(n_items), (n_rows, 1))
    scores = np.take_along_axis(part, top, axis=1)
    query = np.arange(rows.start, rows.stop)
    if k < n_items:
        _draw_boundary_ties(part, top, scores, query)
    order = np.lexsort((_coins(query[:, None], top), -scores), axis=1)
    top = np.take_along_axis(top, order, axis=1).astype(np.int32)
    top[np.isneginf(np.take_along_axis(scores, order, axis=1))] = -1
    out = np.full((n_rows, queries.k), -1, dtype=np.int32)
    out[:, :k] = top
    return out


def _coins(query: Ints | int, item: Ints) -> Ints:
    """Return a number for each (query, item) that knows nothing: splitmix64 of the two numbers side by side."""
    x = (np.asarray(query).astype(np.uint64) << np.uint64(32)) | np.asarray(item).astype(np.uint64)
    x += np.uint64(1)
    x *= np.uint64(0x9E3779B97F4A7C15)  # arrays of uint64 wrap around, as the hash wants
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _draw_boundary_ties(part: Floats, top: Ints, scores: Floats, query: Ints) -> None:
    """Where more items share the k-th score than fit, choose among them by the coin; ``top`` is changed in place."""
    cut = scores.min(axis=1)
    crowded = np.flatnonzero(((part >= cut[:, None]).sum(axis=1) > top.shape[1]) & ~np.isneginf(cut))
    for row in crowded:
        surely = np.flatnonzero(part[row] > cut[row])
        tied = np.flatnonzero(part[row] == cut[row])
        coin = _coins(query[row], tied)
        room = top.shape[1] - len(surely)
        top[row] = np.concatenate([surely, tied[np.argpartition(coin, room - 1)[:room]]])
        scores[row] = part[row, top[row]]
