"""The keeper: the one process that holds answers. It writes questions, and judges predictions.

The runner, which starts the contenders, never holds an answer, so a contender that reads its parents' memory finds
none; the contenders' folders never hold one either. What the keeper sends to the runner are hashes, names and metrics.

On disk there is only the question that is being played: the training rows of one fold are answers of another. It lies
in a temporary folder whose name cannot be guessed, and goes when another is played or the keeper ends.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import psutil

from recarena.arena.limit import limited
from recarena.arena.wall import RUN_FOLDER
from recarena.contract.answers import RateAnswers
from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import RecarenaError
from recarena.contract.folder import folder_hash, question_hash, write_question
from recarena.contract.lifeline import close_memory, die_with_parent
from recarena.contract.metrics import evaluate_all, summary
from recarena.contract.queries import RateQueries
from recarena.data.prepare import Prepared, open_benchmark
from recarena.data.recipes import Benchmark
from recarena.judge import predictions
from recarena.judge.records import AskResult, Values, write_values

Result = TypeVar("Result")
STAGE = "recarena-question-"  # the runner's process id follows
OF_ERRORS = ("rmse", "mae")  # the metrics that an error tells
MANY_ERRORS = 100_000
LARGEST_HALF = 60_000.0  # float16 ends at 65,504


@dataclass(frozen=True)
class QuestionFacts:
    """What the runner may know of a question.

    Attributes:
        benchmark: its board.
        fold: its name, "" where there is one only.
        hash: sha256 of everything in it.
        asks: name -> "rate", "rank" or "detect".
        queries: name -> how many.
        dropped: reason -> how many rows of the data set are in no part of the question.
        limited: queries per ask under --limit, or None.
    """

    benchmark: str
    fold: str
    hash: str
    asks: dict[str, str]
    queries: dict[str, int]
    dropped: dict[str, int]
    limited: int | None


class Keeper:
    """Speaks to the keeper's process; a context manager that ends it."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        # spawn, not fork: nothing of the keeper's memory is ever part of the runner's
        self._pool = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )
        _sweep()
        self._stage = Path(tempfile.mkdtemp(prefix=f"{STAGE}{os.getpid()}-"))

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self._stage, ignore_errors=True)

    def questions(self, benchmark: str, limit: int | None = None) -> list[QuestionFacts]:
        """Prepare a benchmark and return its questions, a fold each.

        Raises:
            DataError: the data cannot be had, or is not what the recipe expects.
        """
        return self._ask(_questions, self.root, self.cache, benchmark, limit)

    def stage(self, question: QuestionFacts) -> Path:
        """Return the folder that holds a question, and no other; a contender's writing in it is undone."""
        return self._ask(_stage, question, self._stage)

    def judge(
        self, question: QuestionFacts, asks: tuple[str, ...], folder: Path, who: str, record: Path
    ) -> tuple[dict[str, AskResult], Values]:
        """Judge the predictions in a folder and keep the values per query beside the record's path.

        Raises:
            PredictionError: a prediction breaks a rule; the message names it.
        """
        return self._ask(_judge, question, asks, folder, who, record, self.cache / "values")

    def _ask(self, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise RecarenaError(
                "the process that keeps the answers was ended from outside (out of memory?); "
                "every finished run has its record: run again to go on from there"
            ) from error


# --- in the keeper's process ----------------------------------------------------------------------------------------

_held: dict[str, tuple[Benchmark, Prepared]] = {}  # question hash -> its recipe; question and answers


def _begin(parent: int) -> None:
    die_with_parent(parent)
    close_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to answer


def _questions(root: Path, cache: Path, name: str, limit: int | None) -> list[QuestionFacts]:
    _held.clear()  # one benchmark at a time
    facts = []
    benchmark, folds = open_benchmark(root, name, cache=cache, progress=True)
    for fold in folds:
        one = fold if limit is None else replace(fold, **limited(fold.question, fold.answers, limit))
        digest = question_hash(one.question)
        _held[digest] = benchmark, one
        about = QuestionFacts(
            benchmark=name,
            fold=one.name,
            hash=digest,
            asks={ask: benchmark.asks[ask].kind for ask in one.question.asks},
            queries={ask: len(q) for ask, q in one.question.asks.items()},
            dropped=dict(one.dropped),
            limited=limit,
        )
        facts.append(about)
    return facts


def _stage(question: QuestionFacts, stage: Path) -> Path:
    folder = stage / question.hash
    if not _holds(folder, question.hash):
        shutil.rmtree(stage, ignore_errors=True)
        write_question(_held[question.hash][1].question, folder)
    return folder


def _holds(folder: Path, digest: str) -> bool:
    try:
        return [path.name for path in folder.parent.iterdir()] == [digest] and folder_hash(folder) == digest
    except (OSError, ValueError, KeyError):
        return False


def _judge(
    question: QuestionFacts, asks: tuple[str, ...], folder: Path, who: str, record: Path, cache: Path
) -> tuple[dict[str, AskResult], Values]:
    benchmark, held = _held[question.hash]
    queries = {ask: held.question.asks[ask] for ask in asks}
    results: dict[str, AskResult] = {}
    values: dict[str, np.ndarray[Any, Any]] = {}
    metrics = {ask: benchmark.asks[ask].metrics for ask in asks}
    for ask, prediction in predictions.load(folder, queries, who, metrics).items():
        answers = held.answers[ask]
        by_metric = evaluate_all(queries[ask], answers, prediction, metrics[ask])
        results[ask] = AskResult(
            queries=len(queries[ask]), metrics={name: summary(name, each) for name, each in by_metric.items()}
        )
        asked = queries[ask]
        if isinstance(answers, RateAnswers) and isinstance(asked, RateQueries):
            # one signed error tells rmse and mae; the user groups errors that are not independent
            if not by_metric.keys().isdisjoint(OF_ERRORS):
                values[f"{ask}.error"] = _small(prediction - answers.value)
            values[f"{ask}.user"] = _who(held, asked)
        values |= {
            f"{ask}.{name}": each.astype(np.float32) for name, each in by_metric.items() if name not in OF_ERRORS
        }
    return results, write_values(values, record, cache)


def _small(error: Floats) -> Floats:
    """Return errors as float32; where there are many as float16, half of it in git.

    Rounded up or down by chance, with a fixed seed: rounding to the nearest would move an RMSE by up to 2e-4 where the
    errors take few values, as a constant prediction's do. So it stays within 1e-5, and equal predictions stay equal.
    """
    if len(error) <= MANY_ERRORS or np.abs(error).max() > LARGEST_HALF:
        return error.astype(np.float32)
    nearest = error.astype(np.float16)
    below = np.where(nearest > error, np.nextafter(nearest, np.float16(-np.inf)), nearest)
    above = np.nextafter(below, np.float16(np.inf))
    share = (error - below) / (above.astype(np.float64) - below)
    return np.where(np.random.default_rng(0).random(len(error)) < share, above, below)


def _who(held: Prepared, queries: RateQueries) -> Ints:
    """Return each query's user as its place among all raw ids: the same in every fold, unlike the numbers."""
    _, place = np.unique(held.catalogue.user_ids, return_inverse=True)
    return place[queries.user].astype(np.int32)


def _sweep() -> None:
    """Remove what runners that were killed left behind: questions and run folders."""
    for left in Path(tempfile.gettempdir()).glob("recarena-*-*-*"):
        pid = left.name.split("-")[2]
        if left.name.startswith((STAGE, RUN_FOLDER)) and pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
