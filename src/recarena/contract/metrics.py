"""Metrics: one value per query, by one definition each (law 3), the judge's and the validation's alike.

A name is a definition: ``ndcg@10``, ``rmse``. Every formula here uses the same letters: a query asks for a list
``p_1 ... p_k``; ``R`` is the set of its held-out items; ``hit_i`` is 1 where ``p_i`` is in ``R``, else 0. A pad (-1)
is a miss, so a query whose list is all pads scores 0. A query without a held-out item has no value and is an error. A
list is taken to name no item twice, as ``judge.predictions.check`` makes sure.

docs/metrics.md says which library prints the same number under which name. Nothing here may import more than numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Bools, Floats, Ints, Ragged
from recarena.contract.errors import PredictionError, RecarenaError, did_you_mean
from recarena.contract.queries import Queries, RankQueries, RateQueries

Prediction = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["rate", "rank"]

TABLE_ITEMS = 2**22  # marks held at once by listed_in: 4 MiB


@dataclass(frozen=True)
class Metric:
    """A parsed name.

    Attributes:
        name: as in recipes and records, such as ``ndcg@10``.
        kind: the kind of ask that it judges.
        k: the cut-off; None for ratings.
        higher_is_better: False for errors.
        label: as a board prints it, such as ``NDCG@10``.
    """

    name: str
    kind: Kind
    k: int | None
    higher_is_better: bool
    label: str


def parse(name: str) -> Metric:
    """Return what a metric's name says.

    Raises:
        RecarenaError: an unknown name, or a cut-off that is missing, not wanted or not a positive whole number.
    """
    base, at, cut = name.partition("@")
    if base in _RATE:
        if at:
            raise RecarenaError(f'metric "{name}": {base} judges ratings and takes no cut-off; write "{base}"')
        return Metric(base, "rate", None, higher_is_better=False, label=_RATE[base][0])
    if base not in _RANK:
        known = [*_RATE, *(f"{b}@k" for b in _RANK)]
        meant = did_you_mean(base + "@k" if at else base, known)
        raise RecarenaError(f'unknown metric "{name}"{meant}')
    if not (cut.isascii() and cut.isdigit()) or cut.startswith("0"):
        wrong = f'"{cut}" is no cut-off' if at else "it has no cut-off"
        raise RecarenaError(f'metric "{name}": {wrong}; write how many items count, such as "{base}@10"')
    return Metric(name, "rank", int(cut), higher_is_better=True, label=f"{_RANK[base][0]}@{cut}")


def evaluate(queries: Queries, answers: Answers, prediction: Prediction, name: str) -> Floats:
    """Return (q,) float64, the metric's value for every query; see ``evaluate_all``."""
    return evaluate_all(queries, answers, prediction, [name])[name]


def evaluate_all(queries: Queries, answers: Answers, prediction: Prediction, names: Iterable[str]) -> dict[str, Floats]:
    """Return the value of every metric for every query; what the metrics share is computed once.

    Args:
        queries: what was asked, q of them.
        answers: what was held out, q rows.
        prediction: (q,) ratings; or (q, width) item ids, best first, -1 where the list is shorter. A list wider than
            a metric's cut-off is cut.
        names: of the metrics, all of the ask's kind.

    Returns:
        name -> (q,) float64: squared errors for rmse, absolute errors for mae, else a value in [0, 1]. ``summary``
        makes one number of them.

    Raises:
        RecarenaError: a metric that is unknown or of the wrong kind for the ask.
        PredictionError: a prediction of the wrong shape, narrower than a cut-off, or with ids out of range.
        ValueError: a query without an answer, which no split may make.
    """
    metrics = [parse(name) for name in names]
    kind: Kind = "rate" if isinstance(queries, RateQueries) else "rank"
    for metric in metrics:
        if metric.kind != kind:
            has = "ratings" if kind == "rate" else "lists of items"
            raise RecarenaError(
                f'metric "{metric.name}" judges a {metric.kind} ask, but this one is a {kind} ask: its predictions are '
                f"{has}; choose one of {', '.join(_RATE if kind == 'rate' else (f'{b}@k' for b in _RANK))}"
            )
    if len(answers) != len(queries):
        raise ValueError(f"{len(answers)} answers for {len(queries)} queries; the split is broken")
    if isinstance(queries, RateQueries):
        error = _errors(queries, cast("RateAnswers", answers).value, prediction)
        return {metric.name: _RATE[metric.name][1](error) for metric in metrics}
    lists = _hits(queries, cast("RankAnswers", answers).relevant, prediction)
    width = lists.hit.shape[1]
    values = {}
    for metric in metrics:
        k = metric.k or width
        if k > width:
            raise PredictionError(
                f'metric "{metric.name}": the prediction lists {width} items a query, expected at least {k}'
            )
        values[metric.name] = _RANK[metric.name.partition("@")[0]][1](Hits(lists.hit[:, :k], lists.n_relevant))
    return values


