"""A question as a folder of plain arrays, and back; its hash. No pickle: .npy arrays and one JSON file (law 8).

    question.json        names, sizes, kinds of the asks; everything that is not an array
    train.user.npy ...   one file an array, memory-mapped when read, so seeds and folds share them

Any language that reads .npy and JSON can play: ``docs/worker-folder.md`` describes the files one by one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.features import Features
from recarena.contract.queries import DetectQueries, Interactions, Queries, RankQueries, RateQueries
from recarena.contract.questions import Question, Train
from recarena.contract.validation import ValidationAsk

FORMAT = 1
Arrays = dict[str, np.ndarray[Any, Any]]
Meta = dict[str, Any]


def flatten(question: Question) -> tuple[Meta, Arrays]:
    """Return a question as JSON-able facts and named arrays."""
    arrays: Arrays = {}
    rows = question.train.interactions
    _put(arrays, "train", user=rows.user, item=rows.item, value=rows.value, time=rows.time)
    validation: Meta = {}
    for name, ask in question.train.validation.items():
        at = f"validation.{name}"
        validation[name] = _put_queries(arrays, at, ask.queries) | {"metric": ask.metric}
        _put_answers(arrays, f"{at}.answers", ask.answers)
    asks = {name: _put_queries(arrays, f"asks.{name}", queries) for name, queries in question.asks.items()}
    meta = {
        "format": FORMAT,
        "train": {"n_users": rows.n_users, "n_items": rows.n_items},
        "validation": validation,
        "asks": asks,
    }
    sides = {"users": question.train.users, "items": question.train.items}
    named = {side: _put_features(arrays, f"train.{side}", about) for side, about in sides.items() if about is not None}
    if named:
        meta["features"] = named
    meta["arrays"] = sorted(arrays)
    return meta, arrays


def digest(meta: Meta, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Return the sha256 of everything in a question: facts, names, types, shapes and bytes."""
    total = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        total.update(array.data.cast("B") if array.size else b"")
    return total.hexdigest()


def question_hash(question: Question) -> str:
    """Return the sha256 that names a question: two questions with the same hash are the same to the byte."""
    return digest(*flatten(question))


def write_question(question: Question, folder: Path) -> None:
    """Write a question into an empty folder."""
    meta, arrays = flatten(question)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    (folder / "question.json").write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")


def read_question(folder: Path) -> Question:
    """Read a question; its arrays are memory-mapped and read-only."""
    meta, arrays = _read(folder)
    rows = Interactions(
        user=arrays["train.user"],
        item=arrays["train.item"],
        value=arrays.get("train.value"),
        time=arrays.get("train.time"),
        **meta["train"],
    )
    validation = {
        name: ValidationAsk(
            queries=_get_queries(arrays, f"validation.{name}", about),
            answers=_get_answers(arrays, f"validation.{name}.answers", about["kind"]),
            metric=about["metric"],
        )
        for name, about in meta["validation"].items()
    }
    asks = {name: _get_queries(arrays, f"asks.{name}", about) for name, about in meta["asks"].items()}
    sides = {side: _get_features(arrays, f"train.{side}", names) for side, names in meta.get("features", {}).items()}
    return Question(Train(rows, validation, sides.get("users"), sides.get("items")), asks)


def folder_hash(folder: Path) -> str:
    """Return the hash of the question that a folder holds now."""
    return digest(*_read(folder))


def _read(folder: Path) -> tuple[Meta, Arrays]:
    meta = json.loads((folder / "question.json").read_text(encoding="utf-8"))
    if meta["format"] != FORMAT:
        raise ValueError(f"{folder}: question format {meta['format']}, this recarena reads {FORMAT}")
    arrays: Arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in meta["arrays"]
    }
    return meta, arrays


def _put(arrays: Arrays, at: str, /, **named: np.ndarray[Any, Any] | None) -> None:
    arrays.update({f"{at}.{name}": array for name, array in named.items() if array is not None})


def _put_ragged(arrays: Arrays, at: str, ragged: Ragged) -> None:
    _put(arrays, at, offsets=ragged.offsets, values=ragged.values)


def _put_features(arrays: Arrays, at: str, features: Features) -> Meta:
    for kind, columns in (("category", features.category), ("number", features.number), ("labels", features.labels)):
        _put(arrays, f"{at}.{kind}", **columns)
    for name, rows in features.tags.items():
        _put_ragged(arrays, f"{at}.tags.{name}", rows)
    return {kind: sorted(getattr(features, kind)) for kind in ("category", "tags", "number", "labels")}


def _get_features(arrays: Arrays, at: str, names: Meta) -> Features:
    def of(kind: str) -> Arrays:
        return {name: arrays[f"{at}.{kind}.{name}"] for name in names[kind]}

    tags = {name: _get_ragged(arrays, f"{at}.tags.{name}") for name in names["tags"]}
    return Features(of("category"), tags, of("number"), of("labels"))


def _put_queries(arrays: Arrays, at: str, queries: Queries) -> Meta:
    if isinstance(queries, RateQueries):
        _put(arrays, at, user=queries.user, item=queries.item, time=queries.time)
        return {"kind": "rate"}
    if isinstance(queries, DetectQueries):
        _put_ragged(arrays, f"{at}.history", queries.history)
        return {"kind": "detect", "n_items": queries.n_items}
    _put(arrays, at, user=queries.user)
    if queries.candidates is not None:
        _put_ragged(arrays, f"{at}.candidates", queries.candidates)
    _put_ragged(arrays, f"{at}.history", queries.history)
    exclude = "nothing"
    if queries.exclude is queries.history:
        exclude = "history"
    elif queries.exclude is not None:
        exclude = "own"
        _put_ragged(arrays, f"{at}.exclude", queries.exclude)
    return {"kind": "rank", "k": queries.k, "n_items": queries.n_items, "exclude": exclude}


def _get_ragged(arrays: Arrays, at: str) -> Ragged:
    return Ragged(arrays[f"{at}.offsets"], arrays[f"{at}.values"])


def _get_queries(arrays: Arrays, at: str, about: Meta) -> Queries:
    if about["kind"] == "rate":
        return RateQueries(arrays[f"{at}.user"], arrays[f"{at}.item"], arrays.get(f"{at}.time"))
    history = _get_ragged(arrays, f"{at}.history")
    if about["kind"] == "detect":
        return DetectQueries(history, about["n_items"])
    exclude: dict[str, Callable[[], Ragged | None]] = {
        "nothing": lambda: None,
        "history": lambda: history,
        "own": lambda: _get_ragged(arrays, f"{at}.exclude"),
    }
    return RankQueries(
        user=arrays.get(f"{at}.user"),
        history=history,
        exclude=exclude[about["exclude"]](),
        candidates=_get_ragged(arrays, f"{at}.candidates") if f"{at}.candidates.values" in arrays else None,
        k=about["k"],
        n_items=about["n_items"],
    )


def _put_answers(arrays: Arrays, at: str, answers: Answers) -> None:
    if isinstance(answers, RateAnswers):
        _put(arrays, at, value=answers.value)
    else:
        _put_ragged(arrays, at, answers.relevant)
        _put(arrays, at, popularity=answers.popularity)


def _get_answers(arrays: Arrays, at: str, kind: str) -> Answers:
    if kind != "rank":
        return RateAnswers(arrays[f"{at}.value"])
    return RankAnswers(_get_ragged(arrays, at), arrays.get(f"{at}.popularity"))
