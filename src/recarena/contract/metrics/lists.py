"""What is listed, hit or not: how much of the catalogue, how evenly, how little known.

These are numbers about all lists together, written as a sum over listed items of a weight that an item has: a query's
value is the sum over its own list, scaled so that the mean over queries is the number exactly. A pad is no item.

A coverage or a Gini index depends on how many lists there are, so an interval made from these values says how unevenly
the queries contribute, and not what other queries, or more of them, would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import RecarenaError


@dataclass(frozen=True, eq=False)
class Lists:
    """The lists of all queries.

    Attributes:
        item: (q, k) ids, best first, -1 where a list is shorter.
        n_items: size of the catalogue.
        popularity: (n_items,) in how many training rows each item occurs, or None.
    """

    item: Ints
    n_items: int
    popularity: Ints | None

    def times_listed(self) -> Ints:
        """(n_items,) in how many lists each item occurs."""
        counts: Ints = np.bincount(self.item.ravel() + 1, minlength=self.n_items + 1)[1:]
        return counts

    def total(self, weight: Floats) -> Floats:
        """(q,) float64, the sum of the weights, (n_items,), of each list's items."""
        pad = np.append(weight, 0.0)  # which is what -1 finds
        total: Floats = pad[self.item].sum(axis=1)
        return total


def coverage(lists: Lists) -> Floats:
    """coverage@k = |items in at least one list| / n_items; Herlocker et al. (TOIS 2004, section 4.1).

    The value of a query: each of its items gives 1 / (the number of lists it is in), times q / n_items.
    """
    times = lists.times_listed()
    return lists.total(len(lists.item) / lists.n_items / np.maximum(times, 1))


def gini(lists: Lists) -> Floats:
    """gini@k = sum_i (2 r_i - n - 1) c_i / (n sum_i c_i), with c_i the lists that item i is in and r_i its place.

    The Gini coefficient of the counts over all n items of the catalogue, ranked upwards from r = 1: 0 where all are
    listed equally often, near 1 where few items fill all lists. Equal counts share their mean place, which leaves the
    sum as it is. Without any item in any list it is 0. See Fleder and Hosanagar (Management Science 2009).
    """
    times = lists.times_listed()
    n, total = lists.n_items, times.sum()
    _, group, size = np.unique(times, return_inverse=True, return_counts=True)
    place = (np.cumsum(size) - (size - 1) / 2)[group]
    return lists.total((2 * place - n - 1) * (len(lists.item) / (n * max(total, 1))))


def novelty(lists: Lists) -> Floats:
    """novelty@k = mean over the items of a list of -log2 p(i), p(i) = item i's share of the training rows; in bits.

    The mean self-information of Zhou et al. (PNAS 2010) with p(i) of the free discovery model of Vargas and Castells
    (RecSys 2011), whose expected free discovery it is without discount and relevance. Zhou divides by users instead of
    rows: theirs is ours less log2(rows / users), for every list alike. An item without a training row counts as if it
    had one. A list without items has 0.
    """
    if lists.popularity is None:
        raise RecarenaError(
            'metric "novelty" needs to know how often each item occurs in training, but the answers carry no '
            "popularity; it is judged on test asks, or pass RankAnswers(relevant, popularity)"
        )
    if lists.popularity.shape != (lists.n_items,):
        raise ValueError(f"popularity has shape {lists.popularity.shape}, expected ({lists.n_items},)")
    rows = max(int(lists.popularity.sum()), 1)
    bits = np.log2(rows) - np.log2(np.maximum(lists.popularity, 1))
    listed: Ints = np.count_nonzero(lists.item >= 0, axis=1)
    return lists.total(bits) / np.maximum(listed, 1)
