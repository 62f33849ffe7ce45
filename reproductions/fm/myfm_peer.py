# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#     "myfm==0.4.0", "numpy==2.4.6", "pandas==3.1.1", "scipy==1.17.1",
#     "setuptools>=77,<81",  # myFM's wheel imports pkg_resources
# ]
# ///
"""myFM's Gibbs sampler on the features of this folder: the same chain as libFM's, but for the hyperpriors (README).

The prediction is the mean over all draws but the first ones. As in myFM's own evaluation that mean is clipped to the
scale of the training ratings; libFM clips every draw instead.
"""

from dataclasses import dataclass

import numpy as np
from myfm import MyFMGibbsClassifier, MyFMGibbsRegressor, RelationBlock
from scipy.sparse import csr_matrix, hstack

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import Block, design


@implementation(author="myFM's", departs=("the mean of the draws clipped to the scale", "probit for labels of 0 and 1"))
@dataclass
class MyFM:
    """Factorization machine by MCMC, one attribute group a family.

    Attributes:
        families: what a row's features are; ``_features.available`` says what there is.
        n_factors: length of the factors.
        n_sweeps: how often all parameters are drawn.
        burn_in: the first draws, which are dropped; myFM itself drops 5.
        init_std: standard deviation of the first parameters.
    """

    families: tuple[str, ...] = ("user", "item")
    n_factors: int = 32
    n_sweeps: int = 300
    burn_in: int = 20
    init_std: float = 0.1

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        self.threads = run.threads
        self.design = design(train, self.families)
        target = seen.value.astype(np.float64)
        self.scale = target.min(), target.max()
        self.binary = bool(np.isin(target, (0, 1)).all())  # like it or not: a question for probit
        learner = (MyFMGibbsClassifier if self.binary else MyFMGibbsRegressor)(
            rank=self.n_factors, init_stdev=self.init_std, random_seed=run.seed
        )
        x, blocks = self._features(seen)

        def tell(sweep, *_):
            run.progress(sweep + 1, self.n_sweeps)
            return False, None  # neither a reason to stop nor words for its progress bar

        # myFM's columns: first those of x, then block by block
        order = sorted(self.design.blocks, key=lambda block: not block.is_identity)
        self.model = learner.fit(
            x,
            target,
            X_rel=blocks,
            n_iter=self.n_sweeps,
            n_kept_samples=self.n_sweeps - self.burn_in,
            group_shapes=[int(size) for block in order for size in np.diff(block.first)],
            callback=tell,
        )
        self.n_parameters = 1 + (self.n_factors + 1) * sum(block.n_columns for block in order)

    def rate(self, queries: RateQueries) -> Floats:
        x, blocks = self._features(queries)
        predict = self.model.predict_proba if self.binary else self.model.predict
        clipped: Floats = np.clip(predict(x, blocks, n_workers=self.threads), *self.scale)  # (q,)
        return clipped

    def _features(self, events):
        """One-hot ids as plain columns; richer blocks as relation blocks, which store what is said of a user once."""
        rows = list(zip(self.design.blocks, self.design.rows(events), strict=True))
        plain = [one_hot(row, block.n_columns) for block, row in rows if block.is_identity]
        x = hstack(plain, format="csr") if plain else None
        return x, [RelationBlock(row.astype(np.int64), table(block)) for block, row in rows if not block.is_identity]


def one_hot(column, n_columns):
    """(n, n_columns) with a 1 in each row."""
    n = len(column)
    return csr_matrix((np.ones(n), column, np.arange(n + 1)), shape=(n, n_columns))


def table(block: Block):
    """(n_rows, n_columns) of the block's x, in double."""
    return csr_matrix((block.x.astype(np.float64), block.column, block.start), shape=(block.n_rows, block.n_columns))
