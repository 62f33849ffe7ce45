"""Records: one judged run each, as JSON a stranger can read, written whole or not at all.

A record lies at ``results/<benchmark>/<paper>.<who>/<fold->seed-<n>.json``, its values per query beside it as
``<fold->seed-<n>.<hash>.npz`` (at most 1 MB; larger ones lie in the cache), and beside it, where somebody ran it again,
``<fold->seed-<n>.receipt.json`` (``receipts.py``). ``docs/record.schema.json`` is made from
the models here.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recarena.contract.errors import RecarenaError

GIT_BYTES = 1_000_000
FORMAT = 1
RECEIPT = ".receipt.json"  # what others say who ran it again: beside the record, and none itself
NAME_LETTERS = 100  # of a row's folder; a longer name ends in a hash
Status = Literal["ok", "failed", "timeout", "skipped"]


class NewerRecordError(RecarenaError):
    """A record was written by a newer recarena: it must not be overwritten by an older one."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BenchmarkFacts(_Strict):
    """Which board the run belongs to."""

    name: str
    version: int = Field(description="of the benchmark's recipe; a record of another version is stale")
    fold: str = Field(description='name of the fold, "" where there is one only')


class ImplementationFacts(_Strict):
    """Whose code ran."""

    paper: str
    who: str
    author: str
    kind: Literal["baseline", "implementation", "peer", "submission"] = Field(
        description="submission: predictions only, made elsewhere by code that is not here"
    )
    code: str = Field(
        description="sha256 of the source that ran; a record of other code is stale. Of a submission: of its files"
    )
    departs: list[str] = Field(description="declared departures from the paper")
    deterministic: bool
    hyperparameters: dict[str, Any]
    overridden: list[str] = Field(description="names given by --set; such a run has a row of its own")


class AskResult(_Strict):
    """What the judge found for one ask."""

    queries: int
    metrics: dict[str, float]


class Cost(_Strict):
    """What the run cost, by the runner's clock."""

    load_seconds: float = Field(description="imports, until fit begins")
    fit_seconds: float
    answer_seconds: dict[str, float] = Field(description="by ask")
    wall_seconds: float = Field(description="start of the process to its end")
    peak_memory_bytes: int = Field(description="resident, whole process tree; the question's mapped pages included")
    peak_gpu_bytes: int | None = Field(description="as torch reports it; null without a GPU")
    parameters: int | None = Field(description="floats held after fit; null where there are none")


class Values(_Strict):
    """Where the values per query are."""

    file: str
    sha256: str
    place: Literal["git", "cache"] = Field(description='"git": beside the record; "cache": too large for git')


class Record(_Strict):
    """One judged run."""

    format: Literal[1] = 1
    key: str = Field(description="sha256 of question, code, hyper-parameters, environment and seed")
    benchmark: BenchmarkFacts
    question: str = Field(description="sha256 of all that the implementation was given")
    implementation: ImplementationFacts
    seed: int
    environment: dict[str, Any] = Field(description="python and the packages that the source names; part of the key")
    machine: dict[str, Any] = Field(description="for reading the costs by; not part of the key")
    isolation: Literal["process", "sandbox", "none"] = Field(description="none: a submission, which nobody ran here")
    limits: dict[str, Any] = Field(description="seconds, bytes, threads and device that the run was given")
    status: Status
    reason: str | None = Field(description="one sentence; null where status is ok")
    last_lines: list[str] = Field(description="traceback or last output of a run that failed")
    asks: dict[str, AskResult] = Field(description="empty unless status is ok")
    cost: Cost | None = Field(description="null where the run was skipped before it began, and for a submission")
    curve: list[dict[str, float]] = Field(description="what the implementation logged; never a board's number")
    values: Values | None
    test_looks: int = Field(description="how many versions of this implementation have been judged on this question")
    looked: list[str] = Field(description="those versions: hashes of code and settings")
    limited: int | None = Field(description="queries per ask under --limit; such a run is never ranked")
    commit: str | None = Field(description="of the project when the run began; null outside a git checkout")
    dirty: bool = Field(description="files other than results/ and README.md differed from that commit")
    finished_at: str = Field(description="UTC, ISO 8601")


