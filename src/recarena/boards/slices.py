"""Parts of the queries by what is known of their items, users, histories and answers; each axis is a partition.

Popularity, activity and history are counted on the training events of the query's own fold; their limits are the same
in every fold, so that a slice means one thing on the whole page. Parent process only: answers are looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recarena.contract.answers import RankAnswers, RateAnswers
from recarena.contract.arrays import Bools, Floats, Ints, Ragged
from recarena.contract.queries import RankQueries, RateQueries
from recarena.data.prepare import Prepared

HEAD, TAIL = 0.5, 0.8  # of the training events: the head holds the first half, the tail what is past four fifths
HISTORY = (1, 5, 10, 20, 50, 100, 200)  # where the bins of history lengths begin
MOST_RATINGS = 11  # distinct values that get a slice each (half stars are ten); more are cut into fifths


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the queries.

    Attributes:
        axis: "items", "users", "history" or "answer"; the slices of one axis partition the queries.
        name: such as ``tail items (1–41 events)``.
        masks: a fold each, (q_f,) True where the query is in it; never all False.
    """

    axis: str
    name: str
    masks: tuple[Bools, ...]


def slices(folds: Sequence[Prepared], ask: str) -> list[Slice]:
    """Return the slices of an ask. An axis with one slice only would say what the whole says, and is left out.

    Rate asks: items and users by their training events, and the rating. Rank asks: the held-out items (by the lower
    median of their training events where a query has several), users where they are known, and the history's length.
    For ratings a history is as long as its user has events, so the users say it. Tampered histories have no slices:
    what judges them has no value of a single query.
    """
    axes: list[list[Slice]] = []
    asked = [fold.question.asks[ask] for fold in folds]
    events = [_events(fold) for fold in folds]
    if all(isinstance(queries, RateQueries) for queries in asked):
        items = [of_item[q.item] for (_, of_item), q in zip(events, asked, strict=True) if isinstance(q, RateQueries)]
        users = [of_user[q.user] for (of_user, _), q in zip(events, asked, strict=True) if isinstance(q, RateQueries)]
        values = [one.value for fold in folds if isinstance(one := fold.answers[ask], RateAnswers)]
        axes = [_items(items, events), _users(users, asked), _ratings(values)]
    elif all(isinstance(queries, RankQueries) for queries in asked):
        held_out = [one.relevant for fold in folds if isinstance(one := fold.answers[ask], RankAnswers)]
        items = [lower_median(of_item, one) for (_, of_item), one in zip(events, held_out, strict=True)]
        known = [
            of_user[q.user]
            for (of_user, _), q in zip(events, asked, strict=True)
            if isinstance(q, RankQueries) and q.user is not None
        ]
        lengths = [q.history.lengths for q in asked if isinstance(q, RankQueries)]
        axes = [_items(items, events), _users(known, asked) if len(known) == len(folds) else [], _history(lengths)]
    return [one for axis in axes if len(axis) > 1 for one in axis]


def lower_median(of_item: Ints, lists: Ragged) -> Ints:
    """Return (rows,) the lower median of an item's number over every row's items.

    Args:
        of_item: (n_items,) the number.
        lists: rows of item ids, none of them empty.
    """
    number, row = of_item[lists.values], lists.rows()
    ordered: Ints = number[np.lexsort((number, row))]
    median: Ints = ordered[lists.offsets[:-1] + (lists.lengths - 1) // 2]
    return median


def _events(fold: Prepared) -> tuple[Ints, Ints]:
    """Return the training events of every user, (n_users,), and of every item, (n_items,)."""
    seen = fold.question.train.interactions
    return np.bincount(seen.user, minlength=seen.n_users), np.bincount(seen.item, minlength=seen.n_items)


def _items(number: Sequence[Ints], events: Sequence[tuple[Ints, Ints]]) -> list[Slice]:
    limits = np.array([_concentration(of_item) for _, of_item in events])  # (folds, 2)
    tail, head = (int(limit) for limit in np.median(limits, axis=0).round())
    names = {0: "cold", 1: "tail", tail: "middle", head: "head"}  # a later name wins where limits coincide
    return _binned("items", number, sorted(names), [f"{names[low]} items" for low in sorted(names)])


def _concentration(of_item: Ints) -> tuple[int, int]:
    """Return the fewest events of an item before the tail begins, and of one in the head."""
    falling = np.sort(of_item)[::-1]
    share = np.cumsum(falling) / max(falling.sum(), 1)
    tail, head = (int(falling[min(int(np.searchsorted(share, part)), len(share) - 1)]) for part in (TAIL, HEAD))
    return max(tail, 2), max(head, 2)


def _users(number: Sequence[Ints], asked: Sequence[object]) -> list[Slice]:
    """Thirds of the users who are asked: a user counts once a fold, however much is asked of it."""
    active = []
    for events, queries in zip(number, asked, strict=True):
        user = queries.user if isinstance(queries, RateQueries | RankQueries) else None
        whose: Ints = user if user is not None else np.arange(len(events))
        first: Ints = np.unique(whose, return_index=True)[1]
        active.append(events[first][events[first] > 0])
    everyone = np.concatenate(active)
    if len(everyone) == 0:
        return []
    low, high = (int(limit) + 1 for limit in np.quantile(everyone, [1 / 3, 2 / 3], method="lower"))
    names: dict[int, str] = {0: "cold", 1: "light", low: "middle", high: "heavy"}
    return _binned("users", number, sorted(names), [f"{names[begin]} users" for begin in sorted(names)])


def _history(number: Sequence[Ints]) -> list[Slice]:
    return _binned("history", number, [0, *HISTORY], ["histories"] * (len(HISTORY) + 1), unit="items")


def _ratings(values: Sequence[Floats]) -> list[Slice]:
    known = np.unique(np.concatenate(values))
    if len(known) <= MOST_RATINGS:
        return [_slice("answer", f"rated {value:g}", [one == value for one in values]) for value in known]
    edges = np.unique(np.quantile(np.concatenate(values), [0.2, 0.4, 0.6, 0.8]))
    place = [np.searchsorted(edges, one, side="right") for one in values]
    names = [
        f"rated under {edges[0]:g}",
        *(f"rated {low:g} to {high:g}" for low, high in itertools.pairwise(edges)),
        f"rated {edges[-1]:g} or more",
    ]
    made = [_slice("answer", name, [one == number for one in place]) for number, name in enumerate(names)]
    return [one for one in made if any(mask.any() for mask in one.masks)]


def _binned(
    axis: str, number: Sequence[Ints], begins: Sequence[int], names: Sequence[str], unit: str = "events"
) -> list[Slice]:
    """Cut whole numbers into bins that begin at 0 and the given limits; empty bins are left out."""
    place = [np.searchsorted(begins, one, side="right") - 1 for one in number]
    made = []
    for bin_, (begin, name) in enumerate(zip(begins, names, strict=True)):
        masks = [one == bin_ for one in place]
        if any(mask.any() for mask in masks):
            last = begins[bin_ + 1] - 1 if bin_ + 1 < len(begins) else None
            made.append(_slice(axis, f"{name} ({_span(begin, last, unit)})", masks))
    return made


def _span(begin: int, last: int | None, unit: str) -> str:
    if last is None:
        return f"{begin}+ {unit}"
    if begin == last:
        return f"no {unit.removesuffix('s')}" if begin == 0 else f"{begin} {unit if begin > 1 else unit[:-1]}"
    return f"{begin}–{last} {unit}"


def _slice(axis: str, name: str, masks: Sequence[Bools]) -> Slice:
    return Slice(axis, name, tuple(masks))
