"""The interpreter and packages that an implementation runs with, and the machine it runs on."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import psutil

from recarena.arena.discovery import Implementation
from recarena.contract.errors import Skip

CONTRACT_VERSION = 1  # raised when a change under contract/ can change a number; it is part of every record's key


def environment(implementation: Implementation) -> dict[str, Any]:
    """Return what may change an implementation's numbers: python and the packages that its source names.

    Raises:
        Skip: a package is missing, or the file asks for an environment of its own.
    """
    if implementation.script is not None:
        raise Skip("needs an environment of its own (# /// script), which this version does not build yet")
    packages = {}
    for module in {*implementation.imports, "numpy"}:
        names = _distributions().get(module)
        if not names:
            raise Skip(f"package {module} is not installed: {_how_to_install(module)}")
        for name in names:
            packages[name.lower()] = importlib.metadata.version(name)
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "contract": CONTRACT_VERSION,
        "packages": dict(sorted(packages.items())),
    }


def machine() -> dict[str, Any]:
    """Return the machine's facts, for reading costs by; they are not part of a record's key."""
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_device() -> str:
    """Return "cuda" where an NVIDIA driver answers, else "cpu"; torch is not imported for that."""
    return "cuda" if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") else "cpu"


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {module: sorted(set(names)) for module, names in importlib.metadata.packages_distributions().items()}


def _how_to_install(module: str) -> str:
    extras = {"torch": "pip install 'recarena[torch]'"}
    return extras.get(module, f"pip install {module}, or name it in a # /// script block")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
