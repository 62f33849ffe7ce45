"""Queries, answers and a prediction to one value per query and metric, and from those to a run's number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import PredictionError, RecarenaError
from recarena.contract.metrics import hits, labels, lists, ratings
from recarena.contract.metrics.lookup import listed_in
from recarena.contract.metrics.names import Kind, Metric, known, parse
from recarena.contract.queries import Queries, RankQueries

Prediction = np.ndarray[Any, np.dtype[Any]]

# name -> (prediction, held-out rating), both (q,) float64 -> (q,)
OF_RATINGS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "rmse": ratings.rmse,
    "mae": ratings.mae,
    "auc": labels.auc,
    "log_loss": labels.log_loss,
}
OF_HITS: dict[str, Callable[[hits.Hits], Floats]] = {
    "recall": hits.recall,
    "capped_recall": hits.capped_recall,
    "precision": hits.precision,
    "hr": hits.hr,
    "ndcg": hits.ndcg,
    "mrr": hits.mrr,
    "map": hits.average_precision,
}
OF_LISTS: dict[str, Callable[[lists.Lists], Floats]] = {
    "coverage": lists.coverage,
    "gini": lists.gini,
    "novelty": lists.novelty,
}


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
        name -> (q,) float64: squared errors for rmse, pseudo-values for auc, shares of the whole for coverage and gini.
        ``summary`` makes one number of them.

    Raises:
        RecarenaError: a metric that is unknown, of the wrong kind for the ask, or that these answers cannot feed.
        PredictionError: a prediction of the wrong shape, narrower than a cut-off, or with ids or values out of range.
        ValueError: a query without an answer, which no split may make.
    """
    metrics = [parse(name) for name in names]
    kind: Kind = "rank" if isinstance(queries, RankQueries) else "rate"
    for metric in metrics:
        if metric.kind != kind:
            has = "ratings" if kind == "rate" else "lists of items"
            raise RecarenaError(
                f'metric "{metric.name}" judges a {metric.kind} ask, but this one is a {kind} ask: its predictions are '
                f"{has}; choose one of {', '.join(known(kind))}"
            )
    if len(answers) != len(queries):
        raise ValueError(f"{len(answers)} answers for {len(queries)} queries; the split is broken")
    if not isinstance(queries, RankQueries):
        if prediction.shape != (len(queries),):
            raise PredictionError(
                f"the prediction has shape {prediction.shape}, expected ({len(queries)},): a rating for each query"
            )
        guess, truth = prediction.astype(np.float64), cast("RateAnswers", answers).value.astype(np.float64)
        return {metric.name: OF_RATINGS[metric.name](guess, truth) for metric in metrics}
    return _of_lists(queries, cast("RankAnswers", answers), _checked(queries, prediction), metrics)


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


def _of_lists(queries: RankQueries, answers: RankAnswers, item: Ints, metrics: list[Metric]) -> dict[str, Floats]:
    n_relevant = answers.relevant.lengths
    if (n_relevant == 0).any():
        empty = int(np.argmin(n_relevant))
        raise ValueError(f"query {empty} has no held-out item, so no metric has a value for it; the split is broken")
    width = item.shape[1]
    found: hits.Hits | None = None
    values = {}
    for metric in metrics:
        base, k = metric.name.partition("@")[0], metric.k or width
        if k > width:
            raise PredictionError(
                f'metric "{metric.name}": the prediction lists {width} items a query, expected at least {k}'
            )
        if base in OF_LISTS:
            values[metric.name] = OF_LISTS[base](lists.Lists(item[:, :k], queries.n_items, answers.popularity))
            continue
        if found is None:  # every item is looked up once
            found = hits.Hits.of(listed_in(answers.relevant, item, queries.n_items), n_relevant)
        values[metric.name] = OF_HITS[base](found.cut(k))
    return values


def _checked(queries: RankQueries, prediction: Prediction) -> Ints:
    """Return the (q, width) lists, which must hold ids of the catalogue or pads."""
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
    return prediction if prediction.dtype in (np.int32, np.int64) else prediction.astype(np.int64)
