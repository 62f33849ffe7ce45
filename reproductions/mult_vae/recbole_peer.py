# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "scikit-learn==1.5.2",
#     "setuptools>=77,<81",
# ]
# ///
"""RecBole's MultiVAE, trained by RecBole, with the settings that it published for MovieLens 1M.

_recbole.py says how its files are written and how users that it never saw are answered.
"""

from dataclasses import dataclass

from recarena import Ints, RankQueries, Run, Train, implementation

from ._recbole import Autoencoder


@implementation(author="RecBole's")
@dataclass
class RecBoleMultiVAE:
    """Not the authors' Mult-VAE: noise of deviation .01, half of ``latent_dimension`` for z, padded users and items.

    Attributes:
        hidden_size: units of the hidden layers.
        latent_dimension: of mean and log variance together.
        anneal_cap: the largest beta.
        total_anneal_steps: updates until beta would be 1.
        learning_rate: Adam's; the published row's.
        batch_size: users of an update; the published row's.
        max_epochs: passes at most.
        patience: epochs without a better validation before it stops.
    """

    hidden_size: int = 600
    latent_dimension: int = 128
    anneal_cap: float = 0.2
    total_anneal_steps: int = 200_000
    learning_rate: float = 0.007
    batch_size: int = 4096
    max_epochs: int = 500
    patience: int = 10

    def fit(self, train: Train, run: Run) -> None:
        self.model = Autoencoder(
            "MultiVAE",
            train,
            run,
            self.max_epochs,
            self.patience,
            mlp_hidden_size=[self.hidden_size],
            latent_dimension=self.latent_dimension,
            anneal_cap=self.anneal_cap,
            total_anneal_steps=self.total_anneal_steps,
            learning_rate=self.learning_rate,
            train_batch_size=self.batch_size,
        )
        self.n_parameters = self.model.n_parameters

    def rank(self, queries: RankQueries) -> Ints:
        return self.model.rank(queries)  # (q, k)
