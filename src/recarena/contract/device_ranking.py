"""``top_k`` for torch tensors on a device: scores stay there, only lists come back. torch comes with the tensors.

``torch.topk`` orders equal scores as it likes, so one score more than needed is taken and rows with equal neighbours
are found on the device: ties inside the list are ordered again from what has come back, and only of rows where the last
place is tied do the scores follow. The lists are those of ``selection``, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recarena.contract.arrays import Ints, Ragged
from recarena.contract.queries import RankQueries
from recarena.contract.selection import ordered, ranked_in_full

ROWS_BACK = 64  # rows whose scores come to the host at once


def best_of(part: Any, queries: RankQueries, rows: slice) -> Ints:
    """Return the (rows, queries.k) best items, int32, of (rows, n_items) scores on a device, which are not changed.

    Raises:
        ValueError: a score is NaN.
    """
    part = part.detach()
    if part.element_size() != 8 or not part.is_floating_point():  # type of the reference: float32, else float64
        part = part.float() if part.is_floating_point() else part.double()
    strange = part.isnan()
    if bool(strange.any()):
        row, item = strange.nonzero()[0].tolist()
        raise ValueError(f"top_k: the score of query {rows.start + row}, item {item} is NaN; did training diverge?")
    n_rows, n_items = part.shape
    least = float(np.finfo(np.float64 if part.element_size() == 8 else np.float32).min)
    part = part.clamp(min=least)  # a copy; -inf is what marks an item as not allowed
    if queries.candidates is not None:
        row, item = _indices(part, queries.candidates.part(rows))
        allowed = part[row, item]
        part.fill_(-np.inf)
        part[row, item] = allowed
    if queries.exclude is not None:
        part[_indices(part, queries.exclude.part(rows))] = -np.inf

    k = min(queries.k, n_items)
    score, item = part.topk(min(k + 1, n_items), dim=1)
    equal = (score[:, 1:] == score[:, :-1]) & (score[:, 1:] > -np.inf)
    last = equal[:, k - 1] if equal.shape[1] >= k else equal.new_zeros(n_rows)
    inside, crowded = (equal.any(dim=1) & ~last).nonzero()[:, 0].cpu().numpy(), last.nonzero()[:, 0].cpu().numpy()

    query = np.arange(rows.start, rows.stop)
    best = item[:, :k].cpu().numpy().astype(np.int32)
    best[(score[:, :k] == -np.inf).cpu().numpy()] = -1
    if len(inside):
        scores, items = score[inside].cpu().numpy(), item[inside].cpu().numpy().astype(np.int32)
        best[inside] = ordered(scores, items, query[inside], k)
    for start in range(0, len(crowded), ROWS_BACK):
        some = crowded[start : start + ROWS_BACK]
        best[some] = _in_full(part[some].cpu().numpy(), query[some], k)
    out = np.full((n_rows, queries.k), -1, dtype=np.int32)
    out[:, :k] = best
    return out


def _in_full(part: Any, query: Ints, k: int) -> Ints:
    """Rank masked scores in full; what is masked is told to ``ranked_in_full`` as a list."""
    row, item = np.nonzero(np.isneginf(part))
    masked = Ragged.from_lengths(np.bincount(row, minlength=len(part)), item)
    return ranked_in_full(part, masked, query, k)


def _indices(part: Any, lists: Ragged) -> tuple[Any, Any]:
    """Return rows and items of lists as tensors on the device of the scores."""
    rows, items = part.new_tensor(lists.rows(), dtype=_long(part)), part.new_tensor(lists.values, dtype=_long(part))
    return rows, items


def _long(part: Any) -> Any:
    return part.new_empty(0).long().dtype
