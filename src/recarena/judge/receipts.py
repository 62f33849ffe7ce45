"""Receipts: what somebody else's machine says after running a record again. Beside the record, never in it.

``results/<benchmark>/<row>/<fold->seed-<n>.receipt.json`` holds one receipt a person. ACM's words: a teammate's re-run
of the same code is a *reproduction* (different team, same experimental setup), the author's own re-run a *repetition*,
and an implementation from scratch is a *replication*, which is a row of its own and needs no receipt.
(Artifact Review and Badging, version 1.1.)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recarena.contract.errors import RecarenaError
from recarena.judge import records
from recarena.judge.records import Record

TOLERANCE = 1e-4  # of a metric: four decimals are what a board shows
Verdict = Literal["reproduced", "differs", "cannot"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Receipt(_Strict):
    """What came of running one record again."""

    record: str = Field(description="key of the record")
    record_sha256: str = Field(description="of the record's file; a receipt for another one says nothing")
    who: str = Field(description="the name that the person gave; git says who committed it")
    kind: Literal["reproduction", "repetition"] = Field(description="repetition: by the author of the code")
    verdict: Verdict
    reason: str | None = Field(description="one sentence; null where it was reproduced")
    metrics_difference: float | None = Field(description="largest absolute difference of a metric; null: no new number")
    values_difference: float | None = Field(
        description="largest absolute difference of a value per query; null where either side's are not at hand"
    )
    values_equal: bool | None = Field(description="values per query are the same to the byte; null as above")
    tolerance: float = Field(description="of a metric's difference, times the metric's size where that is above 1")
    environment_differs: dict[str, list[str | None]] = Field(
        description="name -> [recorded, here]; empty where interpreter and packages are the recorded ones"
    )
    machine: dict[str, Any]
    commit: str = Field(description="that the code came from: the record's own")
    judged_by: str | None = Field(description="commit of the project that ran and judged it; + where it had changes")
    finished_at: str = Field(description="UTC, ISO 8601")


class Receipts(_Strict):
    """The file: one receipt a person, by name."""

    format: Literal[1] = 1
    receipts: tuple[Receipt, ...]


def path_of(record: Path) -> Path:
    """Return where the receipts of a record lie."""
    return record.with_name(record.stem + records.RECEIPT)


def read(record: Path) -> tuple[Receipt, ...]:
    """Return the receipts that lie beside a record and are about that very file; none where there are none.

    Raises:
        RecarenaError: the file is none of receipts.
    """
    path = path_of(record)
    if not path.is_file():
        return ()
    digest = hashlib.sha256(record.read_bytes()).hexdigest()
    return tuple(one for one in _all(path) if one.record_sha256 == digest)


def write(receipt: Receipt, record: Path) -> None:
    """Put a receipt beside its record: over the same person's, and over those that were about an older record."""
    path = path_of(record)
    kept = {one.who: one for one in read(record)} if path.is_file() else {}
    kept[receipt.who] = receipt
    made = Receipts(receipts=tuple(kept[name] for name in sorted(kept)))
    text = json.dumps(made.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    records.replace(path, (text + "\n").encode())


def differences(
    old: Record,
    new: Record,
    old_values: Mapping[str, np.ndarray[Any, Any]] | None,
    new_values: Mapping[str, np.ndarray[Any, Any]] | None,
) -> tuple[float, float | None, bool]:
    """Return the largest absolute difference of a metric and of a value per query, and whether metrics agree.

    Args:
        old: the record.
        new: what came of running it again.
        old_values: name -> (q,) its values per query; None where they are not at hand.
        new_values: likewise.

    Returns:
        The difference of the metrics; that of the values, None where they cannot be compared; whether every metric is
        within ``TOLERANCE``, times its size where that is above 1. Asks, metrics, shapes or not-numbers that one side
        has and the other has not are an infinite difference.
    """
    metrics = {(ask, name): value for ask, one in old.asks.items() for name, value in one.metrics.items()}
    again = {(ask, name): value for ask, one in new.asks.items() for name, value in one.metrics.items()}
    worst, agree = 0.0, metrics.keys() <= again.keys()
    for name, value in metrics.items():
        gap = abs(value - again[name]) if name in again else float("inf")
        gap = float("inf") if math.isnan(gap) else gap
        worst, agree = max(worst, gap), agree and gap <= TOLERANCE * max(1.0, abs(value))
    return worst, _values_difference(old_values, new_values), agree


def _values_difference(
    old: Mapping[str, np.ndarray[Any, Any]] | None, new: Mapping[str, np.ndarray[Any, Any]] | None
) -> float | None:
    if old is None or new is None:
        return None
    worst = 0.0
    for name, values in old.items():
        if name not in new or new[name].shape != values.shape:
            return float("inf")
        one, other = values.astype(np.float64), new[name].astype(np.float64)
        both_nan = np.isnan(one) & np.isnan(other)
        gap = np.where(both_nan, 0.0, np.abs(one - other))
        worst = max(worst, float(np.where(np.isnan(gap), np.inf, gap).max(initial=0.0)))
    return worst


def summary(receipts: Sequence[Receipt], runs: int) -> str:
    """Return who ran a row again and what came of it, in words; "" where nobody else has.

    Args:
        receipts: of all its runs.
        runs: how many records the row has.
    """
    told = []
    for who in sorted({one.who for one in receipts if one.kind == "reproduction"}):
        own = [one for one in receipts if one.who == who and one.kind == "reproduction"]
        verdicts = [one.verdict for one in own]
        of = f"{verdicts.count('reproduced')} of {runs} {'run' if runs == 1 else 'runs'}"
        if "differs" in verdicts:
            told.append(f"differs for {who} ({verdicts.count('differs')} of {runs} {'run' if runs == 1 else 'runs'})")
        elif "reproduced" in verdicts:
            other = ", other packages" if any(one.environment_differs for one in own) else ""
            told.append(f"verified by {who} ({of}{other})")
    return "; ".join(told)


def _all(path: Path) -> tuple[Receipt, ...]:
    try:
        return Receipts.model_validate_json(path.read_bytes()).receipts
    except (OSError, ValidationError) as error:
        raise RecarenaError(f"{path}: not a file of receipts; delete it and verify again") from error
