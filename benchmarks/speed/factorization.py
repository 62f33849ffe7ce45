"""Our side of what is measured of factorization machines: the files of ``reproductions/fm``, loaded as the worker does.

Also the question's arrays for peers, and synthetic ratings for the growth curves.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
from synthetic import pairs

from recarena.contract.queries import Interactions, RateQueries
from recarena.contract.questions import Train
from recarena.contract.worker import load_module

FM = Path(__file__).resolve().parents[2] / "reproductions" / "fm"
PLAIN = ("user", "item")
WARM_UP = 2  # sweeps; the first compiles


@functools.cache
def shared(name: str) -> ModuleType:
    """Return a file of the folder, such as ``_gibbs``."""
    return load_module(FM / f"{name}.py", f"contender.fm.{name}")


def contender(who: str) -> type[Any]:
    """Return the marked class of a file."""
    return next(thing for thing in vars(shared(who)).values() if getattr(thing, "__recarena__", False))


class Chains:
    """Gibbs chains from fresh parameters every time it is called, with the next seed; every draw is kept.

    Args:
        train: the ratings.
        queries: what is held out.
        truth: (q,) its ratings.
        families: what the features are.
        dim: d.
        sweeps: how many, over all chains.
        dropped: so many at the start of each chain are not averaged.
        chains: how many, side by side on a thread each.
        predicting: whether the call also guesses the held-out ratings.
    """

    def __init__(
        self,
        train: Train,
        queries: RateQueries,
        truth: np.ndarray,
        families: tuple[str, ...] = PLAIN,
        *,
        dim: int,
        sweeps: int,
        dropped: int,
        threads: int = 1,
        chains: int = 1,
        predicting: bool = False,
    ) -> None:
        assert train.interactions.value is not None
        design = shared("_features").design(train, families)
        self._blocks, self._rows = design.blocks, design.rows(train.interactions)
        self._asked, self._truth = design.rows(queries), truth
        self._target = train.interactions.value
        self._dim, self._sweeps, self._dropped = dim, sweeps, dropped
        self._threads, self._chains, self._predicting = threads, chains, predicting
        self.kept: list[list[Any]] = []
        self.guesses: list[np.ndarray] = []

    def __call__(self) -> None:
        seeds = np.random.SeedSequence(len(self.kept)).spawn(self._chains)
        with ThreadPoolExecutor(self._chains) as pool:
            draws = [draw for chain in pool.map(self._chain, seeds) for draw in chain]
        self.kept.append(draws)
        if self._predicting:
            self.guesses.append(self._guess(draws))

    def rmse(self) -> float:
        """Return the mean over the calls, each prediction the mean of its draws."""
        every = self.guesses or [self._guess(draws) for draws in self.kept]
        return float(np.mean([np.sqrt(np.mean((guess - self._truth) ** 2)) for guess in every]))

    def _chain(self, seed: np.random.SeedSequence) -> list[Any]:
        rng = np.random.default_rng(seed)
        sampler = sampling(self._blocks, self._rows, self._target, self._dim, rng, self._threads)
        draws = []
        for sweep in range(self._sweeps // self._chains):
            sampler.sweep()
            if sweep >= self._dropped:
                draws.append(sampler.draw())
        return draws

    def _guess(self, draws: list[Any]) -> np.ndarray:
        scale = float(self._target.min()), float(self._target.max())
        return shared("_gibbs").average(draws, self._asked, *scale)


def sampling(blocks: Any, rows: Any, target: np.ndarray, dim: int, rng: np.random.Generator, threads: int) -> Any:
    """Return a sampler with its first parameters."""
    return shared("_gibbs").Sampler(blocks, rows, target, dim=dim, rng=rng, threads=threads)


def hand_over(train: Train, queries: RateQueries, truth: np.ndarray, families: tuple[str, ...], folder: Path) -> None:
    """Write the blocks of features, and which block rows every rating has, for peers."""
    folder.mkdir(exist_ok=True)
    design = shared("_features").design(train, families)
    about = []
    for block in design.blocks:
        for name in ("x", "column", "start"):
            np.save(folder / f"{block.name}_{name}.npy", getattr(block, name))
        sizes = np.diff(block.first).tolist()
        shape = [block.n_rows, block.n_columns]
        about.append({"name": block.name, "shape": shape, "groups": sizes, "identity": block.is_identity})
    for part, events, value in (("train", train.interactions, train.interactions.value), ("test", queries, truth)):
        for block, row in zip(design.blocks, design.rows(events), strict=True):
            np.save(folder / f"{part}_{block.name}.npy", row)
        np.save(folder / f"{part}_value.npy", value)
    (folder / "blocks.json").write_text(json.dumps(about), encoding="utf-8")


def write_labels(train: Train, queries: RateQueries, truth: np.ndarray, folder: Path, name: str) -> None:
    """Write labelled pairs as RecBole's files; its validation, which is not looked at, is a few rows of the test."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = train.interactions
    held = queries.user, queries.item, truth
    parts = {"train": (seen.user, seen.item, seen.value), "valid": tuple(c[:100] for c in held), "test": held}
    for part, columns in parts.items():
        rows = pl.DataFrame(dict(zip(("user_id:token", "item_id:token", "label:float"), columns, strict=True)))
        rows.write_csv(folder / f"{name}.{part}.inter", separator="\t")


def ratings(n: int, n_users: int, n_items: int) -> Train:
    """Return n synthetic ratings of 1 to 5, sorted as a question's are."""
    user, item = pairs(n, n_users, n_items)
    order = np.argsort(user.astype(np.int64) * n_items + item)
    value = np.random.default_rng(1).integers(1, 6, n).astype(np.float32)
    return Train(Interactions(user[order], item[order], value, None, n_users, n_items))


def sweeping(n: int, n_users: int, n_items: int, dim: int, threads: int) -> Callable[[], Any]:
    """Return a function that makes one sweep of users and items; compiled, and past its first sweeps."""
    train = ratings(n, n_users, n_items)
    design = shared("_features").design(train, PLAIN)
    rows = design.rows(train.interactions)
    sampler = sampling(design.blocks, rows, train.interactions.value, dim, np.random.default_rng(0), threads)
    for _ in range(WARM_UP):
        sampler.sweep()
    return sampler.sweep


def designing(n: int, n_users: int, n_items: int) -> Callable[[], Any]:
    """Return a function that builds ids and both implicit histories."""
    train = ratings(n, n_users, n_items)
    families = ("user", "rated", "item", "rated_by")
    shared("_features").design(ratings(100, 50, 60), families)
    return lambda: shared("_features").design(train, families)
