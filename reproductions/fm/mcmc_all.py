"""Bayesian factorization machine by MCMC, told everything: Rendle, "Factorization Machines with libFM", TIST 2012.

The sampler of ``mcmc.py`` on all families that the benchmark gives: ids, facts, the day, and the implicit sets of both
sides, which is SVD++ and its mirror image, "timeSVD++ flipped" in Rendle, Zhang and Koren, "On the Difficulty of
Evaluating Baselines", 2019. A family is a group: it has its own hyperprior for w and for every factor. Columns of a set
share rows, so they are not independent: they are drawn one after another, on sums over each block row's ratings.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import available, design
from ._gibbs import Draw, Sampler, average


@implementation(
    author="recarena",
    departs=("the mean over two independent chains, one a core", "burn-in draws are dropped"),
)
@dataclass
class GibbsFMAll:
    """r ~ N(w_0 + sum_j w_j x_j + sum_{j<l} v_j . v_l x_j x_l, 1 / alpha), answered by the mean of clipped predictions.

    Attributes:
        n_factors: d, length of v_j.
        n_sweeps: how often all parameters of a chain are drawn.
        burn_in: the first draws of every chain, which are dropped.
        keep: of the draws after them, every how-manieth is kept: each takes 4 (d + 1) bytes a block row.
        n_chains: independent chains; as many at once as the run has cores.
        init_std: standard deviation of the first w and V.
        families: what x is made of; () for all that the benchmark gives.
    """

    n_factors: int = 10
    n_sweeps: int = 256
    burn_in: int = 20
    keep: int = 1
    n_chains: int = 2
    init_std: float = 0.1
    families: tuple[str, ...] = ()

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        if self.burn_in < 0 or self.keep < 1 or self.burn_in + self.keep > self.n_sweeps or self.n_chains < 1:
            raise ValueError(
                f"fm/mcmc_all: {self.n_chains} chains, burn_in {self.burn_in}, "
                f"n_sweeps {self.n_sweeps}, keep {self.keep}; "
                "expected burn_in + keep <= n_sweeps, and at least 1 of the others, or no draw is left to predict with"
            )
        self.low, self.high = float(seen.value.min()), float(seen.value.max())
        self.design = design(train, self.families or available(train))
        rows, target = self.design.rows(seen), seen.value

        def chain(number: int, rng: np.random.Generator) -> list[Draw]:
            sampler = Sampler(
                self.design.blocks, rows, target, dim=self.n_factors, rng=rng, init_std=self.init_std
            )  # fmt: skip
            self.n_parameters = sampler.n_parameters
            draws = []
            for sweep in range(1, self.n_sweeps + 1):
                sampler.sweep()
                if sweep > self.burn_in and (sweep - self.burn_in) % self.keep == 0:
                    draws.append(sampler.draw())
                if number == 0:
                    run.log(sweep=sweep, train_rmse=sampler.rmse, alpha=sampler.alpha)
                    run.progress(sweep, self.n_sweeps)
            return draws

        with ThreadPoolExecutor(run.threads) as pool:
            chains = pool.map(chain, range(self.n_chains), run.rng.spawn(self.n_chains))
            self.draws = [draw for draws in chains for draw in draws]

    def rate(self, queries: RateQueries) -> Floats:
        return average(self.draws, self.design.rows(queries), self.low, self.high)
