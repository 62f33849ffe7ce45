"""Factorization machines: Gibbs sampling against myFM, stochastic gradients against RecBole, no worse a quality."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factorization import PLAIN, Chains, contender, hand_over, shared, write_labels
from sidebyside import Comparison, agree, compare

from recarena import Run
from recarena.contract.answers import RateAnswers
from recarena.contract.metrics import evaluate, summary
from recarena.contract.queries import Interactions, RateQueries
from recarena.contract.questions import Train
from recarena.data import interactions
from recarena.data.folders import load_dataset
from recarena.data.prepare import open_benchmark

ROOT = Path(__file__).resolve().parents[2]
MYFM, RECBOLE = "myFM 0.4.0", "RecBole 1.2.1"
Held = tuple[Train, RateQueries, np.ndarray]


@pytest.fixture(scope="module")
def question() -> Callable[[str], Held]:
    """Return a function from a benchmark to its first fold's training rows, queries and held-out ratings."""
    opened: dict[str, Held] = {}

    def load(name: str) -> Held:
        if name not in opened:
            fold = open_benchmark(ROOT, name)[1][0]
            (ask,) = fold.question.asks
            queries, answers = fold.question.asks[ask], fold.answers[ask]
            assert isinstance(queries, RateQueries)
            assert isinstance(answers, RateAnswers)
            opened[name] = fold.question.train, queries, answers.value
        return opened[name]

    return load


def against_myfm(
    benchmark: Any,
    start: Any,
    folder: Path,
    held: Held,
    about: Comparison,
    *,
    families: tuple[str, ...] = PLAIN,
    dim: int,
    sweeps: tuple[int, int],
    dropped: int,
    rounds: int,
    threads: int = 1,
    chains: int = 1,
    predicting: bool = False,
    within: float = 0.002,
) -> Chains:
    """Compare so many sweeps of myFM's with so many of ours; return ours."""
    path = folder / f"fm-{benchmark.name}"
    hand_over(*held, families, path)
    settings = {"dim": dim, "dropped": dropped, "predicting": predicting}
    ours = Chains(*held, families, sweeps=sweeps[1], threads=threads, chains=chains, **settings)
    job = {"work": "fit", "folder": str(path), "sweeps": sweeps[0], **settings}
    with start("myfm_peer.py", 1, job) as peer:
        compare(benchmark, about, ours, peer, rounds, warm_up=False)
        theirs = peer.judge()
    agree(benchmark, theirs, {"RMSE": ours.rmse()}, within, lower_is_better=True)
    return ours


SWEEPS = [
    ("ml-100k-rate", "ML-100K u1", 10, 100, 1, 6),
    ("ml-100k-rate", "ML-100K u1", 10, 100, 2, 5),
    ("ml-1m-rate", "ML-1M", 10, 40, 1, 6),
    ("ml-1m-rate", "ML-1M", 10, 40, 2, 8),
    ("ml-1m-rate", "ML-1M", 32, 30, 1, 6),
    ("ml-1m-rate", "ML-1M", 32, 30, 2, 8),
]


