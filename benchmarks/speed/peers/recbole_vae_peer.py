# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "scikit-learn==1.5.2",
#     "setuptools>=77,<81",
# ]
# ///
"""RecBole's MultiVAE, an epoch of its own trainer a round; held-out users are answered from their histories."""

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import MultiVAE
from recbole.trainer import Trainer
from recbole.utils import init_seed
from serve import serve


def epoch(folder, dataset, threads, hidden, latent, batch, k):
    """Train on the pairs of ``<dataset>.train.inter``, one epoch a round.

    ``latent`` is the size of z: RecBole's ``latent_dimension`` counts mean and log variance. The lists of the users in
    asked_*.npy go to a file: the other side judges them.
    """
    torch.set_num_threads(threads)
    os.chdir(tempfile.mkdtemp(dir=folder))  # it writes logs and checkpoints where it stands
    config = Config(
        "MultiVAE",
        dataset,
        config_dict={
            "data_path": folder,
            "seed": 2020,
            "use_gpu": False,
            "worker": 0,
            "show_progress": False,
            "state": "ERROR",
            "checkpoint_dir": "saved",
            "load_col": {"inter": ["user_id", "item_id"], "item": ["item_id"]},
            "benchmark_filename": ["train", "again", "again"],
            "train_neg_sample_args": None,
            "train_batch_size": batch,
            "mlp_hidden_size": [hidden],
            "latent_dimension": 2 * latent,
            "dropout_prob": 0.5,
            "anneal_cap": 0.2,
            "total_anneal_steps": 200_000,
            "learning_rate": 1e-3,
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    loader, _, _ = data_preparation(config, data)
    model = MultiVAE(config, loader._dataset)
    trainer = Trainer(config, model)
    number = data.field2token_id["item_id"]
    column = np.array([number[str(item)] for item in range(len(number) - 1)])  # its 0 is the padding

    def once():
        return trainer._train_epoch(loader, 0)

    def judge(_):
        items, offsets = (np.load(Path(folder) / f"asked_{name}.npy") for name in ("items", "offsets"))
        lists = []
        model.eval()
        for row in range(len(offsets) - 1):
            x = torch.zeros(1, len(column) + 1)
            mine = column[items[offsets[row] : offsets[row + 1]]]
            x[0, mine] = 1
            with torch.no_grad():
                score = model(x)[0][0]
            score[mine] = -np.inf
            lists.append(score[column].topk(k).indices.numpy())
        model.train()
        np.save(Path(folder) / "lists.npy", np.array(lists, np.int32))
        return {
            "lists": "lists.npy",
            "parameters": sum(weights.numel() for weights in model.parameters()),
            "updates an epoch": len(loader),
        }

    return once, judge


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    serve({"epoch": epoch})
