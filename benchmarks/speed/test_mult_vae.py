"""Mult-VAE: an epoch of ours against one of RecBole's MultiVAE, the same users, sizes and batch; and ML-20M's shape.

As a program, ``python test_mult_vae.py FOLDER``, it trains on the histories of a folder and prints seconds and memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sidebyside import Comparison, agree, compare
from synthetic import ML_20M, pairs

from recarena import Run
from recarena.contract.answers import RankAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.contract.metrics import evaluate
from recarena.contract.queries import RankQueries
from recarena.contract.worker import load_module
from recarena.data import interactions
from recarena.data.folders import load_benchmark
from recarena.data.prepare import open_benchmark, prepare
from recarena.data.recipes import Dataset
from recarena.data.sources import default_cache

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
HIDDEN, LATENT, BATCH, K = 600, 200, 500, 20
ASKED = 500  # users whose lists are judged
# what a process may be told so that memory it frees is not given back; ours is started without
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_TOP_PAD_": str(2**27)}


class Epochs:
    """Goes once over the users every time it is called, with the same network."""

    def __init__(self, histories: Ragged, n_items: int) -> None:
        module = load_module(ROOT / "reproductions" / "mult_vae" / "mult_vae.py", "contender.mult_vae.mult_vae")
        shared = sys.modules["contender.mult_vae._sparse"]
        self.model = module.MultVAE(n_hidden=HIDDEN, n_latent=LATENT, batch_size=BATCH)
        self.model.device, self.model.random = "cpu", torch.Generator().manual_seed(0)
        self.model.count = np.zeros(n_items)
        self.histories = shared.Histories(histories, "cpu")
        self.adam = self.model._begin(n_items, Run(0))
        self.betas = (shared.annealed(update, 0.2, 40_000) for update in count(0))

    def __call__(self) -> float:
        return self.model._epoch(self.histories, self.adam, self.betas)[0]


def prepared(name: str, folder: Path) -> tuple[Path, Ragged, RankQueries, RankAnswers]:
    """Return a folder for the peer, the training histories, and users to be asked with what they should be given."""
    try:
        (fold,) = open_benchmark(ROOT, name, cache=default_cache())[1]
    except DataError as error:
        pytest.skip(str(error))
    seen = fold.question.train.interactions
    asked, answers = fold.question.asks["top-n"], fold.answers["top-n"]
    some = np.arange(ASKED)
    history = asked.history.take(some)
    queries = RankQueries(None, history, history, None, K, seen.n_items)
    path = folder / name
    (path / name).mkdir(parents=True, exist_ok=True)
    head, pairs = "user_id:token\titem_id:token", [f"{u}\t{i}" for u, i in zip(seen.user, seen.item, strict=True)]
    for part, lines in {"train": pairs, "again": pairs[:1]}.items():
        (path / name / f"{name}.{part}.inter").write_text("\n".join([head, *lines]) + "\n")
    (path / name / f"{name}.item").write_text("\n".join(["item_id:token", *map(str, range(seen.n_items))]) + "\n")
    np.save(path / "asked_items.npy", history.values)
    np.save(path / "asked_offsets.npy", history.offsets)
    return path, seen.histories(), queries, RankAnswers(answers.relevant.take(some))


@pytest.mark.parametrize(
    ("name", "size", "rounds", "wanted", "told"),
    [
        ("ml-1m-strong", "ML-1M, 5,034 users", 5, 2.7, {}),
        ("ml-1m-strong", "ML-1M, 5,034 users; peer keeps its memory", 5, 2.5, KEEPS_MEMORY),
        ("gowalla-top-n", "gowalla", 1, 4, {}),
        ("gowalla-top-n", "gowalla; peer keeps its memory", 1, 2.5, KEEPS_MEMORY),
    ],
    ids=["ml-1m", "ml-1m-memory-kept", "gowalla", "gowalla-memory-kept"],
)
def test_epoch_against_recbole(
    benchmark: Any, start: Any, folder: Path, threads: int, name: str, size: str, rounds: int, wanted: float, told: Any
) -> None:
    path, histories, queries, answers = prepared(name, folder)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    ours = Epochs(histories, queries.n_items)
    settings = {"hidden": HIDDEN, "latent": LATENT, "batch": BATCH, "k": K}
    job = {"work": "epoch", "folder": str(path), "dataset": name, "threads": threads, **settings}
    about = Comparison("Mult-VAE, an epoch", "RecBole 1.2.1", size, threads, wanted)
    try:
        with start("recbole_vae_peer.py", threads, job, **told) as peer:
            compare(benchmark, about, ours, peer, rounds)
            peer.judge()
    finally:
        torch.set_num_threads(before)

    def ndcg(lists: np.ndarray) -> dict[str, float]:
        return {f"NDCG@{K}": float(evaluate(queries, answers, lists, f"ndcg@{K}").mean())}

    # unlike ours, RecBole's noise has a deviation of .01 and so it learns faster at first
    agree(
        benchmark, ndcg(np.load(path / "lists.npy")), ndcg(ours.model.rank(queries)), within=0.1, lower_is_better=False
    )


def test_ml_20m_strong_on_a_file_of_its_shape(folder: Path, threads: int) -> None:
    """The exact path of the board, from ratings.csv to an epoch: counts, split, memory; the seconds are printed."""
    n = 20_000_263
    user, item = pairs(n, *ML_20M)
    rng = np.random.default_rng(1)
    columns = {
        "userId": user + 1,
        "movieId": item + 1,
        "rating": rng.integers(6, 10, n, dtype=np.int8) / 2,  # half of them 4 and more, as in ML-20M
        "timestamp": np.full(n, 10**9),
    }
    file = folder / "ratings.csv"
    pl.DataFrame(columns).write_csv(file)
    liked = np.bincount(user[columns["rating"] >= 4])
    kept = liked >= 5
    source = {"kind": "file", "gives": ["time"], "ratings": {"path": str(file), "parser": "ratings.csv"}}
    expect = {"users": len(np.unique(user)), "items": len(np.unique(item)), "interactions": n}
    del columns, user, item
    words = dict.fromkeys(("title", "licence", "citation", "homepage"), "synthetic")
    dataset = Dataset.model_validate({"name": "ml-20m", **words, "sources": [source], "expect": expect})
    start = time.perf_counter()
    raw = interactions.load(dataset, folder, say=lambda _: None).raw
    (fold,) = prepare(load_benchmark(ROOT, "ml-20m-strong"), raw)
    print(f"\nfrom file to question: {time.perf_counter() - start:.0f} s")  # noqa: T201
    seen, asked = fold.question.train.interactions, fold.question.asks["top-n"]
    (validation,) = fold.question.train.validation.values()
    assert seen.n_users == kept.sum() - 20_000
    assert len(asked) == len(validation.queries) == 10_000
    for queries, answers in ((asked, fold.answers["top-n"]), (validation.queries, validation.answers)):
        whole = queries.history.lengths + answers.relevant.lengths
        assert (abs(answers.relevant.lengths - whole // 5) <= 1).all()  # rows of items nobody trains on are left out
    assert seen.item.max() + 1 == seen.n_items
    histories = seen.histories()
    for name, lists in (("train", histories), ("asked", asked.history)):
        np.save(folder / f"{name}_items.npy", lists.values)
        np.save(folder / f"{name}_offsets.npy", lists.offsets)
    command = [sys.executable, __file__, str(folder), str(seen.n_items), str(threads)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{len(seen):,} rows, {seen.n_users:,} users, {seen.n_items:,} items: {told}")  # noqa: T201
    assert told["peak_bytes"] <= 3 * 2**30


def train_apart(folder: Path, n_items: int, threads: int) -> dict[str, float]:
    """One epoch and the lists of 10,000 users, in a process of their own."""
    torch.set_num_threads(threads)
    train, asked = (
        Ragged(np.load(folder / f"{name}_offsets.npy"), np.load(folder / f"{name}_items.npy"))
        for name in ("train", "asked")
    )
    ours = Epochs(train, n_items)
    start = time.perf_counter()
    ours()
    epoch = time.perf_counter()
    ours.model.rank(RankQueries(None, asked, asked, None, 100, n_items))
    told = {"epoch_seconds": epoch - start, "rank_seconds": time.perf_counter() - epoch}
    return told | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


if __name__ == "__main__":
    print(json.dumps(train_apart(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
