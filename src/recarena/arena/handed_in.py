"""Files of predictions that somebody hands in: listed and read without trust, then turned into the judge's arrays.

A file is opened once, never through a link, and its size is held against what the question can need before a byte is
read. Arrays (.npy) go to the judge as they are. Tables (.parquet) and TREC runs (.run) are read in a process of their
own whose memory and time are limited, so a file made to harm its reader harms nobody. Nothing is unpacked, no pickle
is read. This holds no answer: ``judge/predictions.py`` then checks what comes out of it, as it does for everyone.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import PredictionError, did_you_mean
from recarena.contract.folder import read_question
from recarena.contract.lifeline import die_with_parent
from recarena.contract.queries import DetectQueries, Queries, RankQueries, RateQueries
from recarena.contract.selection import coins

ENDINGS = (".npy", ".parquet", ".run")
# what an honest file needs for each number asked for, doubled, and what it needs besides
BYTES_EACH = {".npy": 16, ".parquet": 48, ".run": 128}
BYTES_MORE = {".npy": 4096, ".parquet": 2**20, ".run": 4096}
LINE_BYTES = 256  # of a TREC run
PARSER_BYTES = 2**31  # of memory for reading a table, beside the file and its arrays
PARSER_SECONDS = 600  # of a processor
COLUMNS: Mapping[type[Queries], tuple[frozenset[str], ...]] = {
    RateQueries: (frozenset({"user", "item", "score"}), frozenset({"query", "score"})),
    DetectQueries: (frozenset({"query", "score"}),),
    RankQueries: (
        frozenset({"query", "rank", "item"}),
        frozenset({"query", "item", "score"}),
        frozenset({"user", "item", "score"}),
    ),
}
ORDER = ("query", "user", "rank", "item", "score")

Columns = dict[str, np.ndarray[Any, Any]]


def stem(fold: str, ask: str) -> str:
    """Return what the file for an ask of a fold is called, without its ending: ``u1.rate``, or ``rate``."""
    return f"{fold}.{ask}" if fold else ask


def listed(path: Path, folds: Sequence[str], asks: Collection[str]) -> dict[tuple[str, str], Path]:
    """Return (fold, ask) -> file of what is handed in; every fold has the same asks, at least one.

    Args:
        path: a folder of files named by ``stem``; or one file, where there is one fold.
        folds: names of the folds.
        asks: names of the asks.

    Raises:
        PredictionError: a name that is of no ask and fold, an ask without a file for every fold, a link.
    """
    if path.is_symlink():
        raise PredictionError(f"{path} is a link; hand in the file or the folder itself")
    if path.is_file():
        return _one_file(path, folds, asks)
    if not path.is_dir():
        raise PredictionError(f"{path} is not there; expected a file of predictions, or a folder of them")
    wanted = {stem(fold, ask): (fold, ask) for fold in folds for ask in asks}
    found: dict[tuple[str, str], Path] = {}
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or file.name == "README.md":
            continue
        _check_ending(file)
        if file.stem not in wanted:
            raise PredictionError(
                f"{file.name}: is of no ask and fold{did_you_mean(file.stem, wanted)}; "
                "the README of the exported question lists the names"
            )
        if wanted[file.stem] in found:
            raise PredictionError(f"{file.name}: {found[wanted[file.stem]].name} is there too; hand in one of the two")
        found[wanted[file.stem]] = file
    given = [ask for ask in asks if any((fold, ask) in found for fold in folds)]
    if not given:
        some = f"{next(iter(wanted))}.npy"
        raise PredictionError(f"{path} holds no predictions; expected files such as {some}, .parquet or .run")
    for fold in folds:
        for ask in given:
            if (fold, ask) not in found:
                raise PredictionError(
                    f'{path}: no file for ask "{ask}" of fold "{fold}", expected {stem(fold, ask)}.npy, .parquet or '
                    ".run; a board ranks those who answered every fold"
                )
    return found


def _one_file(path: Path, folds: Sequence[str], asks: Collection[str]) -> dict[tuple[str, str], Path]:
    _check_ending(path)
    if len(folds) > 1:
        raise PredictionError(
            f"{path.name}: this benchmark has {len(folds)} folds; hand in a folder with a file for each: "
            + ", ".join(stem(fold, ask) + path.suffix for fold in folds for ask in asks)
        )
    ask = next(iter(asks)) if len(asks) == 1 else path.stem
    if ask not in asks:
        raise PredictionError(f"{path.name}: is of no ask{did_you_mean(path.stem, asks)}; name the file after its ask")
    return {(folds[0], ask): path}


def _check_ending(path: Path) -> None:
    if path.suffix in ENDINGS and not path.is_symlink() and path.is_file():
        return
    what = "is a link" if path.is_symlink() else "is a folder" if path.is_dir() else "cannot be handed in"
    raise PredictionError(
        f"{path.name}: {what}, expected plain files that end in {', '.join(ENDINGS)}; archives are not unpacked, and "
        "pickles never read"
    )


def size_limit(ending: str, queries: Queries) -> int:
    """Return the bytes that a file may have, from what its ask asks for."""
    return BYTES_MORE[ending] + BYTES_EACH[ending] * _numbers(queries)


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a plain file of at most ``limit`` bytes; a link, a pipe or a larger file is refused before it is read.

    Raises:
        PredictionError: it is none.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise PredictionError(f"{path.name}: cannot be opened ({error.strerror}), expected a plain file") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise PredictionError(f"{path.name}: is not a plain file")
        if status.st_size > limit:
            raise PredictionError(
                f"{path.name}: has {status.st_size:,} bytes, and no honest answer to this question has more than "
                f"{limit:,}; hand in one number or id for each that is asked, and nothing besides"
            )
        data = file.read(limit + 1)
    if len(data) > limit:
        raise PredictionError(f"{path.name}: grew while it was read")
    return data


@contextmanager
def parser() -> Iterator[Callable[[bytes, str, Path, str, Path], None]]:
    """Lend a function that turns the bytes of a table or a run into ``.npy``, in a process that holds nothing else.

    Its arguments: the bytes, their ending, the question's folder, the ask, the file to write. It raises
    PredictionError for whatever is wrong with them.
    """

    def parse(data: bytes, ending: str, question: Path, ask: str, target: Path) -> None:
        # one process a file: what broke it, or what it holds, is not the next one's
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, initializer=_begin, initargs=(os.getpid(),)) as pool:
            try:
                pool.submit(_parse, data, ending, question, ask, target).result()
            except BrokenProcessPool:
                raise PredictionError(
                    f"reading it took more than {PARSER_BYTES / 2**30:.0f} GiB of memory or {PARSER_SECONDS} s, or "
                    "broke its reader; was it written by a common library?"
                ) from None

    yield parse


# --- in the parser's process ----------------------------------------------------------------------------------------


def _begin(parent: int) -> None:
    die_with_parent(parent)
    os.environ["POLARS_MAX_THREADS"] = "1"


def _parse(data: bytes, ending: str, folder: Path, ask: str, target: Path) -> None:
    import polars as pl  # noqa: F401, PLC0415 - what it takes by itself does not count

    queries = read_question(folder).asks[ask]
    taken = psutil.Process().memory_info().vms + 12 * len(data) + 64 * _numbers(queries)
    resource.setrlimit(resource.RLIMIT_AS, (taken + PARSER_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (PARSER_SECONDS,) * 2)
    np.save(target, table_to_array(data, ending, queries), allow_pickle=False)


def table_to_array(data: bytes, ending: str, queries: Queries) -> Ints | Floats:
    """Return what the judge checks, (q,) numbers or (q, k) ids, from the bytes of a ``.parquet`` or a ``.run``.

    Raises:
        PredictionError: whatever is wrong with them, as far as the reader lives to tell: some files end its process.
    """
    try:
        columns = _table(data, queries) if ending == ".parquet" else _run(data, queries)
        return lists(columns, queries) if isinstance(queries, RankQueries) else ratings(columns, queries)
    except PredictionError:
        raise
    except MemoryError:
        raise PredictionError(f"reading it took more than {PARSER_BYTES / 2**30:.0f} GiB of memory") from None
    except BaseException as error:  # polars' panics are no Exceptions
        words = str(error).splitlines()[:1]
        raise PredictionError(f"cannot be read as {ending[1:]} ({type(error).__name__}: {''.join(words)})") from None


def _table(data: bytes, queries: Queries) -> Columns:
    import polars as pl  # noqa: PLC0415

    schema = pl.read_parquet_schema(BytesIO(data))
    names = frozenset(schema)
    _check_columns(names, queries)
    for name, dtype in schema.items():
        if not (dtype.is_integer() or (name == "score" and dtype.is_float())):
            wanted = "numbers" if name == "score" else "whole numbers"
            raise PredictionError(f'column "{name}" holds {dtype}, expected {wanted}')
    n_rows = int(pl.scan_parquet(BytesIO(data)).select(pl.len()).collect().item())
    if n_rows > _numbers(queries):
        raise PredictionError(f"has {n_rows:,} rows, expected {_wanted_rows(queries)}")
    frame = pl.read_parquet(BytesIO(data))
    columns: Columns = {}
    for name in sorted(names):
        if frame[name].null_count():
            raise PredictionError(f'column "{name}" has {frame[name].null_count()} empty cells, expected none')
        columns[name] = frame[name].cast(pl.Float64 if name == "score" else pl.Int64).to_numpy()
    return columns


def _check_columns(names: frozenset[str], queries: Queries) -> None:
    known = COLUMNS[type(queries)]
    if isinstance(queries, RankQueries) and queries.user is None:
        known = known[:2]  # held-out users have no number
    if names not in known:
        either = ", or ".join("/".join(name for name in ORDER if name in one) for one in known)
        raise PredictionError(f"has columns {'/'.join(sorted(names)) or 'none'}, expected {either}")


def _run(data: bytes, queries: Queries) -> Columns:
    """Read ``query Q0 item rank score tag`` lines; the score orders and the rank is not looked at, as in trec_eval."""
    if not isinstance(queries, RankQueries):
        raise PredictionError("is a TREC run, which can only rank; hand in .npy or .parquet")
    query, item, score = [], [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        cells = line.split() if len(line) <= LINE_BYTES else []
        try:
            _query, _, _item, _, _score, _ = cells
            query.append(_whole(_query))
            item.append(_whole(_item))
            score.append(float(_score))
        except ValueError:
            told = line[:60].decode("ascii", "replace")
            raise PredictionError(
                f'line {number} is "{told}", expected "query Q0 item rank score tag" with the numbers of the question'
            ) from None
        if len(query) > _numbers(queries):
            raise PredictionError(f"has more than {_numbers(queries):,} lines, expected {_wanted_rows(queries)}")
    return {"query": np.array(query, np.int64), "item": np.array(item, np.int64), "score": np.array(score, np.float64)}


def _whole(cell: bytes) -> int:
    value = int(cell)
    if not 0 <= value < 2**31:
        raise ValueError("not an id")
    return value


def ratings(columns: Columns, queries: RateQueries | DetectQueries) -> Floats:
    """Return (q,) floats from a table that names each query by its number, or by its user and item.

    Raises:
        PredictionError: a query without a score, a pair that nobody asked about, one that comes twice.
    """
    score: Floats = columns["score"].astype(np.float64)
    if "query" in columns:
        place = _rows_of(columns["query"], np.arange(len(queries)), "query")
        _check_once(place, len(queries), "query")
        out = np.empty(len(queries))
        out[place] = score
        return out
    if not isinstance(queries, RateQueries):
        raise PredictionError("names users and items, expected query/score")
    width = int(max(queries.item.max(initial=0), columns["item"].max(initial=0))) + 1
    if columns["item"].min(initial=0) < 0 or columns["user"].min(initial=0) < 0 or width > 2**31:
        raise PredictionError("has users or items that are no ids of the question")
    if columns["user"].max(initial=0) > 2**31:
        raise PredictionError("has users that are no ids of the question")
    asked = queries.user.astype(np.int64) * width + queries.item
    told = columns["user"] * width + columns["item"]
    order = np.argsort(told, kind="stable")
    told, score = told[order], score[order]
    twice = np.flatnonzero(told[1:] == told[:-1])
    if len(twice):
        raise PredictionError(f"scores user {told[twice[0]] // width}, item {told[twice[0]] % width} more than once")
    strange = np.flatnonzero(~np.isin(told, asked))
    if len(strange):
        first = told[strange[0]]
        raise PredictionError(
            f"scores user {first // width}, item {first % width}, which nobody asks about ({len(strange)} such rows); "
            "the ids are those of the exported question, not of the raw data"
        )
    found = np.minimum(np.searchsorted(told, asked), max(len(told) - 1, 0))
    missing = np.flatnonzero(told[found] != asked) if len(told) else np.arange(len(asked))
    if len(missing):
        first = int(missing[0])
        raise PredictionError(
            f"has no score for {len(missing)} of {len(asked)} queries, the first is query {first} "
            f"(user {queries.user[first]}, item {queries.item[first]})"
        )
    return score[found]


def lists(columns: Columns, queries: RankQueries) -> Ints:
    """Return (q, k) item ids, best first, -1 at the end of short rows; equal scores are ordered by the arena's coin.

    Raises:
        PredictionError: an unknown or missing query, more than k items of one, ranks that are not 1, 2, 3 ...
    """
    if "user" in columns:
        if queries.user is None:
            raise PredictionError("names users, and this question's users are held out: name queries by their number")
        query = _rows_of(columns["user"], queries.user, "user")
    else:
        query = _rows_of(columns["query"], np.arange(len(queries)), "query")
    item = columns["item"].astype(np.int64)
    strange = np.flatnonzero((item < 0) | (item >= queries.n_items))
    if len(strange):
        raise PredictionError(
            f"query {query[strange[0]]} lists item {item[strange[0]]}, expected ids from 0 to {queries.n_items - 1}"
        )
    count = np.bincount(query, minlength=len(queries))
    if count.max(initial=0) > queries.k:
        first = int(count.argmax())
        raise PredictionError(f"query {first} lists {count[first]} items, expected at most {queries.k}")
    empty = np.flatnonzero(count == 0)
    if len(empty):
        raise PredictionError(f"{len(empty)} of {len(queries)} queries list nothing, the first is query {empty[0]}")
    if "rank" in columns:
        order = np.lexsort((columns["rank"], query))
    else:
        score = columns["score"].astype(np.float64)
        if not np.isfinite(score).all():
            raise PredictionError(f"query {query[(~np.isfinite(score)).argmax()]} has a score that is not finite")
        order = np.lexsort((coins(query, item), -score, query))
    column = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count)
    if "rank" in columns:
        wrong = np.flatnonzero(columns["rank"][order] != column + 1)
        if len(wrong):
            first = order[wrong[0]]
            raise PredictionError(
                f"query {query[first]} has rank {columns['rank'][first]}, expected 1, 2, 3 ... each once, best first"
            )
    out = np.full((len(queries), queries.k), -1, dtype=np.int32)
    out[query[order], column] = item[order]
    return out


def _rows_of(named: Ints, known: Ints, what: str) -> Ints:
    """Return the row of each name among the known ones, all of them different."""
    order = np.argsort(known, kind="stable")
    found = order[np.minimum(np.searchsorted(known, named, sorter=order), len(known) - 1)]
    strange = np.flatnonzero(known[found] != named)
    if len(strange):
        raise PredictionError(
            f"{what} {named[strange[0]]} is not asked about ({len(strange)} such rows); the numbers are those of the "
            "exported question"
        )
    rows: Ints = found
    return rows


def _check_once(place: Ints, n_queries: int, what: str) -> None:
    count = np.bincount(place, minlength=n_queries)
    if (count != 1).any():
        first = int((count != 1).argmax())
        raise PredictionError(
            f"{what} {first} comes {count[first]} times, expected every one of the {n_queries} once "
            f"({np.count_nonzero(count == 0)} are missing)"
        )


def _numbers(queries: Queries) -> int:
    return len(queries) * (queries.k if isinstance(queries, RankQueries) else 1)


def _wanted_rows(queries: Queries) -> str:
    if isinstance(queries, RankQueries):
        return f"at most {queries.k} for each of {len(queries):,} queries"
    return f"one for each of {len(queries):,} queries"
