"""One run behind the wall: a child process that gets a question and nothing else, watched from outside.

The child is ``python -I`` in a session of its own, with an empty home, a temporary folder for everything it writes, a
short list of environment variables, and two pipes: events out, and one that the runner closes when it has seen
enough. The runner keeps the clock, watches the memory of the whole process tree, keeps the last lines of what the
child prints, and ends the tree when a limit is passed, when the child ends, or when the runner itself does.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from recarena.arena.discovery import Implementation, code_hash
from recarena.arena.events import EVENT_BYTES, LAST_LINES, PRINTED_BYTES, Clock, Event, Lines, Outcome
from recarena.contract import worker
from recarena.contract.errors import RecarenaError
from recarena.contract.lifeline import adopt_orphans

LOOK_EVERY_SECONDS = 0.1
RUN_FOLDER = "recarena-run-"  # the runner's process id follows
GRACE_SECONDS = 5.0  # between the end of a run's events and its exit
# what a contender may need of the outer environment to find its interpreter, its libraries and a GPU
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """All that a run is a function of, beside the machine.

    Attributes:
        implementation: whose code.
        python: the interpreter to run it with.
        question: the question's folder, in the cache.
        asks: names of the asks to answer.
        hyperparameters: name -> value.
        seed: the run's seed.
        threads: cores the run may use.
        device: "cpu" or "cuda".
        time_limit_seconds: the whole run, loading included.
        memory_limit_bytes: resident memory of the whole process tree.
    """

    implementation: Implementation
    python: str
    question: Path
    asks: tuple[str, ...]
    hyperparameters: dict[str, Any]
    seed: int
    threads: int
    device: str
    time_limit_seconds: float
    memory_limit_bytes: int


@contextmanager
def run_folder() -> Iterator[Path]:
    """Lend a temporary folder for one run; it is gone afterwards, whatever was put in it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{RUN_FOLDER}{os.getpid()}-"))
    try:
        for name in ("prediction", "scratch", "home", "code"):
            (folder / name).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(job: Job, folder: Path, code_cache: Path, on_event: Callable[[Event], None] = lambda _: None) -> Outcome:
    """Run a job to its end and say what was seen; never raises for anything the contender does.

    Args:
        job: what to run.
        folder: from ``run_folder``; the predictions are in ``folder / "prediction"`` afterwards.
        code_cache: where sources are kept by content, so that compiled code (numba) can be kept beside them.
        on_event: told of phases, logs and progress as they come.
    """
    outcome = Outcome()
    started = time.perf_counter()
    _write_job(job, folder, code_cache)
    adopt_orphans()
    others = set(psutil.Process().children(recursive=True))  # what the runner has besides this run
    events_out, events_in = os.pipe()
    command = [job.python, "-I", worker.__file__, str(folder), str(events_in)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder / "scratch",
        env=_environment(job, folder, code_cache),
        pass_fds=[events_in],
        start_new_session=True,
    )
    os.close(events_in)
    try:
        _watch(child, events_out, others, job, outcome, on_event, started)
    finally:
        os.close(events_out)
        _end_tree(child, others)
        _sweep(code_cache / job.implementation.code / "compiled")
    outcome.wall_seconds = time.perf_counter() - started
    return outcome


def _write_job(job: Job, folder: Path, code_cache: Path) -> None:
    code = keep_code(job.implementation, code_cache)
    facts = {
        "runner_pid": os.getpid(),
        "code": str(code),
        "module": f"contender.{job.implementation.paper}.{job.implementation.who}",
        "class": job.implementation.class_name,
        "question": str(job.question),
        "asks": list(job.asks),
        "hyperparameters": job.hyperparameters,
        "seed": job.seed,
        "threads": job.threads,
        "device": job.device,
        "scratch": str(folder / "scratch"),
    }
    (folder / "job.json").write_text(json.dumps(facts), encoding="utf-8")


