"""Receipts: a record is run again from its commit; what agrees, what does not, what cannot be said."""

from __future__ import annotations

import hashlib
import json
import subprocess

import numpy as np
import pytest
from tests.test_boards import ABOUT, CODE, ranked
from tests.test_runner import RATE, recarena

from recarena.arena import verify as again
from recarena.arena.discovery import find
from recarena.arena.keeper import Keeper
from recarena.arena.runner import Machine, plan, run
from recarena.boards.board import Judged, load, make
from recarena.boards.render import as_json, markdown
from recarena.contract.errors import RecarenaError
from recarena.data.folders import load_benchmark
from recarena.judge import receipts, records
from recarena.judge.receipts import Receipt

LENT = Machine(threads=1, device="cpu")
LUCKY = RATE.replace("class Rate", "class Lucky").replace(
    "return np.full(len(queries), self.mean)", "return self.mean + np.random.default_rng().random(len(queries))"
)


def git(project, *arguments: str) -> str:
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=True).stdout.strip()


def committed(project) -> str:
    if not (project.root / ".git").exists():
        git(project, "init", "--quiet")
        (project.root / ".gitignore").write_text("cache\nresults\n")
    git(project, "add", "-A")
    git(project, "commit", "--quiet", "--message", "a commit")
    return git(project, "rev-parse", "HEAD")


def played(project, commit: str | None, **more):
    """Run every contender once on tiny-rate, from this process; return path -> record."""
    with Keeper(project.root, project.cache) as keeper:
        questions = keeper.questions("tiny-rate")
        benchmark = load_benchmark(project.root, "tiny-rate")
        found = find(project.root).implementations
        plans, _ = plan(benchmark, questions, found, project.results, project.cache, LENT, seeds=1, **more)
        return {done.plan.path: done.record for done in run(plans, keeper, LENT, commit, dirty=False)}


def verified(project, paths, who: str = "kim", **more) -> list[Receipt]:
    asked = [again.ask(path, project.root) for path in paths]
    return [receipt for _, receipt in again.verify(asked, project.root, project.cache, who, **more)]


def test_a_record_is_reproduced_from_its_commit_whatever_lies_in_the_checkout(project):
    path = project.contender("demo/mean", RATE)
    project.contender("demo/lucky", LUCKY)
    commit = committed(project)
    made = played(project, commit)
    path.write_text("broken since")  # the checkout at hand is another one by now
    before = {file: file.read_bytes() for file in made}
    git(project, "add", "-A")
    done = recarena(project, "verify", *map(str, made), "--as", "kim", "--results", str(project.results))
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("reproduced: the same values for every query") == 2, done.stdout + done.stderr
    assert done.stdout.count("differs: metrics within") == 2
    assert {file: file.read_bytes() for file in made} == before, "a record is never touched"
    assert git(project, "worktree", "list").count("\n") == 0 and git(project, "status", "--porcelain") != ""
    for file, record in made.items():
        (one,) = receipts.read(file)
        raw = json.loads(receipts.path_of(file).read_text())
        assert raw["format"] == 1 and len(raw["receipts"]) == 1
        assert (one.record, one.who, one.commit, one.kind) == (record.key, "kim", commit, "reproduction")
        assert one.machine["cores"] >= 1 and one.environment_differs == {}
        lucky = record.implementation.who == "lucky"
        assert one.verdict == ("differs" if lucky else "reproduced")
        assert (one.metrics_difference == 0.0) == (one.values_equal is True) == (not lucky)
    judged, unreadable = load(project.results, "tiny-rate")
    assert not unreadable and all(len(one.receipts) == 1 for one in judged)


def test_what_cannot_be_verified_says_why_and_what_to_do(project):
    project.contender("demo/mean", RATE)
    commit = committed(project)
    made = played(project, commit)
    path, record = next(iter(made.items()))
    facts = record.model_dump()
    kind = {"implementation": facts["implementation"] | {"kind": "submission"}}
    code = {"implementation": facts["implementation"] | {"code": "0" * 64}}
    for changes, said in (
        ({"commit": None}, "has no commit"),
        ({"dirty": True}, "uncommitted changes on top of"),
        ({"commit": "f" * 40}, "is not in this clone; fetch"),
        ({"status": "failed", "reason": "x"}, "a run that failed"),
        ({"limited": 3}, "a limited run"),
        (kind, "there is no code"),
        (code, "the code changed"),
    ):
        records.write(records.Record.model_validate(facts | changes), path)
        with pytest.raises(RecarenaError, match=said):
            verified(project, [path])
    assert not receipts.path_of(path).exists()

    # a receipt says that it could not be run, and why
    cannot = {}
    for number, (changes, said) in enumerate((
        ({"environment": facts["environment"] | {"python": "3.1"}}, "it ran with Python 3.1"),
        ({"question": "0" * 64}, "not the recorded one to the byte"),
        ({"limits": facts["limits"] | {"memory_bytes": 1000}}, "it failed here: used"),
    )):  # fmt: skip
        file = path.parent / str(number) / path.name
        records.write(records.Record.model_validate(facts | changes), file)
        cannot[file] = said
    for one, said in zip(verified(project, cannot), cannot.values(), strict=True):
        assert one.verdict == "cannot" and said in one.reason and one.metrics_difference is None
    records.write(records.Record.model_validate(facts | {"environment": {"python": "3.1", "packages": {}}}), path)
    (one,) = verified(project, [path], other_packages=True)
    assert one.verdict == "reproduced" and one.environment_differs["python"][0] == "3.1"
    assert one.environment_differs["numpy"][0] is None


