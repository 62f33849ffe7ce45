"""Single queries in words: who asked, what the true answer was, what both made of it."""

from __future__ import annotations

from dataclasses import dataclass

from recarena.contract.answers import RateAnswers
from recarena.contract.queries import RankQueries, RateQueries
from recarena.data.prepare import Prepared

EXAMPLES = 10
TITLES = 3  # of the held-out items, the rest is counted


@dataclass(frozen=True)
class Example:
    """One query.

    Attributes:
        fold: its name.
        query: its number there.
        user: raw id, or None where the user was held out and has no number.
        history: training events of the user, or length of the history shown.
        items: titles (raw ids where there are none) of what was asked about, or of some of the held-out items.
        more: held-out items that are not named.
        answer: the true rating, None for lists.
        prediction: of both, mean over seeds; None where only a metric's value is kept.
        value: of the first metric, of both, mean over seeds.
    """

    fold: str
    query: int
    user: str | None
    history: int
    items: tuple[str, ...]
    more: int
    answer: float | None
    prediction: tuple[float | None, float | None]
    value: tuple[float, float]


def example(
    fold: Prepared, ask: str, query: int, value: tuple[float, float], error: tuple[float | None, float | None]
) -> Example:
    """Put a query into words; ``error`` is prediction - answer where the records keep it."""
    queries, answers, known = fold.question.asks[ask], fold.answers[ask], fold.catalogue
    user: int | None = None
    answer: float | None = None
    if isinstance(queries, RateQueries):
        user, items = int(queries.user[query]), queries.item[query : query + 1]
        seen = fold.question.train.interactions
        history = int((seen.user == user).sum())
    elif isinstance(queries, RankQueries) and not isinstance(answers, RateAnswers):
        user = int(queries.user[query]) if queries.user is not None else None
        items, history = answers.relevant[query], int(queries.history.lengths[query])
    else:
        raise TypeError(f'ask "{ask}" has no examples: its histories are made up')
    if isinstance(answers, RateAnswers):
        answer = float(answers.value[query])
    raw = [known.item_ids[item] for item in items[:TITLES]]
    said = [None if one is None or answer is None else answer + float(one) for one in error]
    return Example(
        fold=fold.name,
        query=query,
        user=None if user is None else str(known.user_ids[user]),
        history=history,
        items=tuple(known.titles.get(id_, f"item {id_}") for id_ in raw),
        more=len(items) - len(raw),
        answer=answer,
        prediction=(said[0], said[1]),
        value=value,
    )
