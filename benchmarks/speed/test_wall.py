"""What the wall costs: a contender that does nothing, against a bare interpreter that imports numpy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from recarena.arena.discovery import read
from recarena.arena.wall import Job, play, run_folder
from recarena.contract.folder import write_question
from recarena.contract.queries import Interactions, RateQueries
from recarena.contract.questions import Question, Train

NOTHING = """
from dataclasses import dataclass
import numpy as np
from recarena import implementation
@implementation(author="nobody")
@dataclass
class Nothing:
    def fit(self, train, run): pass
    def rate(self, queries): return np.zeros(len(queries))
"""


@pytest.mark.benchmark(group="one run", min_rounds=5, max_time=2)
def test_a_run_behind_the_wall(benchmark, tmp_path):
    file = tmp_path / "demo" / "nothing.py"
    file.parent.mkdir()
    file.write_text(NOTHING)
    rng = np.random.default_rng(0)
    user, item = np.sort(rng.integers(0, 6040, 10**6)).astype(np.int32), rng.integers(0, 3700, 10**6).astype(np.int32)
    train = Train(Interactions(user, item, np.ones(10**6, np.float32), None, 6040, 3700))
    write_question(Question(train, {"rate": RateQueries(user, item)}), tmp_path / "question")
    job = Job(read(file), sys.executable, tmp_path / "question", ("rate",), {}, 0, 1, "cpu", 60.0, 2**32)

    def once() -> None:
        with run_folder() as folder:
            assert play(job, folder, tmp_path / "code").status == "ok"

    benchmark(once)


@pytest.mark.benchmark(group="one run", min_rounds=5, max_time=2)
def test_a_bare_interpreter_with_numpy(benchmark):
    benchmark(lambda: subprocess.run([sys.executable, "-I", "-c", "import numpy"], check=True))