def summary(name: str, values: Floats) -> float:
    """Return the one number of a run: the mean over queries; its square root for rmse.

    Args:
        name: of the metric.
        values: (q,) as from ``evaluate``.
    """
    if len(values) == 0:
        raise ValueError(f'metric "{name}": no queries, so there is no mean')
    mean = float(np.mean(values, dtype=np.float64))
    return float(np.sqrt(mean)) if parse(name).name == "rmse" else mean


def listed_in(lists: Ragged, ids: Ints, n_items: int) -> Bools:
    """Say of every id whether its row of ``lists`` holds it.

    Marks the lists' items in a small table, a block of rows at a time: no sorting, and memory that does not grow with
    the number of queries.

    Args:
        lists: q rows of item ids in [0, n_items).
        ids: (q, width) item ids in [-1, n_items); -1 is in no list.
        n_items: size of the catalogue.

    Returns:
        (q, width) bool.
    """
    found = np.zeros(ids.shape, dtype=np.bool_)
    step = max(1, TABLE_ITEMS // max(1, n_items))
    table = np.zeros(min(step, max(1, len(ids))) * n_items, dtype=np.bool_)
    first = np.arange(step, dtype=np.int64)[:, None] * n_items  # where each row of a block starts in the table
    for start in range(0, len(ids), step):
        stop = min(start + step, len(ids))
        part = lists.part(slice(start, stop))
        marks = part.values + first[part.rows(), 0]
        block = ids[start:stop]
        table[marks] = True
        # a pad looks at its row's first item, whatever that is, and is then put right
        found[start:stop] = table[np.maximum(block, 0) + first[: stop - start]] & (block >= 0)
        table[marks] = False
    return found


@dataclass(frozen=True, eq=False)
class Hits:
    """What every list metric is made of.

    Attributes:
        hit: (q, k) bool, hit_i of every list.
        n_relevant: (q,) int64, |R|, at least 1.
    """

    hit: Bools
    n_relevant: Ints

    @property
    def k(self) -> int:
        """The cut-off."""
        return int(self.hit.shape[1])

    @property
    def count(self) -> Ints:
        """(q,) how many of the k listed items are relevant."""
        count: Ints = self.hit.sum(axis=1, dtype=np.int64)
        return count


def recall(lists: Hits) -> Floats:
    """recall@k = sum_i hit_i / |R|.

    The definition of RecBole, LightGCN, trec_eval (``recall_k``) and ranx. With |R| > k even a perfect list is below 1.
    """
    return lists.count / lists.n_relevant


def capped_recall(lists: Hits) -> Floats:
    """capped_recall@k = sum_i hit_i / min(k, |R|).

    Called Recall@R by Liang et al., "Variational Autoencoders for Collaborative Filtering" (WWW 2018), and
    "recall" by the papers that share its protocol. A perfect list scores 1. Equals recall@k where |R| <= k.
    """
    return lists.count / np.minimum(lists.n_relevant, lists.k)


def precision(lists: Hits) -> Floats:
    """precision@k = sum_i hit_i / k.

    Divides by k even where the list is shorter or |R| < k, as trec_eval's ``P_k`` does; so 1 is out of reach where
    |R| < k.
    """
    return np.divide(lists.count, lists.k)


def hit_rate(lists: Hits) -> Floats:
    """hr@k = 1 if any hit_i is 1, else 0; trec_eval's ``success_k``, RecBole's Hit@k.

    Equals recall@k where |R| = 1, which is how leave-one-out papers come to print one under the other's name.
    """
    return np.minimum(lists.count, 1).astype(np.float64)


def ndcg(lists: Hits) -> Floats:
    """ndcg@k = DCG / IDCG, DCG = sum_i hit_i / log2(i + 1), IDCG = sum_{i <= min(k, |R|)} 1 / log2(i + 1).

    Järvelin and Kekäläinen (TOIS 2002) in the form of Burges et al. (ICML 2005), with gains of 0 and 1; IDCG is cut at
    min(k, |R|), as Liang et al., RecBole, LightGCN and trec_eval (``ndcg_cut_k``) do, so a perfect list scores 1.
    """
    discount = 1.0 / np.log2(np.arange(2, lists.k + 2))
    # both sums run from left to right, so that a perfect list is exactly 1 and no list exceeds it by a rounding error
    ideal: Floats = np.cumsum(discount)[np.minimum(lists.n_relevant, lists.k) - 1]
    gained: Floats = np.cumsum(lists.hit * discount, axis=1)[:, -1]
    return gained / ideal


def mrr(lists: Hits) -> Floats:
    """mrr@k = 1 / (rank of the first hit), 0 without a hit among the k.

    The reciprocal rank of Voorhees, "The TREC-8 Question Answering Track Report" (1999), cut at k as in RecBole.
    """
    first = 1.0 / (lists.hit.argmax(axis=1) + 1)  # 1 where there is no hit, too
    return np.where(lists.hit.any(axis=1), first, 0.0)


def average_precision(lists: Hits) -> Floats:
    """map@k = sum_i hit_i * precision@i / min(k, |R|).

    RecBole's MAP@k; a perfect list scores 1. trec_eval's ``map_cut_k`` and ranx's ``map@k`` divide by |R| instead:
    theirs is ours * min(k, |R|) / |R|, the same number where |R| <= k.
    """
    so_far = np.cumsum(lists.hit, axis=1, dtype=np.int64)
    precision_at = so_far / np.arange(1, lists.k + 1)
    total: Floats = (precision_at * lists.hit).sum(axis=1)
    return total / np.minimum(lists.n_relevant, lists.k)


def squared_error(error: Floats) -> Floats:
    """Rmse = sqrt(mean of (prediction - rating)^2); the value of a query is its square."""
    return error**2


def absolute_error(error: Floats) -> Floats:
    """Mae = mean of |prediction - rating|."""
    return np.abs(error)


_RATE: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
    "rmse": ("RMSE", squared_error),
    "mae": ("MAE", absolute_error),
}
_RANK: dict[str, tuple[str, Callable[[Hits], Floats]]] = {
    "recall": ("Recall", recall),
    "capped_recall": ("Capped recall", capped_recall),
    "precision": ("Precision", precision),
    "hr": ("HR", hit_rate),
    "ndcg": ("NDCG", ndcg),
    "mrr": ("MRR", mrr),
    "map": ("MAP", average_precision),
}


