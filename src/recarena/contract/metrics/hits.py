"""Lists against held-out items. Every value lies in [0, 1], and the mean over queries is the number.

Every formula uses the same letters: a query asks for a list ``p_1 ... p_k``; ``R`` is the set of its held-out items;
``hit_i`` is 1 where ``p_i`` is in ``R``, else 0. A pad (-1) is a miss, so a query whose list is all pads scores 0. A
list is taken to name no item twice, as ``judge.predictions.check`` makes sure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recarena.contract.arrays import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class Hits:
    """The hits of all lists, one after another, each list's from top to bottom.

    Attributes:
        query: (h,) whose list each hit is in; never falls.
        rank: (h,) its place in the list, from 1.
        n_relevant: (q,) |R| of every query, at least 1.
        k: the cut-off.
    """

    query: Ints
    rank: Ints
    n_relevant: Ints
    k: int

    @classmethod
    def of(cls, hit: Bools, n_relevant: Ints) -> Hits:
        """Find the hits in (q, k) bool, hit_i of every list."""
        k = hit.shape[1]
        query, place = np.divmod(np.flatnonzero(hit), max(k, 1))
        return cls(query, place + 1, n_relevant, k)

    def cut(self, k: int) -> Hits:
        """Keep what lies above a cut-off."""
        if k == self.k:
            return self
        above = self.rank <= k
        return Hits(self.query[above], self.rank[above], self.n_relevant, k)

    @cached_property
    def count(self) -> Ints:
        """(q,) how many of the k listed items are relevant."""
        count: Ints = np.bincount(self.query, minlength=len(self.n_relevant))
        return count

    def total(self, gain: Floats) -> Floats:
        """(q,) float64, the sum of each list's gains, (h,), added from the top of the list down."""
        total: Floats = np.bincount(self.query, weights=gain, minlength=len(self.n_relevant)).astype(np.float64)
        return total

    @property
    def possible(self) -> Ints:
        """(q,) min(k, |R|), how many hits a perfect list has."""
        return np.minimum(self.n_relevant, self.k)


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
    return lists.count / lists.possible


def precision(lists: Hits) -> Floats:
    """precision@k = sum_i hit_i / k.

    Divides by k even where the list is shorter or |R| < k, as trec_eval's ``P_k`` does; so 1 is out of reach where
    |R| < k.
    """
    return np.divide(lists.count, lists.k)


def hr(lists: Hits) -> Floats:
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
    # both sums run from the top down, so that a perfect list is exactly 1 and no list exceeds it by a rounding error
    ideal: Floats = np.cumsum(discount)[lists.possible - 1]
    return lists.total(discount[lists.rank - 1]) / ideal


def mrr(lists: Hits) -> Floats:
    """mrr@k = 1 / (rank of the first hit), 0 without a hit among the k.

    The reciprocal rank of Voorhees, "The TREC-8 Question Answering Track Report" (1999), cut at k as in RecBole.
    """
    first = np.diff(lists.query, prepend=-1) > 0
    value = np.zeros(len(lists.n_relevant))
    value[lists.query[first]] = 1.0 / lists.rank[first]
    return value


def average_precision(lists: Hits) -> Floats:
    """map@k = sum_i hit_i * precision@i / min(k, |R|).

    RecBole's MAP@k; a perfect list scores 1. trec_eval's ``map_cut_k`` and ranx's ``map@k`` divide by |R| instead:
    theirs is ours * min(k, |R|) / |R|, the same number where |R| <= k.
    """
    before = np.cumsum(lists.count) - lists.count  # (q,) hits in earlier lists
    so_far = np.arange(1, len(lists.query) + 1) - before[lists.query]  # (h,) hits down to this one, itself included
    return lists.total(so_far / lists.rank) / lists.possible
