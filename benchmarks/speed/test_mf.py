"""Matrix factorisation: ours against Surprise and implicit, same data, factors and epochs, no worse a quality."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sidebyside import Comparison, agree, compare

from recarena import Run
from recarena.contract.answers import RankAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.metrics import evaluate
from recarena.contract.queries import Interactions, RankQueries, RateQueries
from recarena.contract.questions import Train
from recarena.contract.worker import load_module
from recarena.data import interactions
from recarena.data.folders import load_dataset

ROOT = Path(__file__).resolve().parents[2]
K = 20


@functools.cache
def contender(who: str) -> type[Any]:
    """Return the class of ``reproductions/mf/<who>.py``, loaded once and as the worker does."""
    file = ROOT / "reproductions" / "mf" / f"{who}.py"
    if not file.exists():
        pytest.skip(f"reproductions/mf/{who}.py does not exist yet")
    module = load_module(file, f"contender.mf.{who}")
    return next(thing for thing in vars(module).values() if getattr(thing, "__recarena__", False))


class Fitting:
    """Fits a fresh one every time it is called, with the next seed, and keeps them: quality is a mean over seeds."""

    def __init__(self, who: str, train: Train, threads: int, **settings: Any) -> None:
        self._fresh = functools.partial(contender(who), **settings)
        self._train, self._threads = train, threads
        self.models: list[Any] = []

    def __call__(self) -> None:
        model = self._fresh()
        model.fit(self._train, Run(seed=len(self.models), threads=self._threads))
        self.models.append(model)


@pytest.fixture(scope="module")
def ratings(folder) -> Callable[[str], tuple[Path, Train, RateQueries, np.ndarray]]:
    """Return a function from a dataset to a seeded 80:20 cut of its ratings, and the folder that holds it for peers."""

    def cut(name: str) -> tuple[Path, Train, RateQueries, np.ndarray]:
        raw = interactions.load(load_dataset(ROOT, name)).raw
        rng = np.random.default_rng(0)
        user, item = (_shuffled(np.unique(ids, return_inverse=True)[1], rng) for ids in (raw.user, raw.item))
        test = rng.random(len(user)) < 0.2
        rows = np.flatnonzero(~test)
        rows = rows[np.lexsort((item[rows], user[rows]))]
        path = folder / name
        path.mkdir(exist_ok=True)
        columns = {"user": user, "item": item, "value": raw.value}
        for column, values in columns.items():
            np.save(path / f"{column}.npy", values[~test])  # in the file's order, as a user of the peer would
            np.save(path / f"test_{column}.npy", values[test])
        train = Train(Interactions(user[rows], item[rows], raw.value[rows], None, user.max() + 1, item.max() + 1))
        return path, train, RateQueries(user[test], item[test]), raw.value[test]

    return cut


def _shuffled(place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Number users or items as the arena does: at random."""
    return rng.permutation(place.max() + 1).astype(np.int32)[place]


@pytest.mark.parametrize(
    ("who", "algorithm", "factors", "dataset", "size", "rounds", "within"),
    [
        ("svd", "SVD", 100, "ml-100k", "ML-100K", 5, 0.003),
        ("svd", "SVD", 100, "ml-1m", "ML-1M", 3, 0.002),
        ("svdpp", "SVDpp", 20, "ml-100k", "ML-100K", 3, 0.003),
    ],
    ids=["svd-ml-100k", "svd-ml-1m", "svdpp-ml-100k"],
)
def test_rating_against_surprise(benchmark, start, ratings, who, algorithm, factors, dataset, size, rounds, within):
    path, train, queries, rating = ratings(dataset)
    settings = {"n_factors": factors, "n_epochs": 20}
    job = {"work": "fit", "folder": str(path), "algorithm": algorithm, "settings": settings}
    what = {"svd": "SVD, 20 epochs", "svdpp": "SVD++, 20 epochs"}[who]
    about = Comparison(what, "Surprise 1.1.4", f"{size}, {factors} factors", 1, wanted=4)
    fitting = Fitting(who, train, 1, **settings)
    with start("surprise_peer.py", 1, job) as peer:
        compare(benchmark, about, fitting, peer, rounds, warm_up=False)
        theirs = peer.judge()
    squares = [(model.rate(queries).astype(np.float64) - rating) ** 2 for model in fitting.models]
    ours = {"RMSE": float(np.sqrt(np.mean(squares, axis=1)).mean())}
    agree(benchmark, theirs, ours, within, lower_is_better=True)