def receipt(**changes) -> Receipt:
    facts = {
        "record": "k", "record_sha256": "s", "who": "kim", "kind": "reproduction", "verdict": "reproduced",
        "reason": None, "metrics_difference": 0.0, "values_difference": 0.0, "values_equal": True, "tolerance": 1e-4,
        "environment_differs": {}, "machine": {}, "commit": "c", "judged_by": None,
        "finished_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Receipt.model_validate(facts | changes)


def test_receipts_of_several_people_lie_together_and_those_of_an_older_record_go(tmp_path):
    path = tmp_path / "seed-0.json"
    path.write_text("{}")
    sha = hashlib.sha256(b"{}").hexdigest()
    for who in ("lee", "kim", "lee"):
        receipts.write(receipt(who=who, record_sha256=sha), path)
    assert [one.who for one in receipts.read(path)] == ["kim", "lee"]
    path.write_text('{"made": "again"}')
    assert receipts.read(path) == ()
    receipts.write(receipt(who="cho", record_sha256=hashlib.sha256(path.read_bytes()).hexdigest()), path)
    assert [one.who for one in receipts.read(path)] == ["cho"]
    assert not records.in_folder(tmp_path)[1:], "a receipt is no record"
    receipts.path_of(path).write_text("{")
    with pytest.raises(RecarenaError, match="not a file of receipts"):
        receipts.read(path)


def test_differences_by_hand():
    (old,), (new,) = (
        ranked("mf/ada", 0.5, seeds=1, asks={"top-n": {"queries": 3, "metrics": metrics}})
        for metrics in ({"ndcg@10": 0.5, "novelty@10": 8.0}, {"ndcg@10": 0.50009, "novelty@10": 8.0007})
    )
    values = {"top-n.ndcg@10": np.array([0.0, 1.0, np.nan])}
    other = {"top-n.ndcg@10": np.array([0.0, 0.25, np.nan])}
    worst, value, agree = receipts.differences(old.record, new.record, values, other)
    assert agree and worst == pytest.approx(7e-4) and value == 0.75, "8.0007 is within 8 * 1e-4 of 8"
    assert receipts.differences(old.record, new.record, None, values)[1] is None
    assert receipts.differences(old.record, new.record, values, {})[1] == np.inf
    far = new.record.model_copy(update={"asks": {}})
    assert receipts.differences(old.record, far, None, None)[::2] == (np.inf, False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], ""),
        ([{}], "verified by kim (1 of 2 runs)"),
        ([{}, {"who": "lee"}, {"who": "lee"}], "verified by kim (1 of 2 runs); verified by lee (2 of 2 runs)"),
        ([{"verdict": "differs"}, {}], "differs for kim (1 of 2 runs)"),
        ([{"verdict": "cannot"}], ""),
        ([{"kind": "repetition", "who": "ada"}], ""),
        ([{"environment_differs": {"numpy": ["1", "2"]}}], "verified by kim (1 of 2 runs, other packages)"),
    ],
)
def test_who_ran_it_again_in_words(given, said):
    assert receipts.summary([receipt(**one) for one in given], 2) == said


def test_a_board_is_quiet_until_somebody_verifies():
    rows = [*ranked("mf/ada", 0.5), *ranked("mf/bo", 0.4)]
    quiet = make(ABOUT, rows, CODE, [])
    assert "‡" not in markdown(quiet) and "verified" not in markdown(quiet)
    shown = make(ABOUT, [Judged(rows[0].row, rows[0].record, rows[0].values, (receipt(),)), *rows[1:]], CODE, [])
    page = markdown(shown)
    assert "mf/ada ‡" in page and "mf/bo ‡" not in page and "mf/ada verified by kim (1 of 2 runs)" in page
    evidence = {row["implementation"]: row["evidence"] for row in as_json(shown)[0]["rows"]}
    assert evidence == {"mf/ada": "verified by kim (1 of 2 runs)", "mf/bo": "runner-judged"}
