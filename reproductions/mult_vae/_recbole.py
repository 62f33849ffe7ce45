"""What RecBole's two autoencoders share: our question as its dataset, its training, and its network on any history.

RecBole answers for training users alone. Its networks read nothing but a row of zeros and ones, so users never seen are
answered by giving the network their row: a fold-in that RecBole itself does not offer.
"""

import logging
import sys

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from recarena import Floats, Ints, Ragged, RankQueries, Run, Train, top_k

from ._selection import Selection

NAME = "question"  # of RecBole's dataset


class Autoencoder:
    """One of RecBole's autoencoders, trained by its own trainer; the best epoch on validation is kept.

    Args:
        name: of RecBole's model.
        train: the training events.
        run: of the arena.
        max_epochs: calls of RecBole's epoch.
        patience: epochs without a better validation before it stops.
        settings: of RecBole, by its own names.
    """

    def __init__(self, name: str, train: Train, run: Run, max_epochs: int, patience: int, **settings) -> None:
        self.n_items = train.interactions.n_items
        self.count = np.bincount(train.interactions.item, minlength=self.n_items)
        selection = Selection(train, run)
        write(selection.histories, self.n_items, run)
        config = configuration(name, run, **settings)
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        loader, _, _ = data_preparation(config, dataset)
        number = dataset.field2token_id["item_id"]
        self.column = np.array([number[str(item)] for item in range(self.n_items)])  # RecBole's; its 0 is the padding
        self.network = get_model(name)(config, loader._dataset).to(config["device"])
        trainer = get_trainer(config["MODEL_TYPE"], name)(config, self.network)
        for epoch in range(max_epochs):
            loss = trainer._train_epoch(loader, epoch)
            value = selection.look(self.rank, self.network)
            run.log(epoch=epoch + 1, loss=loss, validation=value)
            run.progress(epoch + 1, max_epochs)
            if selection.stale >= patience:
                break
        selection.restore(self.network)
        self.n_parameters = sum(weights.numel() for weights in self.network.parameters())

    def rank(self, queries: RankQueries) -> Ints:
        """Return (q, k) lists, from the histories alone."""
        self.network.eval()
        lists = top_k(lambda rows: self._score(queries.history.part(rows)), queries)
        self.network.train()
        return lists

    def _score(self, history: Ragged) -> Floats:
        """(rows, n_items)."""
        x = np.zeros((len(history), self.n_items + 1), np.float32)
        x[history.rows(), self.column[history.values]] = 1
        drop = (0.0,) if self.network.__class__.__name__ == "RecVAE" else ()
        with torch.no_grad():
            out = self.network(torch.from_numpy(x).to(self.network.device), *drop)[0].cpu().numpy()
        score: Floats = out[:, self.column]
        score[history.lengths == 0] = self.count  # who has no history gets what is popular
        return score


def configuration(name: str, run: Run, **settings):
    """RecBole's Config, with everything in the run's scratch folder."""
    logging.disable(logging.WARNING)
    sys.argv = sys.argv[:1]  # Config reads the command line
    torch.set_num_threads(run.threads)
    quiet = {"worker": 0, "show_progress": False, "state": "ERROR", "checkpoint_dir": str(run.scratch / "saved")}
    return Config(
        name,
        NAME,
        config_dict={
            **quiet,
            "use_gpu": run.device == "cuda",
            "seed": run.seed,
            "data_path": str(run.scratch),
            "load_col": {"inter": ["user_id", "item_id"], "item": ["item_id"]},
            "benchmark_filename": ["train", "again", "again"],
            "train_neg_sample_args": None,
            **settings,
        },
    )


def write(histories: Ragged, n_items: int, run: Run) -> None:
    """Write RecBole's files. All items have a row in .item, so that it knows those without an event."""
    folder = run.scratch / NAME
    folder.mkdir(parents=True)
    pairs = [f"{user}\t{item}" for user, item in zip(histories.rows(), histories.values, strict=True)]
    head = "user_id:token\titem_id:token"
    for part, lines in {"train": pairs, "again": pairs[:1]}.items():  # it wants other parts too, and never uses them
        (folder / f"{NAME}.{part}.inter").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    items = "\n".join(["item_id:token", *map(str, range(n_items))])
    (folder / f"{NAME}.item").write_text(items + "\n", encoding="utf-8")