@pytest.fixture(scope="module")
def gowalla(folder) -> tuple[Path, Train, RankQueries, RankAnswers]:
    """LightGCN's split of gowalla, and the folder that holds its training rows for peers."""
    mirror = os.environ.get("RECARENA_MIRROR")
    if not mirror or not (Path(mirror) / "gowalla").exists():
        pytest.skip("RECARENA_MIRROR does not hold gowalla")
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part in ("train", "test"):
        lines = gzip.decompress((Path(mirror) / "gowalla" / f"{part}.txt.gz").read_bytes()).decode().splitlines()
        cells = [np.array(line.split(), dtype=np.int32) for line in lines]
        user = np.repeat([row[0] for row in cells], [len(row) - 1 for row in cells]).astype(np.int32)
        item = np.concatenate([row[1:] for row in cells])
        order = np.lexsort((item, user))
        columns[part] = user[order], item[order]
    n_users, n_items = 29_858, 40_981
    user, item = columns["train"]
    train = Train(Interactions(user, item, None, None, n_users, n_items))
    path = folder / "gowalla"
    path.mkdir(exist_ok=True)
    np.save(path / "user.npy", user)
    np.save(path / "item.npy", item)
    history = train.interactions.histories()
    asked, counts = np.unique(columns["test"][0], return_counts=True)
    assert len(asked) == n_users
    queries = RankQueries(np.arange(n_users, dtype=np.int32), history, history, None, K, n_items)
    return path, train, queries, RankAnswers(Ragged.from_lengths(counts, columns["test"][1]))


def against_implicit(benchmark, start, gowalla, threads, about, who, algorithm, peers, settings, rounds):
    path, train, queries, answers = gowalla
    job = {"work": "fit", "folder": str(path), "algorithm": algorithm, "k": K, "settings": peers}
    fitting = Fitting(who, train, threads, **settings)
    # implicit asks for one BLAS thread, or its own threads fight with BLAS's
    with start("implicit_peer.py", threads, job, OPENBLAS_NUM_THREADS="1") as peer:
        compare(benchmark, about, fitting, peer, rounds)
        lists = np.load(path / peer.judge()["lists"])

    def ndcg(predictions: Iterable[np.ndarray]) -> dict[str, float]:
        return {f"NDCG@{K}": float(np.mean([evaluate(queries, answers, one, f"ndcg@{K}") for one in predictions]))}

    theirs, ours = ndcg(lists), ndcg(model.rank(queries) for model in fitting.models)
    agree(benchmark, theirs, ours, within=0.002, lower_is_better=False)


ALPHA_0, LAMBDA = 0.02, 1.0  # ours; a pair that occurred weighs 1, every pair alpha_0


def test_ials_against_implicit(benchmark, start, gowalla, threads):
    epochs = 10
    # divided by alpha_0, our loss is implicit's: every pair weighs 1, one that occurred 1 + 1 / alpha_0
    peers = {
        "factors": 64,
        "iterations": epochs,
        "alpha": 1 + 1 / ALPHA_0,
        "regularization": LAMBDA / ALPHA_0,
        "num_threads": threads,
        "use_cg": True,
    }
    settings = {
        "n_factors": 64,
        "n_epochs": epochs,
        "unobserved_weight": ALPHA_0,
        "regularisation": LAMBDA,
        "exponent": 0.0,
    }
    about = Comparison("iALS, an iteration", "implicit 0.7.2", "gowalla, 64 factors", threads, 2, (epochs, "iteration"))
    against_implicit(benchmark, start, gowalla, threads, about, "ials", "ALS", peers, settings, rounds=3)


def test_bpr_against_implicit(benchmark, start, gowalla):
    # one thread each: ours has no other, since threads that write to the same factors give other numbers every time
    epochs, rate, weight, threads = 30, 0.05, 0.01, 1
    shared = {"learning_rate": rate}
    peers = shared | {"factors": 64, "iterations": epochs, "regularization": weight, "num_threads": threads}
    settings = shared | {"n_factors": 64, "n_epochs": epochs, "regularisation": weight}
    about = Comparison("BPR, an epoch", "implicit 0.7.2", "gowalla, 64 factors", threads, 1.5, (epochs, "epoch"))
    against_implicit(benchmark, start, gowalla, threads, about, "bpr", "BPR", peers, settings, rounds=3)
