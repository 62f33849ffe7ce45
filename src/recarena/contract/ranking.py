"""Scores to lists: mask what may not be listed, take the best k, break ties by a coin that knows nothing."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from recarena.contract.arrays import Floats, Ints
from recarena.contract.products import PIECE_ROWS, in_pieces
from recarena.contract.queries import RankQueries
from recarena.contract.selection import best_of

CHUNK_FLOATS = 4 * 2**20  # scores held at once, by each thread that makes its own: 16 MiB of float32
SHARE_FLOATS = 2**18  # scores of a chunk that are worth a thread of their own
OWN_FLOATS = 2**20  # scores that a thread makes and ranks by itself at once, so that they stay in its cache


@dataclass(frozen=True, eq=False)
class Factors:
    """Scores that are inner products: of query q and item i, ``x[q] @ y[i]``. A bias is one more column.

    Attributes:
        x: (q, d) a vector for each query, float32 or float64; or a torch tensor.
        y: (n_items, d) a vector for each item, of the same type.
    """

    x: Any
    y: Any


Scores = Floats | Ints | Factors | Callable[[slice], Any]


def top_k(score: Scores, queries: RankQueries) -> Ints:
    """Return the k best items of every query, best first, never one of ``queries.exclude``.

    Equal scores are ordered by a hash of the query's number and the item's: a fair coin for every pair of items, so a
    constant score lists every allowed item with the same chance, and the same call always gives the same lists.

    Args:
        score: (n_items,) one score an item for every query; (q, n_items) one a query; ``Factors(x, y)``, of which the
            products are made chunk by chunk; or a function from a slice of queries to their (rows, n_items) scores,
            called on chunks so that the whole matrix never exists, such as
            ``lambda rows: users[queries.user[rows]] @ items.T``. torch tensors are as good as arrays, and are ranked
            on the device that they are on. NaN is an error.
        queries: what is asked.

    Returns:
        (q, k) int32 item ids; -1 at the end of a row where fewer than k items may be listed.

    Raises:
        ValueError: scores of the wrong shape, or NaN.
    """
    n_queries, n_items = len(queries), queries.n_items
    step = max(1, min(n_queries, CHUNK_FLOATS // max(1, n_items)))
    threads = _threads() if n_items * step >= 2 * SHARE_FLOATS else 1
    best = np.full((n_queries, queries.k), -1, dtype=np.int32)
    with ThreadPoolExecutor(threads) as pool:
        own_step = min(step, PIECE_ROWS * max(1, OWN_FLOATS // (PIECE_ROWS * max(1, n_items))))
        if (own := _own_source(score, n_queries, n_items, own_step)) is not None:
            _rank_own(pool, own, own_step, queries, best)
            return best
        part_of = _source(score, n_queries, n_items, step)
        for start in range(0, n_queries, step):
            rows = slice(start, min(start + step, n_queries))
            part = part_of(rows)
            shape = (rows.stop - start, n_items)
            if tuple(part.shape) != shape:
                raise ValueError(
                    f"top_k: scores of queries {start}..{rows.stop - 1} have shape {tuple(part.shape)}, expected "
                    f"{shape}: one score for each item of the catalogue"
                )
            if _is_tensor(part) and not _on_host(part):
                from recarena.contract import device_ranking  # noqa: PLC0415 - only where torch is in use

                best[rows] = device_ranking.best_of(part, queries, rows)
            else:
                _share(pool, threads, _writable(part), queries, rows, best)
    return best


def _own_source(score: Scores, n_queries: int, n_items: int, step: int) -> Callable[[slice], Any] | None:
    """Return a function from at most ``step`` queries to their scores that several threads may call at once, or None.

    There is none of a function that we were given, of tensors, and of products too long to be made in pieces.
    """
    if isinstance(score, Factors):
        _check_factors(score, n_queries, n_items)
        tensors = _is_tensor(score.x) or _is_tensor(score.y)
        return None if tensors else in_pieces(score.x, score.y, step)
    return None if callable(score) or _is_tensor(score) else _source(score, n_queries, n_items, step)


def _rank_own(
    pool: ThreadPoolExecutor, own: Callable[[slice], Any], step: int, queries: RankQueries, best: Ints
) -> None:
    """Rank chunks of queries, each from its scores to its lists in one thread: numpy lets go of the lock."""

    def rank(start: int) -> None:
        rows = slice(start, min(start + step, len(queries)))
        best[rows] = best_of(_writable(own(rows)), queries, rows)

    for _ in pool.map(rank, range(0, len(queries), step)):
        pass  # the error of the first chunk that has one is raised here, and the chunks that wait are dropped


def _source(score: Scores, n_queries: int, n_items: int, step: int) -> Callable[[slice], Any]:
    """Return a function from a slice of queries to their scores."""
    if isinstance(score, Factors):
        return _products(score, n_items, step)
    if callable(score):  # a tensor is not
        return score if not hasattr(score, "shape") else _rows_of(score, n_queries, n_items)
    return _rows_of(score if _is_tensor(score) else np.asarray(score), n_queries, n_items)


def _rows_of(score: Any, n_queries: int, n_items: int) -> Callable[[slice], Any]:
    if tuple(score.shape) not in ((n_items,), (n_queries, n_items)):
        raise ValueError(
            f"top_k: the scores have shape {tuple(score.shape)}, expected ({n_items},) or ({n_queries}, {n_items}): "
            "one score for each item of the catalogue"
        )
    if score.ndim == 2:
        return lambda rows: score[rows]
    if _is_tensor(score):
        return lambda rows: score.expand(rows.stop - rows.start, n_items)
    return lambda rows: np.broadcast_to(score, (rows.stop - rows.start, n_items))


def _check_factors(factors: Factors, n_queries: int, n_items: int) -> None:
    x, y = factors.x, factors.y
    if x.ndim != 2 or y.ndim != 2 or len(x) != n_queries or len(y) != n_items or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"top_k: the factors have shapes {tuple(x.shape)} and {tuple(y.shape)}, expected ({n_queries}, d) and "
            f"({n_items}, d): a vector for each query (such as users[queries.user]) and for each item"
        )


def _products(factors: Factors, n_items: int, step: int) -> Callable[[slice], Any]:
    x, y = factors.x, factors.y
    if _is_tensor(x):
        return lambda rows: x[rows] @ y.T
    dtype = np.result_type(x, y)
    buffer = np.empty((step, n_items), dtype)  # used again for every chunk: fresh memory is slow to get
    return lambda rows: np.matmul(x[rows], y.T, out=buffer[: rows.stop - rows.start])


def _writable(part: Any) -> Floats:
    """Return the scores as best_of wants them, without a copy where they are so already."""
    if _is_tensor(part):
        part = part.detach()
        part = (part if part.element_size() > 2 or not part.is_floating_point() else part.float()).numpy()
    array = np.asarray(part)
    dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    array = np.ascontiguousarray(array, dtype=dtype)
    return cast("Floats", array if array.flags.writeable else array.copy())


def _share(pool: ThreadPoolExecutor, threads: int, part: Floats, queries: RankQueries, rows: slice, best: Ints) -> None:
    """Rank the rows of a chunk, in several threads where there are enough of them: numpy lets go of the lock."""
    n_parts = max(1, min(threads, len(part), part.size // SHARE_FLOATS))
    cuts = [len(part) * n // n_parts for n in range(n_parts + 1)]

    def rank(low: int, high: int) -> None:
        mine = slice(rows.start + low, rows.start + high)
        best[mine] = best_of(part[low:high], queries, mine)

    if n_parts == 1:
        rank(0, len(part))
        return
    jobs = [pool.submit(rank, low, high) for low, high in itertools.pairwise(cuts)]
    errors = [error for job in jobs if (error := job.exception()) is not None]  # after all have ended
    if errors:
        raise errors[0]


def _threads() -> int:
    """Return the threads of this run: what the runner told every library, else the cores of this process."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # a tensor's class exists only where torch has been imported
    return torch is not None and isinstance(value, torch.Tensor)


def _on_host(tensor: Any) -> bool:
    return bool(tensor.device.type == "cpu")