def _errors(queries: RateQueries, rating: Floats, prediction: Prediction) -> Floats:
    """(q,) float64, prediction - rating."""
    if prediction.shape != (len(queries),):
        raise PredictionError(
            f"the prediction has shape {prediction.shape}, expected ({len(queries)},): a rating for each query"
        )
    return prediction.astype(np.float64) - rating.astype(np.float64)


def _hits(queries: RankQueries, relevant: Ragged, prediction: Prediction) -> Hits:
    """Look every listed item up among the held-out ones."""
    n_relevant = relevant.lengths
    if (n_relevant == 0).any():
        empty = int(np.argmin(n_relevant))
        raise ValueError(f"query {empty} has no held-out item, so no metric has a value for it; the split is broken")
    if prediction.ndim != 2 or len(prediction) != len(queries) or prediction.dtype.kind not in "iu":
        raise PredictionError(
            f"the prediction is {prediction.dtype} of shape {prediction.shape}, expected whole item ids of shape "
            f"({len(queries)}, {queries.k}): a list for each query; recarena.top_k makes one of scores"
        )
    if prediction.size and not (int(prediction.min()) >= -1 and int(prediction.max()) < queries.n_items):
        raise PredictionError(
            f"the prediction has ids from {prediction.min()} to {prediction.max()}, expected 0 to "
            f"{queries.n_items - 1}, and -1 where a list is shorter"
        )
    return Hits(listed_in(relevant, prediction.astype(np.int64, copy=False), queries.n_items), n_relevant)
