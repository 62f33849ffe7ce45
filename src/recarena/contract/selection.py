"""The best k of every row of a block of scores, exactly, with one look at most scores. numpy only.

A row is folded into columns, some ``sqrt(n_items / k)`` scores each, and only the columns' maxima are partitioned: the
k-th largest of them is a bound that at least k scores reach, and hardly more than k do. Those few are sorted. Rows of
which that is not true, since many scores are equal or few are finite, are ranked in full (``ranked_in_full``), which
is also what the tests hold the short way against.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from recarena.contract.arrays import Floats, Ints, Ragged
from recarena.contract.metrics.lookup import listed_in
from recarena.contract.queries import RankQueries

Flags = NDArray[np.bool_]


def best_of(part: Floats, queries: RankQueries, rows: slice) -> Ints:
    """Return the (rows, queries.k) best items of a block of scores, -1 at the end of a row that is short.

    Args:
        part: (rows, n_items) float32 or float64, C-contiguous and writable. It is written to meanwhile, and is as it
            was afterwards.
        queries: all of them.
        rows: which of the queries these are.

    Raises:
        ValueError: a score is NaN.
    """
    query = np.arange(rows.start, rows.stop)
    exclude = None if queries.exclude is None else queries.exclude.part(rows)
    out = np.full((len(part), queries.k), -1, dtype=np.int32)
    if queries.candidates is not None:
        best = _among(part, queries.candidates.part(rows), exclude, query, queries.k)
    elif exclude is None:
        best = _short_way(part, None, query, queries.k)
    else:
        flat = part.reshape(-1)
        place = exclude.rows() * part.shape[1] + exclude.values
        kept = flat[place]
        flat[place] = -np.inf
        try:
            best = _short_way(part, exclude, query, queries.k)
        finally:
            flat[place] = kept
        if np.isnan(kept).any():
            _refuse_nan(part, rows.start)
    out[:, : best.shape[1]] = best
    return out


def coins(query: Ints | int, item: Ints) -> NDArray[np.uint64]:
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


def ranked_in_full(part: Floats, exclude: Ragged | None, query: Ints, k: int) -> Ints:
    """Return the (rows, min(k, n_items)) best items by a look at every score; ``part`` is overwritten.

    Args:
        part: (rows, n_items) without NaN.
        exclude: rows, what may not be listed; or None.
        query: (rows,) number of each query, for the coin.
        k: how many to list.
    """
    n_rows, n_items = part.shape
    k = min(k, n_items)
    # -inf is what marks an item as not allowed, so a contender's own -inf becomes the lowest finite score
    np.maximum(part, np.finfo(part.dtype).min, out=part)
    if exclude is not None:
        part[exclude.rows(), exclude.values] = -np.inf
    if k == n_items:
        return ordered(part, np.tile(np.arange(n_items, dtype=np.int32), (n_rows, 1)), query, k)
    top = np.argpartition(part, n_items - k, axis=1)[:, n_items - k :]
    scores = np.take_along_axis(part, top, axis=1)
    _draw_boundary_ties(part, top, scores, query)
    return ordered(scores, top.astype(np.int32), query, k)


def ordered(score: Floats, item: Ints, query: Ints, k: int) -> Ints:
    """Return (rows, min(k, width)) items by falling score, equal scores by the coin; -1 where a score is -inf.

    Args:
        score: (rows, width).
        item: (rows, width) what has that score.
        query: (rows,) number of each query.
        k: how many to keep.
    """
    order = np.argsort(-score, axis=1)
    falling = np.take_along_axis(score, order, axis=1)
    tied = np.flatnonzero(((falling[:, 1:] == falling[:, :-1]) & ~np.isneginf(falling[:, 1:])).any(axis=1))
    if len(tied):
        order[tied] = np.lexsort((coins(query[tied, None], item[tied]), -score[tied]), axis=1)
    best: Ints = np.take_along_axis(item, order[:, :k], axis=1)
    best[np.isneginf(falling[:, :k])] = -1
    return best


def _short_way(part: Floats, exclude: Ragged | None, query: Ints, k: int) -> Ints:
    """``ranked_in_full``, of rows whose excluded items have -inf already; ``part`` is left as it is."""
    n_rows, n_items = part.shape
    stripes = min(isqrt(4 * n_items // k), n_items // (2 * k))
    if stripes < 2:  # k is no small part of the catalogue
        _check_nan(part, query)
        return ranked_in_full(part.copy(), exclude, query, k)
    columns = n_items // stripes
    maxima = part[:, : stripes * columns].reshape(n_rows, stripes, columns).max(axis=1)  # of a column with a NaN: NaN
    if np.isnan(maxima).any() or np.isnan(part[:, stripes * columns :]).any():
        _check_nan(part, query)
    maxima.partition(columns - k, axis=1)
    bound = maxima[:, columns - k].copy()

    hard = ~(bound > np.finfo(part.dtype).min)  # too few finite scores to tell what is excluded from what is bad
    bound[hard] = np.inf
    place = _reaching(part, bound)
    cuts = np.searchsorted(place, np.arange(n_rows + 1) * n_items)
    count = np.diff(cuts)
    crowded = count > 2 * k + 100  # many scores equal the bound
    hard |= crowded
    if hard.any():
        place = place[np.repeat(~hard, count)]
        count[hard] = 0
        cuts = np.append(0, np.cumsum(count))
    row = np.repeat(np.arange(n_rows), count)
    width = max(k, int(count.max(initial=0)))
    cell = np.arange(len(place)) + np.repeat(np.arange(n_rows) * width - cuts[:-1], count)  # its place in a table
    best = _sorted(part.reshape(-1)[place], place - row * n_items, cell, query, width, k)
    left = np.flatnonzero(hard)
    if len(left):
        best[left] = ranked_in_full(part[left], None if exclude is None else exclude.take(left), query[left], k)
    return best


def _reaching(part: Floats, bound: Floats) -> Ints:
    """Return where, in the flattened block, a score reaches the bound of its row; few do, so look at eight at once."""
    flags = np.empty(-(-part.size // 8) * 8, dtype=np.bool_)
    flags[part.size :] = False
    np.greater_equal(part, bound[:, None], out=flags[: part.size].reshape(part.shape))
    eights = flags.view(np.uint64)
    word = np.flatnonzero(eights != 0)
    inside = np.flatnonzero(eights[word].view(np.bool_))
    place: Ints = word[inside >> 3] * 8 + (inside & 7)
    return place


def _sorted(score: Floats, item: Ints, cell: Ints, query: Ints, width: int, k: int) -> Ints:
    """``ordered``, of scores greater than -inf that lie at the places ``cell`` of a (rows, width) table."""
    shape = (len(query), width)
    if score.dtype != np.float32:
        scores, items = np.full(shape, -np.inf, dtype=score.dtype), np.full(shape, -1, dtype=np.int32)
        scores.reshape(-1)[cell], items.reshape(-1)[cell] = score, item
        return ordered(scores, items, query, k)
    # one whole number of score and item, which sorts faster than an index: the bits of floats, turned where negative,
    # are in the order of the floats, once -0 is 0; the empty cells come last and end in the bits of -1
    bits = (score + np.float32(0)).view(np.int32)
    bits = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    keys = np.full(shape, np.iinfo(np.int64).max)
    keys.reshape(-1)[cell] = (bits.astype(np.int64) << 32) | item
    keys.sort(axis=1)
    head = keys[:, : k + 1]
    tied = np.flatnonzero(((head[:, 1:] ^ head[:, :-1]) >> 32 == 0).any(axis=1))
    if len(tied):
        some = keys[tied]
        order = np.lexsort((coins(query[tied, None], some & 0xFFFFFFFF), some >> 32), axis=1)
        keys[tied] = np.take_along_axis(some, order, axis=1)
    best: Ints = keys[:, :k].astype(np.int32)
    return best


def _among(part: Floats, candidates: Ragged, exclude: Ragged | None, query: Ints, k: int) -> Ints:
    """Rank the candidates of each row alone."""
    _check_nan(part, query)
    n_rows, n_items = part.shape
    row, count = candidates.rows(), candidates.lengths
    column = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    width = int(count.max(initial=0))
    item = np.full((n_rows, width), -1, dtype=np.int32)
    item[row, column] = candidates.values
    score = np.maximum(np.take_along_axis(part, np.maximum(item, 0), axis=1), np.finfo(part.dtype).min)
    if exclude is not None:
        item[listed_in(exclude, item, n_items)] = -1
    score[item < 0] = -np.inf
    return ordered(score, item, query, k)


def _draw_boundary_ties(part: Floats, top: Ints, scores: Floats, query: Ints) -> None:
    """Where more items share the k-th score than fit, choose among them by the coin; ``top`` is changed in place."""
    cut = scores.min(axis=1)
    crowded = np.flatnonzero(((part >= cut[:, None]).sum(axis=1) > top.shape[1]) & ~np.isneginf(cut))
    for row in crowded:
        surely = np.flatnonzero(part[row] > cut[row])
        tied = np.flatnonzero(part[row] == cut[row])
        coin = coins(query[row], tied)
        room = top.shape[1] - len(surely)
        top[row] = np.concatenate([surely, tied[np.argpartition(coin, room - 1)[:room]]])
        scores[row] = part[row, top[row]]


def _check_nan(part: Floats, query: Ints) -> None:
    if part.size and np.isnan(part.max()):  # no array of flags
        _refuse_nan(part, int(query[0]))


def _refuse_nan(part: Floats, first: int) -> None:
    row, item = np.argwhere(np.isnan(part))[0]
    raise ValueError(f"top_k: the score of query {first + row}, item {item} is NaN; did training diverge?")
