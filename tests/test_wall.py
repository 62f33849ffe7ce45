"""The wall: whatever a contender does, the runner gets an outcome, and no answer crosses (law 1)."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from recarena.arena.discovery import read
from recarena.arena.events import Outcome
from recarena.arena.wall import Job, play, run_folder
from recarena.contract.arrays import Ragged
from recarena.contract.errors import RecarenaError
from recarena.contract.folder import write_question
from recarena.contract.queries import Interactions, RankQueries, RateQueries
from recarena.contract.questions import Question, Train
from recarena.judge import records

MARKED = '@implementation(author="test")\n@dataclass\nclass It:\n'
FINE = """
    def fit(self, train, run): {fit}
    def rate(self, queries): {rate}
"""


def question() -> Question:
    rows = Interactions(
        user=np.array([0, 0, 1, 1], np.int32),
        item=np.array([0, 1, 0, 2], np.int32),
        value=np.array([1, 2, 3, 4], np.float32),
        time=None,
        n_users=2,
        n_items=3,
    )
    asks = {"rate": RateQueries(np.array([0, 1], np.int32), np.array([2, 1], np.int32))}
    return Question(Train(rows), asks)


@pytest.fixture
def outcome_of(project, tmp_path):
    """Return a function that plays a contender's source on a tiny rate question."""

    def run(body: str, seconds: float = 20, memory: int = 2**31, on_event=lambda _: None) -> Outcome:
        path = project.contender("hostile/it", body)
        write_question(question(), tmp_path / "question")
        job = Job(read(path), sys.executable, tmp_path / "question", ("rate",), {}, 7, 1, "cpu", seconds, memory)
        with run_folder() as folder:
            outcome = play(job, folder, tmp_path / "code", on_event)
            file = folder / "prediction" / "rate.npy"
            run.prediction = np.load(file) if file.exists() else None
        return outcome

    return run


def body(fit: str = "pass", rate: str = "return np.zeros(len(queries))", before: str = "") -> str:
    indent = "\n        "
    text = FINE.format(fit=indent + fit.replace("\n", indent), rate=indent + rate.replace("\n", indent))
    return textwrap.dedent(before) + "\n" + MARKED + text.rstrip() + "\n"


def test_a_good_run_is_timed_measured_and_heard(outcome_of):
    events = []
    outcome = outcome_of(
        body("self.w = np.zeros(5)\nrun.log(epoch=1, rmse=0.9)\nrun.progress(1, 2)\nimport time; time.sleep(.3)"),
        on_event=events.append,
    )
    assert (outcome.status, outcome.reason) == ("ok", None)
    assert 0.3 < outcome.seconds["fit"] < 2
    assert outcome.parameters == 5
    assert outcome.curve == [{"epoch": 1.0, "rmse": 0.9}]
    assert outcome.peak_memory_bytes > 10 * 2**20
    assert {"event": "progress", "done": 1, "total": 2} in events
    assert outcome_of.prediction.tolist() == [0.0, 0.0]


def test_a_file_shared_by_the_members_of_a_paper_comes_along(outcome_of, project):
    folder = project.root / "reproductions" / "hostile"
    folder.mkdir(exist_ok=True)
    (folder / "_shared.py").write_text("from ._deeper import seven\ndef answer(q): return np.full(len(q), seven)\n"
                                       "import numpy as np\n")  # fmt: skip
    (folder / "_deeper.py").write_text("seven = 7.0\n")
    outcome = outcome_of("from ._shared import answer\n" + body(rate="return answer(queries)"))
    assert outcome.status == "ok" and outcome_of.prediction.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("fit", "status", "reason"),
    [
        ("raise ValueError('no luck')", "failed", "ValueError: no luck (in fit)"),
        ("raise Skip('needs times')", "skipped", "needs times"),
        ("raise SystemExit(0)", "failed", "SystemExit: 0 (in fit)"),
        ("import os; os._exit(3)", "failed", "ended with exit code 3 in fit"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "ended by SIGKILL in fit"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "ended by SIGSEGV in fit"),
        ("input()", "timeout", "ran past the time limit"),
        ("while True: pass", "timeout", "ran past the time limit of 3 s in fit"),
        ("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)", "timeout", "time limit"),
        ("import sys\nwhile True: sys.stdout.write('x' * 10**6)", "timeout", "time limit"),
        ("while True: run._events.write('{\"event\": ' * 10**5)", "timeout", "time limit"),
        ("while True: run.log(x=1)", "timeout", "time limit"),
        ("a = [np.ones(2**22) for _ in range(10**4)]", "failed", "GiB of memory, the limit is 0.50 GiB"),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'a = [b\"x\" * 2**20 for _ in range(2**20)]'])",
         "failed", "GiB of memory, the limit is 0.50 GiB"),
        ("import recarena_is_not_here_at_all", "failed", "ModuleNotFoundError"),
        ("raise ValueError('\\ud800')", "failed", "ValueError"),
        ("run._events.write('[]\\n7\\n{}\\n{\"event\": \"log\", \"values\": 3}\\n')", "ok", None),
        ("run.log(a=float('nan'), b=float('inf'))", "ok", None),
        ("run._send({'event': 'log', 'values': {'x': 10**400}})", "ok", None),
        ("run._send({'event': 'progress', 'done': float('inf'), 'total': 1})", "ok", None),
        ("run._events.write('[' * 10**5 + '\\n')", "ok", None),
        ("import os; os.kill(os.getpid(), 40)", "failed", "ended by signal 40 in fit"),
        ("for i in range(2000): run._send({'event': 'phase', 'name': f'ask:{i}'})", "ok", None),
    ],
)  # fmt: skip
def test_whatever_fit_does_the_runner_gets_an_outcome(outcome_of, fit, status, reason):
    outcome = outcome_of(body(fit), seconds=3 if status == "timeout" else 60, memory=2**29)
    assert outcome.status == status, outcome
    assert (reason is None and outcome.reason is None) or reason in outcome.reason
    json.dumps(outcome.curve, allow_nan=False)


