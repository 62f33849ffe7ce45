"""Metrics: one value per query, by one definition each (law 3), the judge's and the validation's alike.

A name is a definition: ``ndcg@10``, ``rmse``. The formulas are in four small files, by what a metric looks at:
``ratings`` (errors), ``labels`` (yes or no), ``hits`` (lists against held-out items) and ``lists`` (what is listed, hit
or not). The mean of a metric's values over queries is the number of the run (its root for rmse), exactly.

``recarena metrics explain`` and docs/metrics say which library prints the same number under which name. Nothing here
may import more than numpy.
"""

from recarena.contract.metrics.evaluation import evaluate, evaluate_all, summary
from recarena.contract.metrics.lookup import listed_in
from recarena.contract.metrics.names import Metric, parse

__all__ = ["Metric", "evaluate", "evaluate_all", "listed_in", "parse", "summary"]
