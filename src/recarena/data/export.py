"""Files for other tools: RecBole's ``.inter``, and TREC's qrels and runs, which ranx and pytrec_eval read.

Nothing here is read back into the arena: what is ranked goes through the judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recarena.contract.answers import Answers, RankAnswers, RateAnswers
from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import DataError
from recarena.contract.queries import Queries, RankQueries, RateQueries
from recarena.data.prepare import Prepared
from recarena.data.raw import Ids, Raw


def write_inter(path: Path, raw: Raw) -> Path:
    """Write rows as RecBole's atomic file: tabs, a typed header, the rating and the time where there are any.

    Raises:
        DataError: a text id holds a tab or a line's end, which the format cannot say.
    """
    return _inter(path, raw.user, raw.item, raw.value, raw.time)


def write_qrels(path: Path, answers: RankAnswers) -> Path:
    """Write answers as TREC's qrels: ``query 0 item 1``; a query's name is its row, an item's its number."""
    query = answers.relevant.rows()
    return _spaced(path, [query, 0, answers.relevant.values, 1])


def write_run(path: Path, items: Ints, *, tag: str = "recarena") -> Path:
    """Write lists as a TREC run: ``query Q0 item rank score tag``.

    Args:
        path: the file.
        items: (q, k) item numbers, best first; what is below 0 is padding and left out.
        tag: the run's name, without spaces.
    """
    if items.ndim != 2:
        raise DataError(f"{path.name}: lists have shape {items.shape}, expected (queries, k)")
    if not tag or tag.split() != [tag]:
        raise DataError(f'{path.name}: the tag is "{tag}", expected one word')
    query, rank = np.nonzero(items >= 0)
    score = items.shape[1] - rank  # readers sort by the score: it falls with the rank
    return _spaced(path, [query, "Q0", items[query, rank], rank + 1, score, tag])


def write_benchmark(folder: Path, name: str, prepared: Prepared, ask: str) -> list[Path]:
    """Write one fold's training, validation and test rows as RecBole's benchmark files, in the raw ids.

    RecBole reads them with ``benchmark_filename: [train, valid, test]``.

    Args:
        folder: made if it is not there; RecBole wants it to have the name.
        name: of RecBole's dataset.
        prepared: the fold.
        ask: the ask whose answers are the test.

    Raises:
        DataError: the users of the test are held out, or the candidates are frozen: RecBole has no such question.
    """
    question, catalogue = prepared.question, prepared.catalogue
    if ask not in question.asks:
        raise DataError(f'there is no ask "{ask}"; this benchmark has {sorted(question.asks)}')
    trained = question.train.interactions
    users, items = catalogue.user_ids, catalogue.item_ids
    rows: dict[str, tuple[Ints, Ints, Floats | None, Ints | None]] = {
        "train": (trained.user, trained.item, trained.value, trained.time)
    }
    validation = question.train.validation
    if ask in validation:
        rows["valid"] = _held(validation[ask].queries, validation[ask].answers)
    rows["test"] = _held(question.asks[ask], prepared.answers[ask])
    # a column is written where every part has it: RecBole reads all parts with one header
    value = all(columns[2] is not None for columns in rows.values())
    time = all(columns[3] is not None for columns in rows.values())
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _inter(
            folder / f"{name}.{part}.inter",
            users[columns[0]],
            items[columns[1]],
            columns[2] if value else None,
            columns[3] if time else None,
        )
        for part, columns in rows.items()
    ]


def _held(queries: Queries, answers: Answers) -> tuple[Ints, Ints, Floats | None, Ints | None]:
    """User, item, value and time of every held-out row."""
    if isinstance(queries, RateQueries) and isinstance(answers, RateAnswers):
        return queries.user, queries.item, answers.value, queries.time
    if isinstance(queries, RankQueries) and isinstance(answers, RankAnswers):
        if queries.user is None:
            raise DataError(
                "its test users are held out of training, and RecBole has no such split; export the dataset"
            )
        if queries.candidates is not None:
            raise DataError("its candidates are frozen, and RecBole draws its own; export the dataset")
        return queries.user[answers.relevant.rows()], answers.relevant.values, None, None
    raise DataError("its ask is neither for ratings nor for lists; export the dataset")


def _inter(path: Path, user: Ids, item: Ids, value: Floats | None, time: Ints | None) -> Path:
    columns: dict[str, Any] = {"user_id:token": user, "item_id:token": item}
    if value is not None:
        columns["rating:float"] = value
    if time is not None:
        columns["timestamp:float"] = time
    for name, column in columns.items():
        if column.dtype.kind == "U" and any(mark in cell for cell in column.tolist() for mark in "\t\n\r"):
            raise DataError(f"{path.name}: an id of {name} holds a tab or a line's end; the format cannot say that")
    return _written(path, columns, separator="\t", header=True)


def _spaced(path: Path, columns: list[Any]) -> Path:
    height = max(len(column) for column in columns if isinstance(column, np.ndarray))
    filled = {str(n): np.full(height, c) if not isinstance(c, np.ndarray) else c for n, c in enumerate(columns)}
    return _written(path, filled, separator=" ", header=False)


def _written(path: Path, columns: Mapping[str, Any], *, separator: str, header: bool) -> Path:
    """Write a table in one step, so that nothing half-written stays."""
    frame = pl.DataFrame({name: c.tolist() if c.dtype.kind == "U" else c for name, c in columns.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        frame.write_csv(temporary, separator=separator, include_header=header, quote_style="never")
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another folder") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path