@pytest.mark.parametrize(
    ("rate", "status", "reason"),
    [
        ("return None", "failed", "rate returned None; did you forget its return?"),
        ("return [[1], [1, 2]]", "failed", "ValueError"),
        ("return [object()]", "failed", "dtype object"),
        ("import threading as t, time\nt.Thread(target=time.sleep, args=(99,)).start()\nreturn [1.0, 2.0]", "ok", None),
        ("import atexit, time\natexit.register(time.sleep, 99)\nreturn [1.0, 2.0]", "ok", None),
    ],
)  # fmt: skip
def test_whatever_rate_returns_the_runner_gets_an_outcome(outcome_of, rate, status, reason):
    started = time.monotonic()
    outcome = outcome_of(body(rate=rate), seconds=10)
    assert outcome.status == status, outcome
    assert (reason is None and outcome.reason is None) or reason in outcome.reason
    assert time.monotonic() - started < 9, "a contender that hangs on exit was waited for"


def test_the_last_lines_of_a_babbler_are_kept_and_the_rest_is_not(outcome_of):
    outcome = outcome_of(body("for i in range(200000): print('babble', i)\nimport os; os._exit(1)"))
    assert outcome.status == "failed"
    assert len(outcome.last_lines) <= 30
    assert outcome.last_lines[-1] == "babble 199999"


def test_a_traceback_begins_in_the_contenders_file(outcome_of):
    outcome = outcome_of(body("np.linalg.inv(np.zeros((2, 2)))"))
    assert "reproductions/hostile/it.py" in outcome.last_lines[0]
    assert "worker.py" not in "".join(outcome.last_lines)


