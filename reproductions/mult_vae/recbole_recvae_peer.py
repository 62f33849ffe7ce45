# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "scikit-learn==1.5.2",
#     "setuptools>=77,<81",
# ]
# ///
"""RecBole's RecVAE, trained by RecBole, with the settings that it published for MovieLens 1M.

_recbole.py says how its files are written and how users that it never saw are answered.
"""

from dataclasses import dataclass

from recarena import Ints, RankQueries, Run, Train, implementation

from ._recbole import Autoencoder


@implementation(author="RecBole's")
@dataclass
class RecBoleRecVAE:
    """Not the authors' RecVAE: noise of deviation .01, batches of thousands of users, padded users and items.

    Attributes:
        hidden_dimension: units of each layer of the encoder.
        latent_dimension: of z.
        gamma: weight of the KL term for each item of the history.
        learning_rate: of both Adams; the published row's.
        batch_size: users of an update; the published row's.
        max_epochs: rounds of encoder and decoder at most.
        patience: rounds without a better validation before it stops.
    """

    hidden_dimension: int = 600
    latent_dimension: int = 200
    gamma: float = 0.005
    learning_rate: float = 0.0007
    batch_size: int = 4096
    max_epochs: int = 500
    patience: int = 10

    def fit(self, train: Train, run: Run) -> None:
        self.model = Autoencoder(
            "RecVAE",
            train,
            run,
            self.max_epochs,
            self.patience,
            hidden_dimension=self.hidden_dimension,
            latent_dimension=self.latent_dimension,
            gamma=self.gamma,
            learning_rate=self.learning_rate,
            train_batch_size=self.batch_size,
        )
        self.n_parameters = self.model.n_parameters

    def rank(self, queries: RankQueries) -> Ints:
        return self.model.rank(queries)  # (q, k)
