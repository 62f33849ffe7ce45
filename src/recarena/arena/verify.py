"""A record run again: from its commit, with its code, settings, packages and seed; what comes out is held against it.

The commit is checked out as a git worktree in a temporary folder, so the checkout at hand is not touched. Recipes and
the implementation come from there; the runner and the judge are today's. The question's hash must be the recorded one,
so both runs answer the same question to the byte.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recarena.arena.checkout import commit_and_dirty
from recarena.arena.discovery import Implementation, read
from recarena.arena.environments import CONTRACT_VERSION, Environment, environment, interpreter
from recarena.arena.keeper import Keeper, QuestionFacts
from recarena.arena.machine import default_device, machine
from recarena.arena.runner import Machine, Plan, run
from recarena.contract.errors import DataError, ImplementationError, RecarenaError, Skip
from recarena.data.folders import load_benchmark
from recarena.judge import receipts, records
from recarena.judge.receipts import TOLERANCE, Receipt, Verdict
from recarena.judge.records import Record

PATIENCE = 4  # times the recorded time limit: a slower machine may confirm a result, too
Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """A record to run again.

    Attributes:
        path: of its file.
        record: what it says.
        commit: that it was made from.
    """

    path: Path
    record: Record
    commit: str


def ask(path: Path, root: Path) -> Asked:
    """Read a record and say whether it can be run again from this clone.

    Raises:
        RecarenaError: it is no record, is of predictions only, did not end well, was limited, or has no commit, an
            unclean one, or one that is not in this clone.
    """
    record = records.read(path)
    where = f"{path.parent.name}/{path.name}"
    if record.implementation.kind == "submission":
        raise RecarenaError(f"{where}: is of predictions only; there is no code that could be run again")
    if record.status != "ok" or record.limited is not None:
        what = "a limited run" if record.limited is not None else f"a run that {record.status}"
        raise RecarenaError(f"{where}: is the record of {what}; only runs that a board ranks are verified")
    if record.commit is None:
        raise RecarenaError(
            f"{where}: has no commit: it was made outside a git checkout, and nobody can say from which code; "
            "commit, and run it again"
        )
    if record.dirty:
        raise RecarenaError(
            f"{where}: was made with uncommitted changes on top of {record.commit[:7]}, so that commit is not all of "
            "its code; commit, and run it again"
        )
    if _git(root, "cat-file", "-e", f"{record.commit}^{{commit}}") is None:
        raise RecarenaError(
            f"{where}: its commit {record.commit[:7]} is not in this clone; fetch the branch it was made on "
            "(git fetch --all), or ask its author to push it"
        )
    return Asked(path, record, record.commit)


def verify(
    asked: Sequence[Asked],
    root: Path,
    cache: Path,
    who: str,
    other_packages: bool = False,
    say: Say = lambda _: None,
) -> Iterator[tuple[Asked, Receipt]]:
    """Run records again, each from its commit; write a receipt beside each and yield it.

    Args:
        asked: from ``ask``.
        root: of the checkout that has their commits.
        cache: for data, environments and code.
        who: runs them again.
        other_packages: go on with the packages at hand where the recorded ones cannot be had.
        say: told of what takes long.

    Raises:
        RecarenaError: the code at a record's commit is not the code that it names.
    """
    by_place: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in asked:
        by_place[one.commit, one.record.benchmark.name].append(one)
    mine, unclean = commit_and_dirty(root)
    judged_by = mine and mine + ("+" if unclean else "")
    for (commit, benchmark), some in by_place.items():
        with worktree(root, commit) as tree, Keeper(tree, cache) as keeper:
            codes = {one.path: _code(one, tree) for one in some}
            try:
                questions = {question.fold: question for question in keeper.questions(benchmark)}
            except DataError as error:
                questions, missing = {}, str(error)
            else:
                missing = ""
            for one in some:
                try:
                    question = _question(one.record, questions, missing)
                    made = _again(one, codes[one.path], question, tree, keeper, other_packages, say)
                except _CannotError as reason:
                    made = {"verdict": "cannot", "reason": str(reason)}
                receipt = _receipt(one, who, judged_by, made)
                receipts.write(receipt, one.path)
                yield one, receipt


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """Lend a checkout of a commit in a temporary folder; it is gone afterwards, and git knows nothing of it.

    Raises:
        RecarenaError: git cannot.
    """
    with tempfile.TemporaryDirectory(prefix="recarena-verify-") as folder:
        tree = Path(folder).resolve() / "tree"
        # no hook of the clone runs, and nothing is asked of a terminal
        added = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet", str(tree), commit],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if added.returncode != 0:
            raise RecarenaError(f"git cannot check {commit[:7]} out into a temporary folder: {added.stderr.strip()}")
        try:
            # the project may be a folder of the repository
            yield tree / (_git(root, "rev-parse", "--show-prefix") or "").strip()
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


class _CannotError(Exception):
    """A run that could not be made: the receipt says why."""


def _code(one: Asked, tree: Path) -> Implementation:
    """Return the implementation as it was at the commit.

    Raises:
        RecarenaError: it is not there, or is not the code that the record names.
    """
    who = one.record.implementation
    home = tree / "reproductions" / who.paper / who.who
    path = home if home.is_dir() else home.with_name(f"{who.who}.py")
    where = f"{one.path.parent.name}/{one.path.name}"
    try:
        found = read(path)
    except ImplementationError as error:
        raise RecarenaError(
            f"{where}: at its commit {one.commit[:7]}, {who.paper}/{who.who} cannot be read: {error}"
        ) from error
    if found.code != who.code:
        raise RecarenaError(
            f"{where}: the code changed: {who.paper}/{who.who} at commit {one.commit[:7]} has hash {found.code[:12]}, "
            f"the record names {who.code[:12]}; its author must run it again from a clean commit"
        )
    return found


def _question(record: Record, questions: dict[str, QuestionFacts], missing: str) -> QuestionFacts:
    if missing:
        raise _CannotError(f"the data cannot be had here: {missing}")
    question = questions.get(record.benchmark.fold)
    if question is None or question.hash != record.question:
        raise _CannotError("the question made here from the recipe at that commit is not the recorded one to the byte")
    return question


def _again(
    one: Asked,
    who: Implementation,
    question: QuestionFacts,
    tree: Path,
    keeper: Keeper,
    other_packages: bool,
    say: Say,
) -> dict[str, Any]:
    """Run a record again and return what the receipt says of it."""
    record = one.record
    device = str(record.limits.get("device", "cpu"))
    if device == "cuda" and default_device() != "cuda":
        raise _CannotError("it ran on a GPU, and there is none here")
    packages, differs = _packages(record, who, keeper.cache, device, other_packages, say)
    lent = Machine(
        threads=int(record.limits.get("threads", 1)),
        device=device,
        time_limit_seconds=PATIENCE * float(record.limits["time_seconds"]),
        memory_limit_bytes=int(record.limits["memory_bytes"]),
    )
    with tempfile.TemporaryDirectory(prefix="recarena-again-") as folder:
        path = Path(folder) / one.path.parent.parent.name / one.path.parent.name / one.path.name
        plan = Plan(
            benchmark=load_benchmark(tree, record.benchmark.name),
            question=question,
            implementation=who,
            overrides=dict.fromkeys(record.implementation.overridden),
            hyperparameters=record.implementation.hyperparameters,
            environment=packages,
            seed=record.seed,
            path=path,
        )
        (done,) = run([plan], keeper, lent, one.commit, dirty=False)
        new = done.record
        if new.status != "ok":
            raise _CannotError(f"it {_ended(new)} here: {new.reason}")
        values = [_values(a, b, keeper.cache) for a, b in ((record, one.path), (new, path))]
    metrics, value, agree = receipts.differences(record, new, *values)
    verdict: Verdict = "reproduced" if agree else "differs"
    reason = None if agree else f"a metric differs by {metrics:.2g}, more than {TOLERANCE:g}"
    finite = [None if number is None or np.isinf(number) else number for number in (metrics, value)]
    return {
        "verdict": verdict,
        "reason": reason,
        "metrics_difference": finite[0],
        "values_difference": finite[1],
        "values_equal": None if value is None else value == 0.0,
        "environment_differs": differs,
    }


def _ended(record: Record) -> str:
    return {"timeout": "ran past its limits", "skipped": "refused to run"}.get(record.status, "failed")


def _packages(
    record: Record, who: Implementation, cache: Path, device: str, other_packages: bool, say: Say
) -> tuple[Environment, dict[str, list[str | None]]]:
    """Return the recorded environment, built from its versions where it is not the one at hand, and what differs."""
    wanted = record.environment
    here: Environment | None = None
    try:
        here = environment(who, cache, device, say)
        if here.facts == wanted:
            return here, {}
    except (Skip, RecarenaError):
        pass  # the recorded versions may still be had
    there = str(wanted.get("python"))
    if there == f"{sys.version_info.major}.{sys.version_info.minor}":
        pinned = sorted(f"{name}=={version}" for name, version in wanted.get("packages", {}).items())
        where = f"{who.paper}/{who.path.name}"
        try:
            python, _ = interpreter({"dependencies": pinned}, where, cache, say)
            made = Environment(python, wanted)
            differs = _differs(wanted, {**wanted, "contract": CONTRACT_VERSION})
            if not differs or other_packages:
                return made, differs
            reason = "the contract between arena and implementation has another version now"
        except (Skip, RecarenaError) as error:
            reason = str(error)
    else:
        reason = f"it ran with Python {there}, this is {platform.python_version()}"
    if other_packages and here is not None:
        return here, _differs(wanted, here.facts)
    told = f"its environment cannot be had: {reason}"
    raise _CannotError(told + ("" if here is None else "; --other-packages goes on with those at hand"))


def _differs(wanted: dict[str, Any], here: dict[str, Any]) -> dict[str, list[str | None]]:
    """Return name -> [recorded, here] for everything that is not the same."""
    flat = [{k: v for k, v in one.items() if k != "packages"} | one.get("packages", {}) for one in (wanted, here)]
    names = sorted(name for name in {*flat[0], *flat[1]} if flat[0].get(name) != flat[1].get(name))
    return {name: [None if name not in one else str(one[name]) for one in flat] for name in names}


def _values(record: Record, path: Path, cache: Path) -> dict[str, np.ndarray[Any, Any]] | None:
    """Return a record's values per query from beside it, or from the cache; None where they are in neither."""
    if record.values is None or record.values.place == "git":
        return records.read_values(record, path)
    file = cache / "values" / record.values.file
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != record.values.sha256:
        return None
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _receipt(one: Asked, who: str, judged_by: str | None, made: dict[str, Any]) -> Receipt:
    author = one.record.implementation
    facts = {
        "metrics_difference": None,
        "values_difference": None,
        "values_equal": None,
        "environment_differs": {},
        **made,
    }
    return Receipt(
        record=one.record.key,
        record_sha256=hashlib.sha256(one.path.read_bytes()).hexdigest(),
        who=who,
        kind="repetition" if who in (author.author, author.who) else "reproduction",
        tolerance=TOLERANCE,
        machine=machine(),
        commit=one.commit,
        judged_by=judged_by,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