def test_children_that_leave_the_session_are_ended_too(outcome_of, tmp_path):
    note = tmp_path / "pid"
    spawn = f"""
        import subprocess, sys, time
        p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
        open({str(note)!r}, "w").write(str(p.pid)); time.sleep(.5)"""
    outcome = outcome_of(body(textwrap.dedent(spawn).strip()))
    assert outcome.status == "ok"
    pid = int(note.read_text())
    deadline = time.monotonic() + 10  # a kill takes a moment
    while _lives(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_that_cuts_its_ties_is_ended_too(outcome_of, tmp_path):
    note = tmp_path / "pid"
    orphan = f"""
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open({str(note)!r}, "w").write(str(os.getpid())); time.sleep(300)
            os._exit(0)
        time.sleep(.5)"""
    assert outcome_of(body(textwrap.dedent(orphan).strip())).status == "ok"
    assert not _lives(int(note.read_text()))


def test_memory_shared_by_forks_counts_once(outcome_of):
    forks = """
        import os, time
        big = np.ones(2**24)  # 128 MiB
        pids = [pid for pid in (os.fork() for _ in range(1)) if pid]
        for _ in range(5):
            if not pids: break
            pid = os.fork()
            if pid == 0: pids = []; break
            pids.append(pid)
        time.sleep(1)
        if not pids: os._exit(0)
        [os.waitpid(pid, 0) for pid in pids]"""
    outcome = outcome_of(body(textwrap.dedent(forks).strip()), memory=2**29)
    assert (outcome.status, outcome.reason) == ("ok", None)


def test_a_contender_cannot_move_its_costs_to_another_phase(outcome_of):
    outcome = outcome_of(body("run._send({'event': 'phase', 'name': 'load'})\nimport time; time.sleep(.5)"))
    assert outcome.seconds["fit"] > 0.5
    assert set(outcome.seconds) == {"start", "load", "fit", "ask:rate", "save"}


def test_bytecode_that_a_rival_left_is_not_run(project, tmp_path):
    path = project.contender("hostile/it", body("run.log(version=1)"))
    write_question(question(), tmp_path / "question")
    job = Job(read(path), sys.executable, tmp_path / "question", ("rate",), {}, 7, 1, "cpu", 60, 2**31)

    def version() -> float:
        with run_folder() as folder:
            return play(job, folder, tmp_path / "code").curve[0]["version"]

    assert version() == 1
    (kept,) = (tmp_path / "code").glob("*/hostile/it.py")
    honest, stat = kept.read_text(), kept.stat()
    kept.write_text(honest.replace("version=1", "version=2"))
    os.utime(kept, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    py_compile.compile(str(kept))  # its header matches: same size, same time
    kept.write_text(honest)
    os.utime(kept, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert version() == 1


def test_the_childs_world_is_empty(outcome_of):
    look = """
        import os, sys
        from pathlib import Path
        assert sys.flags.isolated == 1
        assert list(Path.home().iterdir()) == []
        assert list(Path.cwd().iterdir()) == [] and list(run.scratch.iterdir()) == []
        known = {"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "LC_CTYPE", "HOME", "TMPDIR",
                 "NUMBA_CACHE_DIR", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS",
                 "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"}
        assert set(os.environ) <= known, set(os.environ) - known
        assert len(sys.argv) == 3
        assert not train.interactions.user.flags.writeable"""
    outcome = outcome_of(body(textwrap.dedent(look).strip()))
    assert outcome.status == "ok", outcome.reason


def test_the_same_seed_gives_the_same_numbers_whichever_generator_is_used(outcome_of):
    draw = "import random\nreturn [run_rng.random() + np.random.rand(), random.random()]"
    source = body("global run_rng\nrun_rng = run.rng", draw)
    first = (outcome_of(source), outcome_of.prediction)[1]
    second = (outcome_of(source), outcome_of.prediction)[1]
    assert first.tolist() == second.tolist()


def test_candidates_carry_nothing_by_their_place():
    def asked(candidates: list[int]) -> RankQueries:
        history = Ragged.from_lists([[0]])
        return RankQueries(None, history, history, Ragged.from_lists([candidates]), k=1, n_items=5)

    assert asked(sorted([4, 1, 2])).candidates[0].tolist() == asked(sorted([1, 4, 2])).candidates[0].tolist()
    with pytest.raises(ValueError, match="sorted"):
        asked([4, 1, 2])  # a target that comes first could be told by its place


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can close a process's memory to its user")
def test_the_keeper_can_close_its_memory():
    look = (
        "import ctypes; from recarena.contract.lifeline import close_memory; close_memory();"
        "print(ctypes.CDLL(None).prctl(3))"  # PR_GET_DUMPABLE
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


# --- the snoop ------------------------------------------------------------------------------------------------------

NEEDLE = 3.3718291  # a rating that only held-out rows have
DECOY = 2.4490173  # a rating that only training rows have: the snoop must be able to find something

SNOOP = """
MASK = 0x5A  # the needles are kept masked and in halves, so that this search does not find itself
def files_below(folder):
    import os
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(place, name)

def search(wanted, chunk, where, found):
    for text in wanted:
        middle = len(text) // 2
        head, tail = bytes(b ^ MASK for b in text[:middle]), bytes(b ^ MASK for b in text[middle:])
        at = chunk.find(head)
        while at >= 0:
            if chunk[at + len(head) : at + len(head) + len(tail)] == tail:
                found.append(where)
                break
            at = chunk.find(head, at + 1)

def memory(pid, wanted, found):
    try:
        maps = open(f"/proc/{pid}/maps").read().splitlines()
        mem = open(f"/proc/{pid}/mem", "rb", 0)
    except OSError:
        return 0
    looked = 0
    for line in maps:
        place, mode = line.split()[:2]
        if not mode.startswith("rw"):
            continue
        low, high = (int(x, 16) for x in place.split("-"))
        for start in range(low, high, 2**24):
            try:
                mem.seek(start)
                chunk = mem.read(min(2**24, high - start))
            except (OSError, ValueError, OverflowError):
                break
            looked += len(chunk)
            search(wanted, chunk, f"memory of {pid}", found)
    return looked

def snoop(wanted, question_files):
    import os, sys
    from pathlib import Path
    found = []
    for file in [*files_below(Path.cwd().parent), *question_files]:
        search(wanted, open(file, "rb").read(), file, found)
    pid, generation = os.getppid(), 0
    while pid > 1 and generation < 4:
        for what in ("environ", "cmdline"):
            try:
                search(wanted, open(f"/proc/{pid}/{what}", "rb").read(), f"{what} of {pid}", found)
            except OSError:
                pass
        pid = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        generation += 1
    search(wanted, repr(dict(os.environ)).encode() + repr(sys.argv).encode(), "environment", found)
    looked = memory(os.getppid(), wanted, found)
    memory(os.getpid(), wanted, found)
    return found, looked

@implementation(author="snoop")
@dataclass
class Snoop:
    needle: tuple = NEEDLES
    def fit(self, train, run):
        wanted = [bytes(text) for text in self.needle]
        folder = str(train.interactions.user.filename).rsplit("/", 1)[0]
        found, looked = snoop(wanted, list(files_below(folder)))
        run.log(places=len(found), looked=looked)
        if found:
            raise Skip("found in " + "; ".join(sorted(set(found))[:5]))
    def rate(self, queries):
        return np.zeros(len(queries))
"""


def _masked(number: float) -> str:
    f32, f64 = np.float32(number), np.float64(np.float32(number))
    texts = [f32.tobytes() * 2, f64.tobytes(), str(number).encode()]
    return repr(tuple(tuple(b ^ 0x5A for b in text) for text in texts))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="reads memory through /proc, which only Linux has")
def test_a_snoop_finds_no_planted_answer_but_does_find_a_planted_training_value(project):
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(20) for i in range(30) if rng.random() < 0.5]
    held = np.zeros(len(pairs), bool)
    order = np.arange(len(pairs))
    np.random.RandomState(42).shuffle(order)
    held[order[: -(-len(pairs) // 5)]] = True  # fold 0 of 5: the first block, rounded up as scikit-learn does
    rating = np.where(held, NEEDLE, rng.integers(1, 6, len(pairs)).astype(float))
    rating[np.flatnonzero(~held)[:40]] = DECOY
    rows = ",\n".join(f"[{u}, {i}, {r}, {n}]" for n, ((u, i), r) in enumerate(zip(pairs, rating, strict=True)))
    recipe = (
        'title = "planted"\nlicence = "none"\ncitation = "none"\nhomepage = "none"\n'
        f'[[sources]]\nkind = "inline"\nrows = [{rows}]\n'
    )
    _write_with_fingerprint(project, "planted", recipe)
    (project.root / "benchmarks" / "planted.toml").write_text(
        'title = "planted"\ndescribe = "planted"\ndataset = "planted"\nversion = 1\ncolumns = ["value"]\n'
        'order = "none"\nseeds = 1\ntime_limit_s = 60\nmemory_limit_bytes = 4_000_000_000\n'
        '[split]\nname = "kfold"\nn_folds = 5\nseed = 42\nfolds = [0]\n[asks.rate]\nkind = "rate"\nmetrics = ["rmse"]\n'
    )
    project.contender("snoops/answers", SNOOP.replace("NEEDLES", _masked(NEEDLE)))
    project.contender("snoops/training", SNOOP.replace("NEEDLES", _masked(DECOY)))
    done = subprocess.run(
        [sys.executable, "-m", "recarena", "run", "-b", "planted", "--results", str(project.results)],
        env=project.environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {
        who: records.read(project.results / "planted" / f"snoops.{who}" / "fold-0-seed-0.json")
        for who in ("answers", "training")
    }
    assert found["training"].status == "skipped", "the snoop is blind: it missed what lies open"
    assert "found in" in found["training"].reason
    assert found["answers"].status == "ok", found["answers"].reason
    assert found["answers"].curve[0]["looked"] > 2**20, "the snoop could not read its parent's memory"


def _write_with_fingerprint(project, name: str, recipe: str) -> None:
    """Write a dataset recipe with the counts and the fingerprint that its own rows have."""
    import tomllib

    from recarena.data.parsers import inline

    rows = tomllib.loads(recipe)["sources"][0]["rows"]
    raw = inline([tuple(row) for row in rows], name)
    expect = (
        f"[expect]\nusers = {len(np.unique(raw.user))}\nitems = {len(np.unique(raw.item))}\n"
        f'interactions = {len(raw)}\nsha256 = "{raw.sha256()}"\n'
    )
    (project.root / "datasets" / f"{name}.toml").write_text(recipe + expect)


def test_the_code_that_runs_is_the_code_that_is_recorded(project, tmp_path):
    path = project.contender("hostile/it", body("run.log(version=1)"))
    write_question(question(), tmp_path / "question")
    it = read(path)
    job = Job(it, sys.executable, tmp_path / "question", ("rate",), {}, 7, 1, "cpu", 60, 2**31)

    def version() -> float:
        with run_folder() as folder:
            return play(job, folder, tmp_path / "code").curve[0]["version"]

    assert version() == 1
    (kept,) = (tmp_path / "code").glob("*/hostile/it.py")
    kept.write_text(kept.read_text().replace("version=1", "version=2"))  # a contender could have
    assert version() == 1
    path.write_text(path.read_text().replace("version=1", "version=3"))
    kept.unlink()
    with pytest.raises(RecarenaError, match="edited while it was to run"):
        version()
