"""The contender's process. Run as ``python -I worker.py RUN_FOLDER EVENTS_FD``; it sees the question, never an answer.

The run folder holds ``job.json`` (code, question folder, hyper-parameters, seed, threads) and receives
``prediction/<ask>.npy``. Facts go to the runner as JSON lines through the events pipe: phases, curves, progress,
a skip, an error. The runner keeps the clock and measures the memory; nothing here reaches a board as a number.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import random
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import IO, Any

METHODS = {"RateQueries": "rate", "RankQueries": "rank", "DetectQueries": "detect"}  # what answers which queries


def main(run_folder: Path, events: IO[str]) -> None:
    """Load the implementation, fit it, ask it; report every step as an event."""

    def send(event: str, **facts: Any) -> None:
        events.write(json.dumps({"event": event, **facts}) + "\n")
        events.flush()

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # the last lines of one that is killed
    job = json.loads((run_folder / "job.json").read_text(encoding="utf-8"))
    _adopt_recarena()
    from recarena.contract.errors import Skip  # noqa: PLC0415 - importable only now
    from recarena.contract.lifeline import die_with_parent  # noqa: PLC0415

    die_with_parent(job["runner_pid"])
    try:
        _play(job, run_folder, events, send)
    except Skip as refusal:
        send("skip", reason=str(refusal) or "no reason given")
    except BaseException as error:  # the runner must hear of everything, SystemExit included
        send("error", message=f"{type(error).__name__}: {error}"[:2000], lines=_own_frames(error, job["code"]))
    send("done")
    sys.stdin.read()  # the runner reads this process's peak memory, then closes the pipe
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # an implementation that hangs on exit has no say


def _play(job: dict[str, Any], run_folder: Path, events: IO[str], send: Any) -> None:
    import numpy as np  # noqa: PLC0415

    from recarena.contract.folder import read_question  # noqa: PLC0415
    from recarena.contract.implementation import Run  # noqa: PLC0415

    send("phase", name="load")
    # a net under code that forgets run.rng: the global generators are seeded too
    random.seed(job["seed"])
    np.random.seed(job["seed"] % 2**32)  # noqa: NPY002
    module = load_module(Path(job["code"]), job["module"])
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(job["seed"])
        sys.modules["torch"].set_num_threads(job["threads"])
    contender = getattr(module, job["class"])(**{name: _tuples(v) for name, v in job["hyperparameters"].items()})
    question = read_question(Path(job["question"]))
    run = Run(job["seed"], job["device"], job["threads"], Path(job["scratch"]))
    run._events = events
    gc.collect()

    send("phase", name="fit")
    contender.fit(question.train, run)
    for name in job["asks"]:
        queries = question.asks[name]
        send("phase", name=f"ask:{name}")
        method = METHODS[type(queries).__name__]
        answer = getattr(contender, method)(queries)
        if answer is None:
            raise TypeError(f"{method} returned None; did you forget its return?")
        send("phase", name="save")
        np.save(run_folder / "prediction" / f"{name}.npy", _plain(answer), allow_pickle=False)
    send("result", parameters=_count_parameters(contender), gpu_bytes=_gpu_peak())


def _adopt_recarena() -> None:
    """Make ``import recarena`` find this very copy, without putting its neighbours on the path of the interpreter."""
    home = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        "recarena", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    assert spec is not None and spec.loader is not None  # noqa: S101
    package = importlib.util.module_from_spec(spec)
    sys.modules["recarena"] = package
    spec.loader.exec_module(package)


def load_module(path: Path, name: str) -> ModuleType:
    """Import one file as ``name``, ``contender.<paper>.<who>``, or a folder with ``__init__.py``, by path.

    It gets a package for its paper, so that ``from ._features import ...`` finds what the paper's files share.
    """
    parts = name.split(".")[:-1]
    for depth in range(1, len(parts) + 1):
        package = ModuleType(".".join(parts[:depth]))
        package.__path__ = [str(path.parent)] if depth == len(parts) else []
        sys.modules[package.__name__] = package
    entry = path / "__init__.py" if path.is_dir() else path
    spec = importlib.util.spec_from_file_location(
        name, entry, submodule_search_locations=[str(path)] if path.is_dir() else None
    )
    assert spec is not None and spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _tuples(value: Any) -> Any:
    """JSON has no tuples; a setting that was one is one again."""
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def _plain(answer: Any) -> Any:
    """Return a tensor or a list as a numpy array; what it holds is the judge's business."""
    import numpy as np  # noqa: PLC0415

    if hasattr(answer, "detach"):
        answer = answer.detach().cpu().numpy()
    array = np.asarray(answer)
    if array.dtype == object:
        raise TypeError(f"the answer is not an array of numbers: {type(answer).__name__} became dtype object")
    return array


def _count_parameters(contender: Any) -> int | None:
    """Return ``contender.n_parameters``, else the floats that the instance holds after fit; None if it holds none."""
    import numpy as np  # noqa: PLC0415

    if isinstance(getattr(contender, "n_parameters", None), int):
        return int(contender.n_parameters)
    count = 0
    for value in vars(contender).values():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            count += value.size
        elif callable(getattr(value, "parameters", None)):  # torch.nn.Module
            count += sum(p.numel() for p in value.parameters())
    return count or None


def _gpu_peak() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())


def _own_frames(error: BaseException, code: str) -> list[str]:
    """Return the traceback from the contender's first line on: ours above it helps nobody."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((i for i, frame in enumerate(frames) if frame.filename.startswith(code)), 0)
    text = "".join(traceback.format_list(frames[own:]))
    text = text.replace(str(Path(code).parent.parent) + os.sep, "reproductions" + os.sep)
    return [line[:1000] for line in text.rstrip().splitlines()[-30:]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.fdopen(int(sys.argv[2]), "w", encoding="utf-8"))
