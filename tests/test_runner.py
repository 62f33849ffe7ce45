"""The runner: what has a record is not run again, nothing is lost, nobody's records are harmed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import psutil
import pytest

from recarena.judge import records

RATE = """
@implementation(author="test")
@dataclass
class Rate:
    shift: float = 0.0
    def fit(self, train, run):
        self.mean = train.interactions.value.mean() + self.shift
    def rate(self, queries):
        return np.full(len(queries), self.mean)
"""


def recarena(project, *arguments: str, background: bool = False):
    command = [sys.executable, "-m", "recarena", *arguments]
    if background:
        return subprocess.Popen(
            command, env=project.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    return subprocess.run(command, env=project.environment(), capture_output=True, text=True, check=False, timeout=120)


def play(project, *more: str, benchmark: str = "tiny-rate"):
    done = recarena(project, "run", "-b", benchmark, "--results", str(project.results), *more)
    failed = re.search(r"\d (failed|timeout)", done.stdout) is not None
    assert done.returncode == int(failed), done.stdout + done.stderr
    return done.stdout


def all_records(project) -> dict[str, records.Record]:
    files = sorted(project.results.glob("**/*seed-*.json"))
    return {str(f.relative_to(project.results)): records.read(f) for f in files}


def test_a_run_makes_records_boards_and_is_not_repeated(project):
    project.contender("demo/mean", RATE)
    out = play(project, "--seeds", "2")
    made = all_records(project)
    assert {record.status for record in made.values()} == {"ok"}
    folds = {record.benchmark.fold for record in made.values()}
    assert len(made) == 2 * len(folds)
    assert "demo/mean" in (project.results / "tiny-rate" / "README.md").read_text()
    assert "tiny-rate" in out and "RMSE" in out
    schema = json.loads((Path(__file__).parent.parent / "docs" / "record.schema.json").read_text())
    for file in project.results.glob("**/*seed-*.json"):
        jsonschema.validate(json.loads(file.read_text()), schema)

    before = {file: file.stat().st_mtime_ns for file in project.results.glob("**/*seed-*.*")}
    assert f"{len(made)} known" in play(project, "--seeds", "2")
    assert before == {file: file.stat().st_mtime_ns for file in project.results.glob("**/*seed-*.*")}


def test_the_judge_computes_rmse_from_the_predictions(project):
    project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    for path, record in ((p, records.read(p)) for p in records.paths(project.results, "tiny-rate")):
        values = records.read_values(record, path)
        error = values["rate.error"].astype(float)
        assert record.asks["rate"].metrics["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
        assert record.asks["rate"].metrics["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)


def test_changed_code_changed_settings_and_failures_are_run_again(project):
    path = project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    first = all_records(project)
    path.write_text(path.read_text().replace("shift: float = 0.0", "shift: float = 0.5"))
    play(project, "--seeds", "1")
    second = all_records(project)
    assert first.keys() == second.keys()
    assert all(first[name].key != second[name].key for name in first)
    assert {record.test_looks for record in second.values()} == {2}

    play(project, "--seeds", "1", "--set", "shift=1")
    rows = {name.split("/")[1] for name in all_records(project)}
    assert rows == {"demo.mean", "demo.mean+shift=1.0"}, "a run with other settings gets a row of its own"

    path.write_text(path.read_text().replace("self.mean =", "raise RuntimeError('broken'); self.mean ="))
    assert "failed" in play(project, "--seeds", "1")
    failed = [record for name, record in all_records(project).items() if "+shift" not in name]
    assert {record.status for record in failed} == {"failed"}
    assert all("broken" in record.reason and record.last_lines for record in failed)
    assert "known" not in play(project, "--seeds", "1"), "a failure is tried again"


def test_a_prediction_that_breaks_a_rule_is_a_failed_record_that_names_it(project):
    project.contender("demo/nan", RATE.replace("self.mean)", "np.nan)"))
    project.contender(
        "demo/seen",
        """
        @implementation(author="test", deterministic=True)
        @dataclass
        class Seen:
            def fit(self, train, run): pass
            def rank(self, queries):
                return np.tile(np.arange(queries.k, dtype=np.int32), (len(queries), 1))
        """,
    )
    play(project, "--seeds", "1")
    play(project, benchmark="tiny-top-n")
    made = all_records(project)
    nan = next(record for name, record in made.items() if "demo.nan" in name)
    assert "not finite" in nan.reason and 'prediction "rate"' in nan.reason and "demo/nan.py" in nan.reason
    seen = next(record for name, record in made.items() if "demo.seen" in name)
    assert seen.status == "failed" and 'prediction "top-n"' in seen.reason
    assert seen.asks == {} and seen.values is None
    board = (project.results / "tiny-rate" / "README.md").read_text()
    assert "Not ranked" in board and "demo/nan" in board


def test_a_limited_run_is_never_ranked_and_harms_no_record(project):
    project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    full = all_records(project)
    play(project, "--seeds", "1", "--limit", "2")
    both = all_records(project)
    assert {name: record for name, record in both.items() if record.limited is None} == full
    limited = [record for record in both.values() if record.limited is not None]
    assert limited and all(record.asks["rate"].queries == 2 for record in limited)
    board = (project.results / "tiny-rate" / "README.md").read_text()
    assert "limited to 2 queries" in board


SLOW = RATE.replace("class Rate", "class Slow").replace(
    "        self.mean", "        import time; time.sleep(1.5)\n        self.mean"
)


@pytest.mark.parametrize("victim", ["runner", "worker"])
def test_a_kill_loses_nothing_and_the_next_run_goes_on(project, victim):
    project.contender("demo/slow", SLOW)
    runner = recarena(
        project, "run", "-b", "tiny-rate", "--results", str(project.results), "--seeds", "2", background=True
    )
    first = project.results / "tiny-rate" / "demo.slow"
    wait_for(lambda: len(list(first.glob("*.json"))) >= 1)
    before = {file: file.read_bytes() for file in first.glob("*seed-*")}
    children = psutil.Process(runner.pid).children(recursive=True)
    workers = wait_for(lambda: [p for p in psutil.Process(runner.pid).children() if _is_worker(p)])
    if victim == "runner":
        runner.send_signal(signal.SIGKILL)
        runner.communicate()
        wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in [*children, *workers]))
        assert {file: file.read_bytes() for file in before} == before
    else:
        os.kill(workers[0].pid, signal.SIGKILL)
        out, _ = runner.communicate(timeout=60)
        assert runner.returncode == 1
        assert "was ended by SIGKILL" in out
    for file in first.glob("*.json"):
        records.read(file)  # nothing half-written
    play(project, "--seeds", "2")
    made = all_records(project)
    assert {record.status for record in made.values()} == {"ok"}
    assert all(file.read_bytes() == data for file, data in before.items()), "a finished run was made again"


def test_two_runners_at_once_make_every_record_once(project):
    project.contender("demo/slow", SLOW.replace("1.5", ".3"))
    arguments = ("run", "-b", "tiny-rate", "--results", str(project.results), "--seeds", "3")
    both = [recarena(project, *arguments, background=True) for _ in range(2)]
    outputs = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    made = all_records(project)
    assert {record.status for record in made.values()} == {"ok"}
    lines = [line for out, _ in outputs for line in out.splitlines() if "demo/slow" in line and "RMSE" in line]
    assert len(lines) == len(set(lines)) == len(made), "each run was made once, by one of the two"


VANDAL = """
@implementation(author="test")
@dataclass
class Vandal:
    def fit(self, train, run):
        import pathlib
        folder = pathlib.Path(str(train.interactions.user.filename)).parent
        run.log(questions=len(list(folder.parent.iterdir())))
        np.save(folder / "train.value.npy", np.full(len(train.interactions), 5, np.float32))
    def rate(self, queries):
        return np.zeros(len(queries))
