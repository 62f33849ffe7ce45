"""Names of metrics: what each one judges, which way is better, how a board prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recarena.contract.errors import RecarenaError, did_you_mean

Kind = Literal["rate", "rank"]


@dataclass(frozen=True)
class Metric:
    """A parsed name.

    Attributes:
        name: as in recipes and records, such as ``ndcg@10``.
        kind: the kind of ask that it judges.
        k: the cut-off; None for ratings.
        higher_is_better: False for errors.
        label: as a board prints it, such as ``NDCG@10``.
    """

    name: str
    kind: Kind
    k: int | None
    higher_is_better: bool
    label: str


# base -> label, whether higher is better
RATE = {
    "rmse": ("RMSE", False),
    "mae": ("MAE", False),
    "auc": ("AUC", True),
    "log_loss": ("Log loss", False),
}
RANK = {
    "recall": ("Recall", True),
    "capped_recall": ("Capped recall", True),
    "precision": ("Precision", True),
    "hr": ("HR", True),
    "ndcg": ("NDCG", True),
    "mrr": ("MRR", True),
    "map": ("MAP", True),
    "coverage": ("Coverage", True),
    "gini": ("Gini", False),
    "novelty": ("Novelty", True),
}


def parse(name: str) -> Metric:
    """Return what a metric's name says.

    Raises:
        RecarenaError: an unknown name, or a cut-off that is missing, not wanted or not a positive whole number.
    """
    base, at, cut = name.partition("@")
    if base in RATE:
        label, higher_is_better = RATE[base]
        if at:
            raise RecarenaError(f'metric "{name}": {base} judges ratings and takes no cut-off; write "{base}"')
        return Metric(base, "rate", None, higher_is_better, label)
    if base not in RANK:
        meant = did_you_mean(base + "@k" if at else base, known("rate") + known("rank"))
        raise RecarenaError(f'unknown metric "{name}"{meant}')
    if not (cut.isascii() and cut.isdigit()) or cut.startswith("0"):
        wrong = f'"{cut}" is no cut-off' if at else "it has no cut-off"
        raise RecarenaError(f'metric "{name}": {wrong}; write how many items count, such as "{base}@10"')
    label, higher_is_better = RANK[base]
    return Metric(name, "rank", int(cut), higher_is_better, f"{label}@{cut}")


def known(kind: Kind) -> list[str]:
    """Return the names of a kind, ``@k`` standing for a cut-off."""
    return [*RATE] if kind == "rate" else [f"{base}@k" for base in RANK]
