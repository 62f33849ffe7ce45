"""The command line: what it says to somebody who is new, or wrong."""

from __future__ import annotations

import json

import pytest
from tests.conftest import HEAD
from tests.test_runner import RATE, play, recarena


def test_help_teaches(project):
    out = recarena(project, "--help").stdout
    assert "recarena doctor" in out and "recarena new" in out
    out = recarena(project, "run", "--help").stdout
    for option in ("--benchmark", "--implementation", "--seeds", "--set", "--limit", "--results"):
        assert option in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "-b", "tiny-rat"), 'did you mean "tiny-rate"'),
        (("run", "-i", "demo/meen", "-b", "tiny-rate"), 'did you mean "demo/mean"'),
        (("run", "-b", "tiny-rate", "--set", "shft=1"), 'did you mean "shift"'),
        (("run", "-b", "tiny-rate", "--device", "tpu"), 'expected "cpu" or "cuda"'),
        (("run", "-b", "tiny-next", "-i", "demo/mean"), "nothing to run"),
        (("new", "Demo", "Mean"), "use lower-case letters"),
        (("new", "demo", "mean"), "is there already"),
        (("data", "fetch", "tinny"), 'did you mean "tiny"'),
        (("board", "tinyrate"), "did you mean"),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_message_and_no_traceback(project, arguments, said):
    project.contender("demo/mean", RATE)
    done = recarena(project, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_newcomers_file_works_as_written(project):
    done = recarena(project, "new", "fm", "kim")
    assert done.returncode == 0 and "recarena check fm/kim" in done.stdout
    done = recarena(project, "check", "fm/kim")
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout and done.stdout.count("fm/kim") >= 4


def test_check_tells_a_beginner_what_is_wrong(project):
    project.contender("demo/mean", RATE.replace("self.mean)", "self.maen)"))
    project.contender("demo/lucky", RATE.replace("self.mean)", "__import__('secrets').randbelow(10**6))"))
    done = recarena(project, "check")
    assert done.returncode == 1
    assert "has no attribute 'maen'" in done.stdout and "reproductions/demo/mean.py" in done.stdout
    assert "two runs with the same seed differ" in done.stdout


def test_board_json_and_check(project):
    project.contender("demo/mean", RATE)
    play(project, "--seeds", "1")
    done = recarena(project, "board", "tiny-rate", "--json", "--results", str(project.results))
    (ask,) = json.loads(done.stdout)
    assert ask["rows"][0]["implementation"] == "demo/mean" and ask["rows"][0]["status"] == "ok"

    check = ("board", "--check", "--results", str(project.results))
    assert recarena(project, *check).returncode == 0
    page = project.results / "tiny-rate" / "README.md"
    page.write_text(page.read_text().replace("demo/mean", "Demo/mean"))
    done = recarena(project, *check)
    assert done.returncode == 1 and "never edit it" in done.stderr


def test_doctor_and_ls_say_what_is_here(project):
    project.contender("demo/mean", RATE)
    project.contender("demo/bad", "def")
    out = recarena(project, "doctor")
    assert "processor" in out.stdout and "numpy" in out.stdout and "demo/bad" in out.stderr
    out = recarena(project, "ls")
    assert "demo/mean" in out.stdout and "shift=0.0" in out.stdout
    assert "tiny" in recarena(project, "data", "ls").stdout


def test_check_tries_another_seed_where_the_seed_should_not_matter(project):
    lie = RATE.replace('author="test"', 'author="test", deterministic=True').replace(
        "self.mean)", "self.mean + self.luck)"
    )
    project.contender(
        "demo/lie", lie.replace("        self.mean =", "        self.luck = run.rng.random()\n        self.mean =")
    )
    done = recarena(project, "check")
    assert done.returncode == 1 and "another seed gives other numbers" in done.stdout
    assert "0 passed, 1 failed" in done.stdout


def test_what_cannot_be_written_or_had_is_told_before_the_work(project, tmp_path):
    project.contender("demo/mean", RATE)
    project.contender("demo/needs", RATE, head="import recarena_needs_this\n" + HEAD)
    file = tmp_path / "file"
    file.write_text("")
    done = recarena(project, "run", "-b", "tiny-rate", "--results", str(file))
    assert done.returncode == 2 and "give --results another folder" in done.stderr
    done = recarena(project, "run", "-b", "tiny-rate", "-i", "demo/needs", "--results", str(project.results))
    assert done.returncode == 1 and "not installed" in done.stderr and "nothing to run" not in done.stderr
    assert recarena(project, "check", "demo/needs").returncode == 1
