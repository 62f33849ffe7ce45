"""Law 1 and law 2, end to end through the keeper: who knows all scores exactly 1, who knows nothing scores chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT

from recarena.arena import keeper
from recarena.contract.queries import RankQueries
from recarena.contract.ranking import top_k
from recarena.data.folders import benchmark_names, load_benchmark
from recarena.data.prepare import availability

BOARDS = benchmark_names(ROOT)
LIMIT = 1000  # queries of each ask: enough for chance, and a full matrix of random scores fits into memory


@pytest.fixture(params=BOARDS)
def questions(request, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    at_hand = availability(ROOT, request.param, cache=cache)
    if at_hand.state != "ready":  # no test downloads
        pytest.skip(f"{request.param}: its data are not at hand: {at_hand.why}")
    try:
        yield keeper._questions(ROOT, cache, request.param, LIMIT)
    finally:
        keeper._held.clear()


def judge(question, predictions: dict[str, np.ndarray], folder: Path) -> dict[str, dict[str, float]]:
    for ask, prediction in predictions.items():
        np.save(folder / f"{ask}.npy", prediction)
    results, _ = keeper._judge(
        question, tuple(predictions), folder, "test/it.py", folder / "seed-0.json", folder / "cache"
    )
    return {ask: result.metrics for ask, result in results.items()}


def test_an_oracle_scores_exactly_one_and_chance_scores_its_closed_form(questions, tmp_path):
    benchmark = load_benchmark(ROOT, questions[0].benchmark)
    for question in questions[:2]:
        _, held = keeper._held[question.hash]
        known, random = {}, {}
        for ask, queries in held.question.asks.items():
            answers = held.answers[ask]
            if not isinstance(queries, RankQueries):
                known[ask] = answers.value
            else:
                lists = np.full((len(queries), queries.k), -1, np.int32)
                for row, relevant in enumerate(answers.relevant):
                    lists[row, : len(relevant)] = relevant[: queries.k]
                known[ask] = lists
                random[ask] = top_k(np.random.default_rng(0).random((len(queries), queries.n_items)), queries)
        for ask, metrics in judge(question, known, tmp_path).items():
            for name, value in metrics.items():
                kind, _, k = name.partition("@")
                if kind in ("rmse", "mae"):
                    assert value == 0.0
                elif kind == "log_loss":
                    assert value < 1e-15
                elif kind == "recall":
                    n = held.answers[ask].relevant.lengths
                    assert value == pytest.approx(np.mean(np.minimum(n, int(k)) / n), abs=1e-12)
                elif kind == "precision":
                    n = held.answers[ask].relevant.lengths
                    assert value == pytest.approx(np.mean(np.minimum(n, int(k)) / int(k)), abs=1e-12)
                elif kind not in ("coverage", "gini", "novelty"):  # these look at what is listed, hit or not
                    assert value == 1.0, f"{benchmark.name} {ask} {name}: an oracle scored {value}"
        for ask, metrics in (judge(question, random, tmp_path) if random else {}).items():
            for name in metrics:
                if name.startswith("recall@"):
                    _is_chance(held, ask, metrics[name], int(name.partition("@")[2]))
                if name.startswith("hr@") and (held.answers[ask].relevant.lengths == 1).all():
                    _is_chance(held, ask, metrics[name], int(name.partition("@")[2]))


def _is_chance(held, ask: str, value: float, k: int) -> None:
    """Recall at k of a random order is k / (items that may be listed), query by query."""
    queries: RankQueries = held.question.asks[ask]
    allowed = queries.n_items - (queries.exclude.lengths if queries.exclude is not None else 0)
    if queries.candidates is not None:  # boards with candidates exclude nothing
        allowed = queries.candidates.lengths
    chance = np.minimum(k / allowed, 1.0) * np.ones(len(queries))
    # the variance of a hypergeometric share is at most that of drawing with replacement
    error = np.sqrt(np.sum(chance * (1 - chance) / held.answers[ask].relevant.lengths)) / len(queries)
    assert abs(value - chance.mean()) <= 4.5 * error + 1e-12, (value, chance.mean(), error)
