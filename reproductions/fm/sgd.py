"""Factorization machine by SGD, guessing ratings: Rendle, "Factorization Machines", ICDM 2010, section III-C.

One step after each rating, in float32, on one thread: the same seed gives the same parameters, bit for bit.
"""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import design
from ._sgd import block_rows, epoch, predict, shuffled, table


@implementation(
    author="recarena",
    departs=(
        "lambda of a feature's vector divided by the root of the number of its rows",
        "learning rate falls linearly to 0",
        "rows shuffled user by user",
    ),
)
@dataclass
class SGD:
    """y(x) = w0 + sum_j w_j x_j + sum_{j < l} v_j . v_l x_j x_l.

    Attributes:
        n_factors: length of v_j.
        n_epochs: passes over the training ratings.
        learning_rate: eta of the first epoch.
        regularisation: lambda of the vectors of a feature that one row has; lambda / sqrt(n) where n rows have it.
            One number for all families, or one for each.
        linear_regularisation: lambda of the weights w_j, likewise, but the same whatever n is.
        init_std: standard deviation of the first vectors.
        families: which features; what a benchmark gives is in the folder's README.
    """

    n_factors: int = 100
    n_epochs: int = 60
    learning_rate: float = 0.015
    regularisation: tuple[float, ...] = (1.0,)
    linear_regularisation: tuple[float, ...] = (0.02,)
    init_std: float = 0.02
    families: tuple[str, ...] = ("user", "item")

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        if not np.isfinite(seen.value).all():
            bad = int(np.argmin(np.isfinite(seen.value)))
            raise ValueError(f"fm: the rating of training event {bad} is {seen.value[bad]}, expected a finite number")
        if np.isin(seen.value, (0, 1)).all():
            raise Skip("the training events carry labels of 0 and 1, which logistic.py is for")
        self.low, self.high = seen.value.min(), seen.value.max()
        self.features = table(design(train, self.families))
        rows = self.features.rows(seen)  # (n, blocks)
        start, column, x = self.features.start, self.features.column, self.features.x
        n_rows = self.features.counts(rows)  # (n_columns,)

        w0 = np.float32(seen.value.mean(dtype=np.float64))
        w = np.zeros(len(n_rows), np.float32)
        v = np.float32(self.init_std) * run.rng.standard_normal((len(n_rows), self.n_factors), np.float32)
        v[n_rows == 0] = 0  # never moved: no noise in the prediction
        lam_w = self.features.per_column("linear_regularisation", self.linear_regularisation, self.families)
        lam_v = self.features.per_column("regularisation", self.regularisation, self.families)
        lam_v /= np.sqrt(np.maximum(n_rows, 1)).astype(np.float32)
        n_of_user = np.bincount(seen.user, minlength=seen.n_users)
        for done in range(self.n_epochs):
            order = shuffled(n_of_user, run.rng.integers(2**63, dtype=np.uint64))
            eta = np.float32(self.learning_rate * (1 - done / self.n_epochs))
            w0, loss = epoch(order, rows, seen.value, start, column, x, w0, w, v, eta, lam_w, lam_v, False)
            run.progress(done + 1, self.n_epochs)
            run.log(epoch=done + 1, train_rmse=float(np.sqrt(2 * loss / len(seen))))
        self.w0 = float(w0)
        self.c, self.q = block_rows(start, column, x, w, v)  # (block rows,), (block rows, d)
        self.n_parameters = 1 + w.size + v.size

    def rate(self, queries: RateQueries) -> Floats:
        guess = predict(self.features.rows(queries), self.w0, self.c, self.q)  # (q,)
        clipped: Floats = np.clip(guess, self.low, self.high)
        return clipped
