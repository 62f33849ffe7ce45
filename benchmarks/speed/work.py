"""Our side of what is measured, through the public functions: built once, then called by tests and growth curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import rows_of

from recarena import Factors, top_k
from recarena.contract.answers import RankAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.metrics import evaluate_all
from recarena.contract.queries import RankQueries
from recarena.data import interactions
from recarena.data.prepare import Prepared, prepare
from recarena.data.recipes import Benchmark, Dataset

DIMENSION = 64  # of the factors whose dot products are ranked
HISTORY, TARGETS = 101, 20  # items a user has and may not be shown, and held-out items


def preparing(file: Path, counts: dict[str, int]) -> Callable[[], Prepared]:
    """Return a function from nothing to the prepared split of an .inter file: parse, check, split 8:1:1 a user, number.

    The file is a user's own, so nothing is cached and no checksum is taken: the peer does neither.
    """
    words = dict.fromkeys(("title", "licence", "citation", "homepage"), "synthetic")
    source = {"kind": "file", "gives": ["time"], "ratings": {"path": str(file), "parser": "recbole.inter"}}
    dataset = Dataset.model_validate({"name": file.stem, **words, "sources": [source], "expect": counts})
    benchmark = Benchmark.model_validate(
        {
            **dict.fromkeys(("name", "title", "describe", "dataset"), file.stem),
            "version": 1,
            "split": {"name": "per_user_ratio", "ratios": [0.8, 0.1, 0.1], "seed": 2020},
            "columns": ["value", "time"],
            "order": "none",
            "asks": {
                "top-n": {"kind": "rank", "metrics": ["ndcg@10"], "k": 10, "exclude": "history+validation"},
            },
            "seeds": 1,
            "time_limit_s": 60,
            "memory_limit_bytes": 10**9,
        }
    )
    return lambda: prepare(benchmark, interactions.load(dataset, file.parent, say=lambda _: None).raw)[0]


def lists(n_queries: int, n_items: int, k: int) -> tuple[RankQueries, RankAnswers, np.ndarray[Any, Any]]:
    """Return queries, 20 held-out items each, and (q, k) lists."""
    nothing = Ragged.from_lengths(np.zeros(n_queries, np.int64), np.empty(0, np.int32))
    queries = RankQueries(None, nothing, None, None, k, n_items)
    relevant = np.sort(rows_of(n_queries, TARGETS, n_items, seed=1), axis=1)
    return queries, RankAnswers(_rows(relevant)), rows_of(n_queries, k, n_items, seed=2)


def judging(n_queries: int, n_items: int, k: int) -> Callable[[], dict[str, float]]:
    """Return a function that computes the mean NDCG and recall of such lists."""
    queries, answers, listed = lists(n_queries, n_items, k)
    return lambda: _means(queries, answers, listed)


class Ranking:
    """Users and items with factors, and what each user has and is asked for.

    Attributes:
        seen: (users, 101) items that may not be listed.
        held_out: (users, 20) items to find.
        users: (users, d) factors, near those of the held-out items.
        items: (n_items, d) factors.
    """

    def __init__(self, n_users: int, n_items: int, k: int = 100) -> None:
        rng = np.random.default_rng(0)
        met = rows_of(n_users, HISTORY + TARGETS, n_items)
        self.seen, self.held_out = met[:, :HISTORY], met[:, HISTORY:]
        self.items = rng.standard_normal((n_items, DIMENSION), np.float32)
        noise = rng.standard_normal((n_users, DIMENSION), np.float32)
        self.users = self.items[self.held_out].mean(axis=1) + np.float32(0.1) * noise
        history = _rows(np.sort(self.seen, axis=1))
        self.queries = RankQueries(np.arange(n_users, dtype=np.int32), history, history, None, k, n_items)
        self.answers = RankAnswers(_rows(np.sort(self.held_out, axis=1)))

    def rank(self) -> np.ndarray[Any, Any]:
        """Return the (users, k) best items."""
        return top_k(Factors(self.users, self.items), self.queries)

    def rank_and_judge(self) -> dict[str, float]:
        """Return the mean NDCG and recall of the best items."""
        return _means(self.queries, self.answers, self.rank())


def _means(queries: RankQueries, answers: RankAnswers, listed: np.ndarray[Any, Any]) -> dict[str, float]:
    k = queries.k
    values = evaluate_all(queries, answers, listed, [f"ndcg@{k}", f"recall@{k}"])
    return {f"NDCG@{k}": float(values[f"ndcg@{k}"].mean()), f"recall@{k}": float(values[f"recall@{k}"].mean())}


def _rows(table: np.ndarray[Any, Any]) -> Ragged:
    return Ragged.from_lengths(np.full(len(table), table.shape[1]), table.ravel())
