"""A smaller question for a quick look: a few queries of every ask. Such a run is never ranked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Ints
from recarena.contract.queries import DetectQueries, Queries, RankQueries, RateQueries
from recarena.contract.questions import Question

SEED = 0


class Smaller(TypedDict):
    """The two fields that change."""

    question: Question
    answers: dict[str, Answers]


def limited(question: Question, answers: Mapping[str, Answers], limit: int) -> Smaller:
    """Return the same training data with at most ``limit`` queries of every ask, drawn at random with a fixed seed."""
    asks: dict[str, Queries] = {}
    kept: dict[str, Answers] = {}
    for name, queries in question.asks.items():
        rng = np.random.default_rng(SEED)
        rows = np.sort(rng.permutation(len(queries))[:limit])
        asks[name] = _some(queries, rows)
        kept[name] = _some_answers(answers[name], rows)
    return {"question": Question(question.train, asks), "answers": kept}


def _some(queries: Queries, rows: Ints) -> Queries:
    if isinstance(queries, RateQueries):
        return RateQueries(queries.user[rows], queries.item[rows], None if queries.time is None else queries.time[rows])
    history = queries.history.take(rows)
    if isinstance(queries, DetectQueries):
        return DetectQueries(history, queries.n_items)
    exclude = (
        history
        if queries.exclude is queries.history
        else (None if queries.exclude is None else queries.exclude.take(rows))
    )
    return RankQueries(
        user=None if queries.user is None else queries.user[rows],
        history=history,
        exclude=exclude,
        candidates=None if queries.candidates is None else queries.candidates.take(rows),
        k=queries.k,
        n_items=queries.n_items,
    )


def _some_answers(answers: Answers, rows: Ints) -> Answers:
    if isinstance(answers, RateAnswers):
        return RateAnswers(answers.value[rows])
    return RankAnswers(answers.relevant.take(rows), answers.popularity)
