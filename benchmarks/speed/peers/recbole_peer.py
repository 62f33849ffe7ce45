# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "scikit-learn==1.5.2",
#     "setuptools>=77,<81",
# ]
# ///
"""RecBole's data preparation and its full-sort evaluation, called as its own quick_start calls them."""

import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer
from recbole.utils import init_seed
from serve import serve


def _config(folder, dataset, threads, **settings):
    torch.set_num_threads(threads)
    os.chdir(tempfile.mkdtemp(dir=folder))  # it writes logs and checkpoints where it stands
    quiet = {"use_gpu": False, "worker": 0, "show_progress": False, "state": "ERROR", "checkpoint_dir": "saved"}
    return Config("BPR", dataset, config_dict={"data_path": folder, "seed": 2020, **quiet, **settings})


def data(folder, dataset, threads):
    """From the .inter file to the three data loaders, each user's rows cut 8:1:1 at random."""
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    config = _config(folder, dataset, threads, load_col=columns, metrics=["NDCG"], valid_metric="NDCG@10")

    def once():
        init_seed(config["seed"], config["reproducibility"])
        return data_preparation(config, create_dataset(config))

    def judge(loaders):
        names = ("training", "validation", "test")
        return {name: len(loader._dataset) for name, loader in zip(names, loaders, strict=True)}

    return once, judge


def evaluate(folder, dataset, threads, k, batches):
    """Rank all items for all users by dot products; of the batch sizes, in users, the fastest is the one timed."""
    config = _config(
        folder,
        dataset,
        threads,
        load_col={"inter": ["user_id", "item_id"]},
        benchmark_filename=["train", "valid", "test"],
        embedding_size=64,
        metrics=["NDCG", "Recall"],
        topk=[k],
        valid_metric=f"NDCG@{k}",
        metric_decimal_place=9,
    )
    loaders = data_preparation(config, create_dataset(config))
    held = loaders[2]._dataset
    model = BPR(config, loaders[0]._dataset)
    with torch.no_grad():
        for embedding, field, name in (
            (model.user_embedding, held.uid_field, "users"),
            (model.item_embedding, held.iid_field, "items"),
        ):
            factors = np.load(Path(folder) / f"{name}.npy")
            tokens = held.field2id_token[field][1:].astype(np.int64)  # place 0 is the pad
            embedding.weight[1:] = torch.from_numpy(factors[tokens])
    trainer = Trainer(config, model)
    fastest = None
    for users in batches:
        config["eval_batch_size"] = users * held.item_num
        loader = FullSortEvalDataLoader(config, held, loaders[2]._sampler)
        start = time.perf_counter()
        trainer.evaluate(loader, load_best_model=False)
        seconds = time.perf_counter() - start
        if fastest is None or seconds < fastest[0]:
            fastest = (seconds, loader, users)

    def once():
        return trainer.evaluate(fastest[1], load_best_model=False)

    def judge(result):
        return {f"NDCG@{k}": result[f"ndcg@{k}"], f"recall@{k}": result[f"recall@{k}"], "batch": fastest[2]}

    return once, judge


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    serve({"data": data, "evaluate": evaluate})
