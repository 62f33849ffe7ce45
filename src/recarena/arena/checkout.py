"""What git says of the checkout that the code comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_and_dirty(root: Path) -> tuple[str | None, bool]:
    """Return the commit of the checkout and whether anything in it differs from that commit; (None, True) outside git.

    results/ and README.md do not count: the runner itself writes records and boards there.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, True
    changed = _git(root, "status", "--porcelain", "--", ".", ":(exclude)results", ":(exclude)README.md")
    return commit.strip(), changed is None or bool(changed.strip())


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
