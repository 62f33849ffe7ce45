"""The interpreter and packages that an implementation runs with: the house's own, or one built from its PEP 723 block.

A file that opens with ``# /// script`` gets an environment of its own, built once from that block with pip and kept in
the cache by its content. That is how libraries with other needs than ours play on the same boards.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from recarena.arena.discovery import Implementation
from recarena.contract.errors import ImplementationError, Skip, did_you_mean

CONTRACT_VERSION = 1  # raised when a change under contract/ can change a number; it is part of every record's key
READY = "recarena-packages.json"  # written last: an environment without it was never finished
BLOCK_KEYS = ("dependencies", "requires-python", "tool")
ON_GPU = {"torch", "jax", "cupy"}
EXTRAS = {"torch": "pip install 'recarena[torch]'"}


@dataclass(frozen=True)
class Environment:
    """What a run's numbers may depend on beside question, code, settings and seed.

    Attributes:
        python: path of the interpreter.
        facts: python's version, the contract's, and the packages: all of them in an environment of its own, those that
            the source names in the house's.
    """

    python: str
    facts: dict[str, Any]


def environment(
    who: Implementation,
    cache: Path,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
    *,
    build: bool = True,
) -> Environment:
    """Return the environment of an implementation, building its own where it asks for one.

    Args:
        who: the implementation.
        cache: environments are kept in ``cache / "environments"``.
        device: "cpu" or "cuda"; part of the facts of what can use a GPU.
        say: told when one is built, which can take minutes.
        build: whether one may be built that is not there yet.

    Raises:
        Skip: a package is not installed, this Python is not the one that the block requires, or nothing may be built.
        ImplementationError: the block asks for something that cannot be built; pip's words are in the message.
    """
    if who.script is not None:
        python, packages = interpreter(who.script, f"{who.paper}/{who.path.name}", cache, say, build=build)
        return Environment(python, _facts(packages, device))
    packages = {}
    for module in {*who.imports, "numpy"}:
        names = _distributions().get(module)
        if not names:
            how = EXTRAS.get(module, f"pip install {module}, or name it in a # /// script block")
            raise Skip(f"package {module} is not installed: {how}")
        packages |= {name.lower(): importlib.metadata.version(name) for name in names}
    return Environment(sys.executable, _facts(packages, device))


def _facts(packages: dict[str, str], device: str) -> dict[str, Any]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    facts = {"python": version, "contract": CONTRACT_VERSION, "packages": dict(sorted(packages.items()))}
    return facts | ({"device": device} if ON_GPU & packages.keys() else {})


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {module: sorted(set(names)) for module, names in importlib.metadata.packages_distributions().items()}


def interpreter(
    block: dict[str, Any],
    where: str,
    cache: Path,
    say: Callable[[str], None] = lambda _: None,
    *,
    build: bool = True,
) -> tuple[str, dict[str, str]]:
    """Return the interpreter that a script block asks for, built once, and its packages with their versions.

    Args:
        block: what stands between ``# /// script`` and ``# ///``.
        where: whose block it is, for messages.
        cache: as in ``environment``.
        say: as in ``environment``.
        build: as in ``environment``.

    Raises:
        Skip: this Python is not the one that the block requires, or nothing may be built.
        ImplementationError: the block asks for something that cannot be built; pip's words are in the message.
    """
    for key in block:
        if key not in BLOCK_KEYS:
            raise ImplementationError(f'{where}: the script block has no key "{key}"{did_you_mean(key, BLOCK_KEYS)}')
    _check_python(where, str(block.get("requires-python", "")))
    listed = block.get("dependencies", [])
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ImplementationError(f'{where}: dependencies = {listed!r}: expected a list such as ["scipy>=1.13"]')
    wanted = sorted({*listed, "numpy"})  # the contract needs numpy, whichever version
    digest = hashlib.sha256(json.dumps([wanted, sys.version, platform.platform()]).encode()).hexdigest()
    home = cache / "environments" / digest[:20]
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / READY).exists():
            if not build:
                name = where.removesuffix(".py")
                raise Skip(f"its own environment ({', '.join(wanted)}) is not built yet: -i {name} builds it")
            say(f"{where}: building its environment ({', '.join(wanted)})")
            _build(home, wanted, where)
    return str(_python(home)), json.loads((home / READY).read_text(encoding="utf-8"))


def _check_python(where: str, required: str) -> None:
    try:
        fits = SpecifierSet(required).contains(platform.python_version(), prereleases=True)
    except InvalidSpecifier as error:
        raise ImplementationError(f'{where}: requires-python = "{required}" is not a version specifier') from error
    if not fits:
        raise Skip(f"requires Python {required}, this is {platform.python_version()}")


def _build(home: Path, wanted: list[str], where: str) -> None:
    shutil.rmtree(home, ignore_errors=True)
    try:
        _call([sys.executable, "-m", "venv", str(home)], where)
        pip = [str(_python(home)), "-m", "pip", "--disable-pip-version-check"]
        _call([*pip, "install", "--quiet", "--no-input", *wanted], where)
        listed = json.loads(_call([*pip, "list", "--format=json"], where))
    except ImplementationError:
        shutil.rmtree(home, ignore_errors=True)
        raise
    packages = {one["name"].lower(): one["version"] for one in listed}
    (home / READY).write_text(json.dumps(packages, indent=1), encoding="utf-8")


def _call(command: list[str], where: str) -> str:
    # constraints of the house (tox sets them) are not the contender's
    surroundings = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)
    if done.returncode != 0:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise ImplementationError(f"{where}: its environment cannot be built; pip says:\n{words}")
    return done.stdout


def _python(home: Path) -> Path:
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
