# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "scikit-learn==1.5.2",
#     "setuptools>=77,<81",
# ]
# ///
"""RecBole's FM, trained and stopped by RecBole, with the settings that it published for MovieLens 1M.

The question becomes RecBole's own files in the run's scratch folder, training and validation events as its
``benchmark_filename`` parts; queries go through the model that was best on the validation.

Features are those of its published row: ids, age, gender, occupation, genres, year; each a field of its own, genres by
their mean. The age is a category, as is the year.
"""

import logging
import sys
from dataclasses import dataclass

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.model.context_aware_recommender import FM
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._recbole_files import NAME, numbers, write


@implementation(author="RecBole's")
@dataclass
class RecBoleFM:
    """sigmoid(w_0 + sum of w_f + sum over pairs of fields of <v_f, v_f'>), by Adam on the binary cross-entropy.

    Attributes:
        embedding_size: length of v_f.
        learning_rate: Adam's; the published row's, the largest of its search.
        batch_size: events a step.
        max_epochs: passes at most.
        patience: epochs without a better AUC on the validation before it stops.
    """

    embedding_size: int = 16
    learning_rate: float = 0.005
    batch_size: int = 4096
    max_epochs: int = 300
    patience: int = 10

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or not np.isin(seen.value, (0, 1)).all():
            raise Skip("RecBole's FM guesses labels of 0 and 1")
        if not train.validation:
            raise Skip("it stops by a validation, and this benchmark has none")
        self.batch = self.batch_size
        columns = write(train, run.scratch / NAME)
        config = configuration(
            run,
            columns,
            embedding_size=self.embedding_size,
            learning_rate=self.learning_rate,
            train_batch_size=self.batch_size,
            epochs=self.max_epochs,
            stopping_step=self.patience,
        )
        init_seed(config["seed"], config["reproducibility"])
        self.data = create_dataset(config)
        training, validation, _ = data_preparation(config, self.data)
        init_seed(config["seed"], config["reproducibility"])
        self.model = FM(config, training._dataset).to(config["device"])
        trainer = Trainer(config, self.model)

        def watch(epoch: int, score: float) -> None:
            run.progress(epoch + 1, self.max_epochs)
            run.log(epoch=epoch + 1, validation_auc=score)

        trainer.fit(training, validation, saved=True, show_progress=False, callback_fn=watch)
        best = torch.load(trainer.saved_model_file, map_location=config["device"], weights_only=False)  # just written
        self.model.load_state_dict(best["state_dict"])
        self.n_parameters = sum(weights.numel() for weights in self.model.parameters())

    def rate(self, queries: RateQueries) -> Floats:
        user = torch.from_numpy(numbers(self.data.field2token_id["user_id"], queries.user))
        item = torch.from_numpy(numbers(self.data.field2token_id["item_id"], queries.item))
        self.model.eval()
        with torch.no_grad():
            parts = [
                self.model.predict(self.data.join(Interaction({"user_id": u, "item_id": i})).to(self.model.device))
                for u, i in zip(user.split(self.batch), item.split(self.batch), strict=True)
            ]
        probability: Floats = torch.cat(parts).cpu().numpy()  # (q,)
        return probability


def configuration(run: Run, columns: dict[str, list[str]], **settings):
    """RecBole's Config of a question: its context-aware defaults, with everything in the run's scratch folder."""
    logging.disable(logging.WARNING)
    sys.argv = sys.argv[:1]  # Config reads the command line
    quiet = {"worker": 0, "show_progress": False, "state": "ERROR", "checkpoint_dir": str(run.scratch / "saved")}
    return Config(
        "FM",
        NAME,
        config_dict={
            **quiet,
            "use_gpu": run.device == "cuda",
            "seed": run.seed,
            "data_path": str(run.scratch),
            "load_col": columns,
            "benchmark_filename": ["train", "validation", "again"],
            "LABEL_FIELD": "label",
            "normalize_all": False,
            "train_neg_sample_args": None,
            "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "labeled"},
            "metrics": ["AUC", "LogLoss"],
            "valid_metric": "AUC",
            **settings,
        },
    )