"""


def test_a_question_that_a_contender_wrote_over_is_restored_and_lies_alone(project):
    project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    first = all_records(project)
    project.contender("demo/again", RATE)
    project.contender("demo/a_vandal", VANDAL)
    play(project, "--seeds", "1")
    made = all_records(project)
    again = {name.replace("again", "mean"): r for name, r in made.items() if "again" in name}
    assert {n: r.asks for n, r in again.items()} == {n: r.asks for n, r in first.items()}
    vandals = [r for name, r in made.items() if "vandal" in name]
    assert len(vandals) > 1, "the test needs folds"
    assert {r.curve[0]["questions"] for r in vandals} == {1.0}, "another fold's training rows are this one's answers"


def test_a_limit_of_today_does_not_destroy_a_good_record(project):
    path = project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    for file in project.results.glob("**/*seed-*.json"):  # as if made with other packages
        file.write_text(file.read_text().replace('"contract": 1', '"contract": 0').replace(first_key(file), "0" * 64))
    kept = all_records(project)
    assert "timeout" in play(project, "--seeds", "1", "--time-limit", "0.1")
    assert all_records(project) == kept
    path.write_text(path.read_text() + "# edited\n")
    assert "timeout" in play(project, "--seeds", "1", "--time-limit", "0.1")
    assert {r.status for r in all_records(project).values()} == {"timeout"}, "a failure of new code is a fact"


def first_key(file: Path) -> str:
    return json.loads(file.read_text())["key"]


def test_one_bad_record_takes_only_its_own_row_off_the_board(project):
    project.contender("demo/mean", RATE)
    project.contender("demo/other", RATE)
    play(project, "--seeds", "1")
    (broken, *_) = sorted(project.results.glob("tiny-rate/demo.other/*.json"))
    broken.write_text("{")
    done = recarena(project, "board", "tiny-rate", "--md", "--results", str(project.results))
    assert done.returncode == 0, done.stderr
    assert "demo/mean" in done.stdout and "unreadable" in done.stdout
    broken.write_text('{"format": 2}')
    done = recarena(project, "run", "-b", "tiny-rate", "--seeds", "1", "--results", str(project.results))
    assert done.returncode == 2 and "newer recarena" in done.stderr
    assert broken.read_text() == '{"format": 2}', "a newer record must not be overwritten"


def test_every_version_that_was_judged_is_a_look(project):
    path = project.contender("demo/mean", RATE)
    play(project, "--seeds", "1", "--limit", "2")
    play(project, "--seeds", "1", "--set", "shift=0.5")
    play(project, "--seeds", "1", "--set", "shift=.50")
    play(project, "--seeds", "1", "--set", "shift=0")
    rows = {name.split("/")[1] for name in all_records(project)}
    assert rows == {"demo.mean", "demo.mean+shift=0.5"}, "the same settings are the same row, the defaults are none"
    path.write_text(path.read_text() + "# edited\n")
    play(project, "--seeds", "1")
    full = [r for name, r in all_records(project).items() if "/demo.mean/" in name and r.limited is None]
    assert {r.test_looks for r in full} == {3}


def test_ratings_beyond_all_measure_are_refused(project):
    project.contender("demo/huge", RATE.replace("self.mean)", "1e39)"))
    play(project, "--seeds", "1")
    assert all("expected numbers on the scale" in r.reason for r in all_records(project).values())


def wait_for(condition, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker.py" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_a_kill_between_the_values_and_their_record_leaves_the_old_pair_whole(project):
    path = project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    (file, *_) = sorted(project.results.glob("tiny-rate/demo.mean/*.json"))
    record = records.read(file)
    records.write_values({"rate.error": np.zeros(3), "rate.user": np.zeros(3, int)}, file, project.cache)  # then killed
    assert records.read(file) == record
    assert records.read_values(record, file) is not None
    assert recarena(project, "board", "--check", "--results", str(project.results)).returncode == 0
    path.write_text(path.read_text() + "# changed\n")
    play(project, "--seeds", "1")
    assert len(list(file.parent.glob("*.npz"))) == len(list(file.parent.glob("*.json"))), "the orphan is still there"