@pytest.mark.parametrize(
    ("name", "size", "dim", "sweeps", "cores", "wanted"),
    SWEEPS,
    ids=[f"{name}-dim-{dim}-{cores}-threads" for name, _, dim, _, cores, _ in SWEEPS],
)
def test_gibbs_sweep(benchmark, start, folder, threads, question, name, size, dim, sweeps, cores, wanted):
    """myFM samples on one thread; ours on one, then on two."""
    if cores > threads:
        pytest.skip("one core only")
    what = "FM, a Gibbs sweep" + ("" if cores == 1 else f", ours on {cores} threads")
    about = Comparison(what, MYFM, f"{size}, two groups, dim {dim}", cores, wanted, (sweeps, "sweep"))
    settings = {"dim": dim, "sweeps": (sweeps, sweeps), "dropped": sweeps // 2, "threads": cores}
    against_myfm(benchmark, start, folder, question(name), about, rounds=2, **settings)


@pytest.fixture(scope="module")
def ninety_ten() -> Held:
    """ML-1M's rows in an order drawn by Python's generator with seed 0; the first 90% are for training."""
    raw = interactions.load(load_dataset(ROOT, "ml-1m")).raw
    order = list(range(len(raw)))
    random.Random(0).shuffle(order)
    user, item = (np.unique(ids, return_inverse=True)[1].astype(np.int32) for ids in (raw.user, raw.item))
    rows, held = np.split(np.array(order), [len(raw) * 9 // 10])
    rows = rows[np.lexsort((item[rows], user[rows]))]
    train = Interactions(user[rows], item[rows], raw.value[rows], None, int(user.max()) + 1, int(item.max()) + 1)
    return Train(train), RateQueries(user[held], item[held]), raw.value[held]


def test_time_to_an_rmse(benchmark, start, folder, threads, ninety_ten):
    """From nothing to held-out guesses of RMSE .8375: the chains are the same, and so are draws and burn-in."""
    sweeps = (95, 95)  # 87 were enough for one seed
    about = Comparison("FM, to RMSE .8375", f"{MYFM}, one thread", "ML-1M 9:1, two groups, dim 10", threads, 8)
    settings = {"dim": 10, "sweeps": sweeps, "dropped": 30, "threads": threads, "predicting": True}
    ours = against_myfm(benchmark, start, folder, ninety_ten, about, rounds=1, **settings)
    assert ours.rmse() <= 0.8375


def test_a_draw_of_everything(benchmark, start, folder, threads, question):
    """Ids, day, both implicit histories and the facts, a group each; ours has a chain on each core."""
    held, sweeps = question("ml-100k-rate"), 120
    families = shared("_features").available(held[0])
    size = f"ML-100K u1, {len(families)} groups, dim 10"
    about = Comparison(f"FM with all features, a draw, {threads} chains", MYFM, size, threads, 2, (sweeps, "draw"))
    settings = {"dim": 10, "sweeps": (sweeps, sweeps), "dropped": 30, "chains": threads}
    against_myfm(benchmark, start, folder, held, about, families=families, rounds=2, **settings)


class Learning:
    """Fits a fresh one every time it is called, with the next seed."""

    def __init__(self, who: str, train: Train, threads: int, **settings: Any) -> None:
        self._who, self._train, self._threads, self._settings = who, train, threads, settings
        self.models: list[Any] = []

    def __call__(self) -> None:
        model = contender(self._who)(**self._settings)
        model.fit(self._train, Run(seed=len(self.models), threads=self._threads))
        self.models.append(model)


def against_recbole(
    benchmark: Any, start: Any, folder: Path, held: Held, about: Comparison, ours: Learning, **settings: Any
) -> None:
    train, queries, truth = held
    path = folder / "labels"
    write_labels(train, queries, truth, path / "labels", "labels")
    job = {"work": "epochs", "folder": str(path), "dataset": "labels", "threads": about.threads, **settings}
    with start("recbole_fm_peer.py", about.threads, job) as peer:
        compare(benchmark, about, ours, peer, rounds=2)
        theirs = peer.judge()
    every = [evaluate(queries, RateAnswers(truth), model.rate(queries), "auc") for model in ours.models]
    mine = {"AUC": float(np.mean([summary("auc", values) for values in every]))}
    agree(benchmark, theirs, mine, within=0.002, lower_is_better=False)


EPOCHS, DIM, BATCH = 5, 10, 8192


def test_sgd_against_recbole(benchmark, start, folder, question):
    """A step after each row of ours, a step of Adam after each batch of RecBole's; the same rows, ids only."""
    train, queries, truth = question("ml-1m-ctr")
    held = Train(train.interactions), queries, truth
    size = f"ML-1M yes or no, dim {DIM}, its batch {BATCH:,}"
    about = Comparison("FM by SGD, an epoch", RECBOLE, size, 1, 10, (EPOCHS, "epoch"))
    ours = Learning("logistic", held[0], 1, n_factors=DIM, n_epochs=EPOCHS, learning_rate=0.15, families=PLAIN)
    peer = {"dim": DIM, "batch": BATCH, "n_epochs": EPOCHS, "learning_rate": 0.005}
    against_recbole(benchmark, start, folder, held, about, ours, **peer)


def test_mini_batches_against_recbole(benchmark, start, folder, threads, question):
    """Adam and the same batches on both sides; ours starts with four times the learning rate and lets it fall."""
    pytest.importorskip("torch").set_num_threads(threads)
    train, queries, truth = question("ml-1m-ctr")
    held = Train(train.interactions), queries, truth
    size = f"ML-1M yes or no, dim {DIM}, batch {BATCH:,}"
    about = Comparison("FM by Adam, an epoch", RECBOLE, size, threads, 1.5, (EPOCHS, "epoch"))
    settings = {"n_factors": DIM, "n_epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.02, "families": PLAIN}
    ours = Learning("torch_sgd", held[0], threads, **settings)
    peer = {"dim": DIM, "batch": BATCH, "n_epochs": EPOCHS, "learning_rate": 0.005}
    against_recbole(benchmark, start, folder, held, about, ours, **peer)