def key(question: str, code: str, hyperparameters: Mapping[str, Any], environment: Mapping[str, Any], seed: int) -> str:
    """Return the content address of a run: what its numbers are a function of."""
    facts = [question, code, dict(hyperparameters), dict(environment), seed]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def row_name(paper: str, who: str, overrides: Mapping[str, Any]) -> str:
    """Return the folder of a row: ``mf.sgd``, or ``mf.sgd+n_factors=64`` under ``--set``."""
    changed = "".join(f"+{name}={value}" for name, value in sorted(overrides.items()))
    name = f"{paper}.{who}" + re.sub(r"[^A-Za-z0-9_.+=-]", "_", changed)
    if len(name) > NAME_LETTERS:
        name = name[: NAME_LETTERS - 13] + "-" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return name


def submission_row(paper: str, who: str) -> str:
    """Return the folder of a row of predictions only; no implementation, whatever its settings, has that name."""
    return f"{paper}.{who}+predictions"


def path_of(results: Path, benchmark: str, row: str, fold: str, seed: int, limited: int | None = None) -> Path:
    """Return where the record of a run lies."""
    folder = results / benchmark / row
    if limited is not None:
        folder /= "limited"
    return folder / (f"{fold}-seed-{seed}.json" if fold else f"seed-{seed}.json")


def write(record: Record, path: Path) -> None:
    """Write a record atomically: a reader sees the old one or the new one."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    replace(path, (text + "\n").encode())


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        RecarenaError: the file is not a record.
        NewerRecordError: a newer recarena wrote it.
    """
    try:
        data = path.read_bytes()
        return Record.model_validate_json(data)
    except OSError as error:
        raise RecarenaError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        with suppress(ValueError, TypeError, AttributeError):
            if json.loads(data).get("format", 0) > FORMAT:
                raise NewerRecordError(f"{path}: written by a newer recarena; update this one") from error
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecarenaError(
            f"{path}: not a record of this recarena: {at}: {first['msg']}; delete it and run again"
        ) from error


def paths(results: Path, benchmark: str) -> list[Path]:
    """Return the path of every record of a board, limited ones included, in a stable order."""
    return in_folder(results / benchmark)


def in_folder(folder: Path) -> list[Path]:
    """Return the path of every record below a folder, limited ones included, in a stable order."""
    return sorted(path for path in folder.glob("**/*seed-*.json") if not path.name.endswith(RECEIPT))


def looked(board: Path, paper: str, who: str, fold: str) -> set[str]:
    """Return the versions of somebody's work for a paper that have been judged on a fold, whatever their row.

    Args:
        board: folder of the benchmark's records.
        paper: as in the record.
        who: as in the record.
        fold: its name.
    """
    seen: set[str] = set()
    for row in (f"{paper}.{who}", f"{paper}.{who}+*"):
        for path in [*board.glob(f"{row}/*seed-*.json"), *board.glob(f"{row}/limited/*seed-*.json")]:
            with suppress(RecarenaError):
                record = read(path)
                if record.benchmark.fold == fold:
                    seen.update(record.looked)
    return seen


def write_values(values: Mapping[str, np.ndarray[Any, Any]], path: Path, cache: Path) -> Values:
    """Keep the values per query: beside the record if they are small enough, else in the cache.

    The file's name carries its content's hash, so that a kill between this file and its record leaves the old pair
    whole; ``tidy`` removes what no record names.

    Args:
        values: name -> (q,) array.
        path: of the record.
        cache: folder for what is too large for git.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)  # type: ignore[arg-type]
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    file = f"{path.stem}.{digest[:8]}.npz"
    small = len(data) <= GIT_BYTES
    replace((path.parent if small else cache) / file, data)
    return Values(file=file, sha256=digest, place="git" if small else "cache")


def tidy(record: Record, path: Path) -> None:
    """Remove the values of earlier records from beside a record."""
    for file in path.parent.glob(f"{path.stem}.*.npz"):
        if record.values is None or file.name != record.values.file:
            file.unlink(missing_ok=True)


def read_values(record: Record, path: Path) -> dict[str, np.ndarray[Any, Any]] | None:
    """Return the values per query that lie beside a record; None where there are none or they are too large for git.

    A board uses nothing but what is in git: it must be the same on every machine.

    Raises:
        RecarenaError: the file is missing, or is not the one that the record was written with.
    """
    if record.values is None or record.values.place != "git":
        return None
    file = path.with_name(record.values.file)
    data = file.read_bytes() if file.exists() else b""
    if hashlib.sha256(data).hexdigest() != record.values.sha256:
        what = "differs from what the record beside it was written with" if data else "is missing"
        raise RecarenaError(f"{file}: {what}; delete {path.name} and run again")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def replace(path: Path, data: bytes) -> None:
    """Write a file whole: to a draft beside it, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
