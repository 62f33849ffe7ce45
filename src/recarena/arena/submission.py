"""Predictions only: somebody's files for a published question, judged as everyone's, with a record that says so.

Nothing ran here, so a record of this kind has no cost, no environment and no settings; its code is the hash of what
was handed in. It lies in a row of its own, ``<paper>.<who>+predictions``, that no implementation can have.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from recarena.arena.handed_in import listed, parser, read_bytes, size_limit
from recarena.arena.keeper import Keeper, QuestionFacts
from recarena.contract.errors import PredictionError, RecarenaError
from recarena.contract.folder import read_question
from recarena.data.recipes import Benchmark
from recarena.judge import records
from recarena.judge.records import AskResult, BenchmarkFacts, ImplementationFacts, Record, Values

PAPER = "submissions"  # where none is named
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
SEED = 0  # of the record; whatever was random was so elsewhere


@dataclass(frozen=True)
class Submission:
    """Who hands in what.

    Attributes:
        path: a file, or a folder of files.
        who: the name of its row.
        paper: the paper that it is an implementation of, or ``submissions``.
    """

    path: Path
    who: str
    paper: str = PAPER

    @property
    def row(self) -> str:
        """The folder of its records."""
        return records.submission_row(self.paper, self.who)

    def check_names(self) -> None:
        """Raise for names that could not be a file's, or are not a submitter's."""
        for what, name in (("--as", self.who), ("--paper", self.paper)):
            if not NAME.fullmatch(name):
                raise RecarenaError(
                    f'{what} "{name}": use at most 40 lower-case letters, digits and _, beginning with a letter, such '
                    "as kim or mult_vae"
                )
        if self.paper == "baselines":
            raise RecarenaError("--paper baselines: baselines are run here, never handed in; name the paper")


def submit(
    one: Submission,
    benchmark: Benchmark,
    questions: Sequence[QuestionFacts],
    keeper: Keeper,
    results: Path,
    commit: str | None,
    dirty: bool,
    replace: bool = False,
) -> tuple[list[Record], bool]:
    """Judge a submission and write its records, all of them or none.

    Args:
        one: who hands in what.
        benchmark: the recipe.
        questions: all of its folds.
        keeper: judges.
        results: folder of the records.
        commit: of the project that judges.
        dirty: that project differs from its commit.
        replace: write over an earlier submission of the same name.

    Returns:
        The records, a fold each, and whether they were there already.

    Raises:
        PredictionError: a file is not what it should be, or breaks a rule; nothing is written then.
        RecarenaError: a name that cannot be, or records that would be written over.
    """
    one.check_names()
    folder = results / benchmark.name / one.row
    locks = keeper.cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    with FileLock(locks / f"{lock}.lock"), tempfile.TemporaryDirectory(prefix="recarena-submission-") as draft:
        # judged apart from the results, so that a refusal leaves nothing there
        made, digest = _judged(one, benchmark, questions, keeper, Path(draft))
        known = _earlier(one, folder, questions, digest, replace)
        if known is not None:
            return known, True
        written = []
        for question, (asks, values) in zip(questions, made, strict=True):
            path = records.path_of(results, benchmark.name, one.row, question.fold, SEED)
            if values.place == "git":
                records.replace(path.with_name(values.file), (Path(draft) / "values" / values.file).read_bytes())
            record = _record(one, benchmark, question, digest, asks, values, path, commit, dirty)
            records.write(record, path)
            records.tidy(record, path)
            written.append(record)
        return written, False


def _judged(
    one: Submission, benchmark: Benchmark, questions: Sequence[QuestionFacts], keeper: Keeper, draft: Path
) -> tuple[list[tuple[dict[str, AskResult], Values]], str]:
    """Return what the judge finds for every fold, and the hash of what was handed in."""
    files = listed(one.path, [question.fold for question in questions], list(benchmark.asks))
    sums: dict[str, str] = {}
    made = []
    with parser() as parse:
        for question in questions:
            given = {ask: file for (fold, ask), file in files.items() if fold == question.fold}
            home = keeper.stage(question)
            queries = read_question(home).asks
            folder = draft / "predictions" / (question.fold or "only")
            folder.mkdir(parents=True)
            for ask, file in given.items():
                data = read_bytes(file, size_limit(file.suffix, queries[ask]))
                sums[file.name] = hashlib.sha256(data).hexdigest()
                if file.suffix == ".npy":
                    (folder / f"{ask}.npy").write_bytes(data)
                    continue
                try:
                    parse(data, file.suffix, home, ask, folder / f"{ask}.npy")
                except PredictionError as error:
                    raise PredictionError(f"{file.name}: {error}") from None
            where = f"{one.path.name} {question.fold}".strip()
            record = records.path_of(draft, "values", "", question.fold, SEED)
            made.append(keeper.judge(question, tuple(given), folder, where, record))
    return made, _hash(sums)


def _hash(sums: dict[str, str]) -> str:
    """Return the sha256 of the file, or of the lines that sha256sum prints for several, sorted by name."""
    if len(sums) == 1:
        return next(iter(sums.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _earlier(
    one: Submission, folder: Path, questions: Sequence[QuestionFacts], digest: str, replace: bool
) -> list[Record] | None:
    """Return the records of the very same submission, if they are there.

    Raises:
        RecarenaError: another submission of that name is there, and is not to be replaced.
    """
    there = [records.read(path) for path in records.in_folder(folder)]
    if not there:
        return None
    keys = {records.key(question.hash, digest, {}, {}, SEED) for question in questions}
    if {record.key for record in there} == keys:
        return there
    if not replace:
        raise RecarenaError(
            f"{one.paper}/{one.who} has handed in other predictions on {there[0].finished_at[:10]} "
            f"({there[0].implementation.code[:12]}); take another name with --as, or, if they are yours, write over "
            "them with --replace"
        )
    return None


def _record(
    one: Submission,
    benchmark: Benchmark,
    question: QuestionFacts,
    digest: str,
    asks: dict[str, AskResult],
    values: Values,
    path: Path,
    commit: str | None,
    dirty: bool,
) -> Record:
    looked = records.looked(path.parents[1], one.paper, one.who, question.fold)
    looked.add(records.key("", digest, {}, {}, 0)[:12])
    return Record(
        key=records.key(question.hash, digest, {}, {}, SEED),
        benchmark=BenchmarkFacts(name=benchmark.name, version=benchmark.version, fold=question.fold),
        question=question.hash,
        implementation=ImplementationFacts(
            paper=one.paper,
            who=one.who,
            author=one.who,
            kind="submission",
            code=digest,
            departs=[],
            deterministic=False,  # nobody here knows: the board gives it the seed variance that others show
            hyperparameters={},
            overridden=[],
        ),
        seed=SEED,
        environment={},
        machine={},
        isolation="none",
        limits={},
        status="ok",
        reason=None,
        last_lines=[],
        asks=asks,
        cost=None,
        curve=[],
        values=values,
        test_looks=len(looked),
        looked=sorted(looked),
        limited=None,
        commit=commit,
        dirty=dirty,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
