# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "scikit-learn==1.5.2",
#     "setuptools>=77,<81",
# ]
# ///
"""RecBole's FM on users and items: passes over the training events, its loaders built before the clock starts."""

import logging
import os
import tempfile

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.context_aware_recommender import FM
from recbole.trainer import Trainer
from recbole.utils import init_seed
from serve import serve


def epochs(folder, dataset, threads, dim, batch, n_epochs, learning_rate):
    """So many passes by Adam from fresh parameters, without validation; the quality is RecBole's own on the test."""
    torch.set_num_threads(threads)
    os.chdir(tempfile.mkdtemp(dir=folder))  # it writes logs where it stands
    quiet = {"use_gpu": False, "worker": 0, "show_progress": False, "state": "ERROR", "checkpoint_dir": "saved"}
    settings = {
        "seed": 2020,
        "data_path": folder,
        "load_col": {"inter": ["user_id", "item_id", "label"]},
        "benchmark_filename": ["train", "valid", "test"],
        "LABEL_FIELD": "label",
        "embedding_size": dim,
        "train_batch_size": batch,
        "epochs": n_epochs,
        "learning_rate": learning_rate,
        "train_neg_sample_args": None,
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "labeled"},
        "metrics": ["AUC", "LogLoss"],
        "valid_metric": "AUC",
        "metric_decimal_place": 9,
    }
    config = Config("FM", dataset, config_dict=quiet | settings)
    training, _, test = data_preparation(config, create_dataset(config))
    trainers = []

    def once():
        init_seed(len(trainers), reproducibility=True)
        trainers.append(Trainer(config, FM(config, training._dataset)))
        trainers[-1].fit(training, saved=False, show_progress=False)

    def judge(_):
        found = [one.evaluate(test, load_best_model=False, show_progress=False) for one in trainers]
        return {"AUC": sum(one["auc"] for one in found) / len(found)}

    return once, judge


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    serve({"epochs": epochs})