def keep_code(implementation: Implementation, code_cache: Path) -> Path:
    """Copy the source to a place named by its content, and return it: what runs is what the record's hash says.

    Raises:
        RecarenaError: the source is not what it was when the implementation was read.
    """
    home = code_cache / implementation.code
    target = home / implementation.paper / implementation.path.name
    for compiled in list(home.rglob("__pycache__")):
        shutil.rmtree(compiled, ignore_errors=True)  # bytecode is not hashed, and anybody could have written it
    names = [path.name for path in implementation.shared]
    if target.exists() and _hash(target, names) == implementation.code:
        return target
    home.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=home.parent, prefix=".draft-"))
    copy = draft / implementation.paper / implementation.path.name
    copy.parent.mkdir()
    try:
        if implementation.path.is_dir():
            shutil.copytree(implementation.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(implementation.path, copy)
        for path in implementation.shared:
            shutil.copy2(path, copy.parent)
        if _hash(copy, names) != implementation.code:
            raise RecarenaError(f"{implementation.name} was edited while it was to run; run again")
        if target.exists():  # and is not what its name says
            shutil.rmtree(home)
        with suppress(OSError):  # another runner was first: the content is the same
            draft.rename(home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _hash(path: Path, shared: Sequence[str]) -> str | None:
    """Return the hash of a copy; None where a shared file is missing."""
    files = [path.with_name(name) for name in shared]
    return code_hash(path, files) if all(file.is_file() for file in files) else None


def _sweep(compiled: Path) -> None:
    """Leave nothing but numba's own files where a run may write and a later run, of another fold, may read."""
    for path in list(compiled.rglob("*")):
        if path.is_symlink() or (path.is_file() and path.suffix not in (".nbi", ".nbc")):
            path.unlink(missing_ok=True)


def _environment(job: Job, folder: Path, code_cache: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "scratch"),
        "NUMBA_CACHE_DIR": str(code_cache / job.implementation.code / "compiled"),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what torch asks for to be deterministic on a GPU
    }
    return passed | own | dict.fromkeys(THREAD_VARIABLES, str(job.threads))


def _watch(
    child: subprocess.Popen[bytes],
    events_out: int,
    others: set[psutil.Process],
    job: Job,
    outcome: Outcome,
    on_event: Callable[[Event], None],
    started: float,
) -> None:
    """Read both pipes until the child has said all, or broken a limit."""
    printed: deque[str] = deque(maxlen=LAST_LINES)
    clock = Clock(outcome, job.asks, on_event, started)
    assert child.stdout is not None and child.stdin is not None  # noqa: S101
    pipes = {events_out: Lines(EVENT_BYTES), child.stdout.fileno(): Lines(PRINTED_BYTES)}
    done_at: float | None = None
    exited_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for fd in pipes:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        next_look = 0.0
        while True:
            for key, _ in selector.select(timeout=LOOK_EVERY_SECONDS):
                lines = pipes[key.fd].read(key.fd)
                if lines is None:
                    selector.unregister(key.fd)
                elif key.fd == events_out:
                    for line in lines:
                        clock.take(line)
                else:
                    printed.extend(line.decode("utf-8", "replace") for line in lines)
            now = time.perf_counter()
            if now >= next_look or clock.done:
                next_look = now + LOOK_EVERY_SECONDS
                used = _tree_memory(child.pid, others, outcome)
                if used > job.memory_limit_bytes:
                    outcome.fail(
                        f"used {used / 2**30:.2f} GiB of memory, the limit is {job.memory_limit_bytes / 2**30:.2f} GiB"
                    )
                    break
            if clock.done and done_at is None:
                done_at = now
                with suppress(OSError):
                    child.stdin.close()
            if now - started > job.time_limit_seconds:
                outcome.fail(f"ran past the time limit of {job.time_limit_seconds:g} s in {clock.phase}", "timeout")
                break
            code = child.poll()
            if code is not None and exited_at is None:
                exited_at = now
            # a grandchild may hold the pipes open for ever: once the child has ended, what is in them is enough
            if exited_at is not None and (not selector.get_map() or now - exited_at > LOOK_EVERY_SECONDS):
                break
            if done_at is not None and now - done_at > GRACE_SECONDS:
                break
    clock.stop()
    if not clock.done:
        outcome.fail(_how_it_ended(child, clock.phase))
    if outcome.status != "ok" and not outcome.last_lines:
        outcome.last_lines = list(printed)


def _how_it_ended(child: subprocess.Popen[bytes], phase: str) -> str:
    code = child.poll()
    if code is None:
        return f"stopped answering in {phase}"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = " (the system may have run out of memory)" if -code == signal.SIGKILL else ""
        return f"was ended by {name} in {phase}{hint}"
    return f"ended with exit code {code} in {phase}, before its answers were in"


def _family(others: set[psutil.Process]) -> set[psutil.Process]:
    """Return all processes of the run: the runner adopts orphans, so even one that cut its ties is among them."""
    return set(psutil.Process().children(recursive=True)) - others


def _tree_memory(pid: int, others: set[psutil.Process], outcome: Outcome) -> int:
    """Return the bytes that a run's processes hold now, and raise the outcome's peak; shared pages count once."""
    used, family = 0, _family(others)
    for process in family:
        with suppress(psutil.Error):
            used += process.memory_info().rss if len(family) == 1 else _fair_share(process)
    outcome.peak_memory_bytes = max(outcome.peak_memory_bytes, used, _high_water(pid))
    return used


def _fair_share(process: psutil.Process) -> int:
    """Return a process's proportional set size where the system tells it, else its resident size."""
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.AccessDenied):
        return int(process.memory_info().rss)


def _high_water(pid: int) -> int:
    """Return the kernel's own peak of a process's resident memory (Linux), which no sampling can miss."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _end_tree(child: subprocess.Popen[bytes], others: set[psutil.Process]) -> None:
    """End every process of the run; again until none is left, since one may start another meanwhile."""
    for _ in range(20):
        family = _family(others)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        for process in family:
            with suppress(psutil.Error):
                process.kill()  # psutil checks that the id was not given to another process meanwhile
        child.poll()
        psutil.wait_procs([process for process in family if process.pid != child.pid], timeout=0.2)
        if not _family(others) - {process for process in family if process.pid == child.pid}:
            break
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    child.wait()
