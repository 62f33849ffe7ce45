"""A peer's own interpreter: built once from the PEP 723 block at the head of its file, kept in the cache."""

from __future__ import annotations

import sys
from pathlib import Path

from recarena.arena import environments
from recarena.arena.discovery import script_block


def interpreter(file: Path, cache: Path) -> str:
    """Return the path of the interpreter that ``file`` asks for: the house's own where it has no block.

    Raises:
        Skip: this Python is not one that the block allows.
        ImplementationError: pip cannot build it here; its words are in the message.
    """
    block = script_block(file.read_text(encoding="utf-8"), file.name)
    return sys.executable if block is None else environments.interpreter(block, file.name, cache, print)[0]
