"""Factorization machine by SGD, for yes or no: Rendle, "Factorization Machines", ICDM 2010, sections III-B and III-C.

One step down the log loss after each row, in float32, on one thread: the same seed gives the same parameters, bit for
bit. Where the benchmark has a validation ask, the parameters are those of the epoch that did best on it.
"""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import available, design
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
class Logistic:
    """Chance of a yes = sigma(w0 + sum_j w_j x_j + sum_{j < l} v_j . v_l x_j x_l).

    Attributes:
        n_factors: length of v_j.
        n_epochs: passes over the training rows.
        learning_rate: eta of the first epoch.
        regularisation: lambda of the vectors of a feature that one row has; lambda / sqrt(n) where n rows have it.
            One number for all families, or one for each.
        linear_regularisation: lambda of the weights w_j, likewise, but the same whatever n is.
        init_std: standard deviation of the first vectors.
        families: which features; those that a benchmark does not give are left out.
    """

    n_factors: int = 16
    n_epochs: int = 30
    learning_rate: float = 0.03
    regularisation: tuple[float, ...] = (0.4,)
    linear_regularisation: tuple[float, ...] = (0.002,)
    init_std: float = 0.05
    families: tuple[str, ...] = ("user", "age", "gender", "occupation", "item", "genres", "year")

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0 or not np.isin(seen.value, (0, 1)).all():
            raise Skip("the training events carry no labels of 0 and 1")
        families = tuple(name for name in self.families if name in available(train))
        self.features = table(design(train, families))
        rows = self.features.rows(seen)  # (n, blocks)
        start, column, x = self.features.start, self.features.column, self.features.x
        n_rows = self.features.counts(rows)  # (n_columns,)
        held = [
            (ask, self.features.rows(asked))
            for ask in train.validation.values()
            if isinstance(asked := ask.queries, RateQueries)
        ]

        yes = np.clip(seen.value.mean(dtype=np.float64), 1e-6, 1 - 1e-6)
        w0 = np.float32(np.log(yes / (1 - yes)))
        w = np.zeros(len(n_rows), np.float32)
        v = np.float32(self.init_std) * run.rng.standard_normal((len(n_rows), self.n_factors), np.float32)
        v[n_rows == 0] = 0  # never moved: no noise in the prediction
        lam_w = self.features.per_column("linear_regularisation", self.linear_regularisation, families)
        lam_v = self.features.per_column("regularisation", self.regularisation, families)
        lam_v /= np.sqrt(np.maximum(n_rows, 1)).astype(np.float32)
        n_of_user = np.bincount(seen.user, minlength=seen.n_users)
        best, score = -np.inf, 0.0
        for done in range(self.n_epochs):
            order = shuffled(n_of_user, run.rng.integers(2**63, dtype=np.uint64))
            eta = np.float32(self.learning_rate * (1 - done / self.n_epochs))
            w0, loss = epoch(order, rows, seen.value, start, column, x, w0, w, v, eta, lam_w, lam_v, True)
            c, q = block_rows(start, column, x, w, v)  # (block rows,), (block rows, d)
            curve = {"train_log_loss": loss / len(seen)}
            for ask, held_rows in held:
                score = curve["validation_auc"] = ask.score(_chance(predict(held_rows, float(w0), c, q)), "auc")
            if score >= best:  # always, where nothing is held out
                best, self.w0, self.c, self.q = score, float(w0), c, q
            run.progress(done + 1, self.n_epochs)
            run.log(epoch=done + 1, **curve)
        self.n_parameters = 1 + w.size + v.size

    def rate(self, queries: RateQueries) -> Floats:
        return _chance(predict(self.features.rows(queries), self.w0, self.c, self.q))  # (q,)


def _chance(y: Floats) -> Floats:
    """Sigma(y)."""
    chance: Floats = 1 / (1 + np.exp(-y))
    return chance
