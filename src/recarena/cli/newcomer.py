"""``recarena new``: a working file to edit, with a comment above each obligation."""

from __future__ import annotations

import re
from pathlib import Path

from recarena.contract.errors import RecarenaError

TEMPLATE = '''\
"""{title}, by {who}. It works as it is (popularity and the global mean): replace it piece by piece with the paper."""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, Ints, RankQueries, RateQueries, Run, Train, implementation, top_k


# `departs` names every departure from the paper; add deterministic=True if the seed changes nothing (check tries it)
@implementation(author="{who}", departs=("not the paper yet",))
@dataclass
class {name}:
    """Say what it predicts, and from what."""

    # hyper-parameters: annotated fields with literal defaults (the paper's); `--set smoothing=2` overrides one
    smoothing: float = 1.0

    def fit(self, train: Train, run: Run) -> None:
        """Learn from train.interactions: user, item (n,), value (n,) or None on implicit boards."""
        rows = train.interactions
        self.count = np.bincount(rows.item, minlength=rows.n_items) + self.smoothing  # (n_items,)
        self.mean = float(rows.value.mean()) if rows.value is not None else 0.0
        # everything random comes from run.rng or run.seed; show where you are with
        # run.progress(done, total) and run.log(epoch=1, rmse=0.9); choose epochs on train.validation[...].score(...);
        # numba loops want @njit(cache=True), or every run compiles them again

    # keep the asks that the paper answers, delete the other
    def rate(self, queries: RateQueries) -> Floats:
        """Return (q,) ratings for (queries.user, queries.item)."""
        return np.full(len(queries), self.mean)

    def rank(self, queries: RankQueries) -> Ints:
        """Return (q, k) items, best first; top_k leaves out what may not be listed. queries.user may be None."""
        return top_k(self.count, queries)
'''

README = """\
# {paper}

What the paper says (equations with their numbers), what the authors' code does, where they differ, and which we follow.
"""

PAPER = """\
title = "{paper}: the paper's title"
authors = "who wrote it"
year = 2026
url = "https://doi.org/..."

# one block for each number that the paper claims; CONTRIBUTING.md says what the keys mean
# [[claims]]
# implementation = "{who}"
# benchmark = "ml-100k-rate"
# ask = "rate"
# metric = "rmse"
# value = 0.9
# tolerance = 0.003
# model = "as the paper calls it, short"
# settings = "its settings"
# protocol = "the protocol under which it was published"
# comparable = false
# why_not = "another split"
# source = "where you read it"
# confidence = "source"
"""


def write_template(root: Path, paper: str, who: str) -> Path:
    """Write ``reproductions/<paper>/<who>.py``, and the paper's folder where it is new.

    Raises:
        RecarenaError: a name that cannot be a file's, or a file that is there already.
    """
    for what, name in (("PAPER", paper), ("WHO", who)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise RecarenaError(f'{what} "{name}": use lower-case letters, digits and _, such as mult_vae or kim')
    folder = root / "reproductions" / paper
    path = folder / f"{who}.py"
    if path.exists() or path.with_suffix("").exists():
        raise RecarenaError(f"reproductions/{paper}/{who}.py is there already; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "paper.toml").exists():
        (folder / "paper.toml").write_text(PAPER.format(paper=paper, who=who), encoding="utf-8")
    if not (folder / "README.md").exists():
        (folder / "README.md").write_text(README.format(paper=paper), encoding="utf-8")
    name = "".join(part.capitalize() for part in f"{paper}_{who}".split("_"))
    path.write_text(TEMPLATE.format(title=paper, who=who, name=name), encoding="utf-8")
    return path.relative_to(root)
