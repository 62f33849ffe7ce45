"""Splits: which rows are for learning, which are asked about. Row numbers in, row numbers out; no id is renumbered.

``docs/splits.md`` draws each of them on six users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recarena.data.splits.drawing import draw
from recarena.data.splits.global_time import global_time
from recarena.data.splits.held_out_users import activity_shift, held_out_users
from recarena.data.splits.kfold import kfold
from recarena.data.splits.leave_last_out import leave_last_out
from recarena.data.splits.official import official_files, official_folds, sampled_candidates
from recarena.data.splits.per_user_ratio import per_user_ratio, ratio_counts, row_ratio
from recarena.data.splits.rows import NOTHING, Held, RowSplit

__all__ = [
    "NOTHING",
    "SPLITS",
    "Held",
    "RowSplit",
    "activity_shift",
    "draw",
    "global_time",
    "held_out_users",
    "kfold",
    "leave_last_out",
    "official_files",
    "official_folds",
    "per_user_ratio",
    "ratio_counts",
    "row_ratio",
    "sampled_candidates",
]

SPLITS: Mapping[str, Callable[..., list[RowSplit]]] = {
    "official_folds": official_folds,
    "official_files": official_files,
    "sampled_candidates": sampled_candidates,
    "kfold": kfold,
    "per_user_ratio": per_user_ratio,
    "row_ratio": row_ratio,
    "leave_last_out": leave_last_out,
    "held_out_users": held_out_users,
    "activity_shift": activity_shift,
    "global_time": global_time,
}
