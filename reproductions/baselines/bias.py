"""User and item biases: Koren, "Factor in the Neighbors", TKDD 2010, the baseline estimates of section 2.

Knows that some items are liked and some users are kind, and nothing of who likes what. Fitted by alternating least
squares with one shrinkage for items and one for users.
"""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation


@implementation(author="recarena", departs=("10 alternations where the paper fits once",), deterministic=True)
@dataclass
class Bias:
    """r_ui ~ mean + user bias + item bias.

    Attributes:
        n_sweeps: alternations over items, then users.
        item_shrinkage: an item's bias is its mean residual times n / (n + item_shrinkage).
        user_shrinkage: the same for users.
    """

    n_sweeps: int = 10
    item_shrinkage: float = 2.0
    user_shrinkage: float = 5.0

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        user, item, rating = seen.user, seen.item, seen.value.astype(np.float64)  # (n,) each
        self.low, self.high = rating.min(), rating.max()
        self.mean = rating.mean()
        n_of_user = np.bincount(user, minlength=seen.n_users)  # (n_users,)
        n_of_item = np.bincount(item, minlength=seen.n_items)  # (n_items,)

        # min over b of  sum (r_ui - mu - b_u - b_i)^2 + lambda_i sum b_i^2 + lambda_u sum b_u^2,
        # one side after the other; who has no rating keeps a bias of 0
        self.user_bias = np.zeros(seen.n_users)
        for sweep in range(self.n_sweeps):
            residual = rating - self.mean - self.user_bias[user]
            self.item_bias = np.bincount(item, residual, seen.n_items) / np.maximum(self.item_shrinkage + n_of_item, 1)
            residual = rating - self.mean - self.item_bias[item]
            self.user_bias = np.bincount(user, residual, seen.n_users) / np.maximum(self.user_shrinkage + n_of_user, 1)
            residual -= self.user_bias[user]
            run.progress(sweep + 1, self.n_sweeps)
            run.log(sweep=sweep + 1, train_rmse=float(np.sqrt(np.mean(residual**2))))

    def rate(self, queries: RateQueries) -> Floats:
        guess = self.mean + self.user_bias[queries.user] + self.item_bias[queries.item]  # (q,)
        clipped: Floats = np.clip(guess, self.low, self.high)
        return clipped
