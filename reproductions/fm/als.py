"""Factorization machine by ALS: Rendle, "Factorization Machines with libFM", TIST 2012, section 3.2.2.

Every parameter in turn moves to where the regularised squared error is least along its coordinate: the mean of its
conditional under MCMC, with alpha 1, mu 0 and given lambdas. ``_gibbs.py`` runs both.
"""

from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import design
from ._gibbs import Sampler, predict


@implementation(author="recarena")
@dataclass
class AlternatingFM:
    """min sum (r_ui - w_0 - w_u - w_i - v_u . v_i)^2 + lambda_w |w|^2 + lambda_v |V|^2, along one coordinate at a time.

    libFM's own default is no regularisation, which does not generalise. w_0 has no lambda.

    Attributes:
        n_factors: d, length of v_u and v_i.
        n_sweeps: how often all parameters are solved for.
        linear_regularisation: lambda_w.
        regularisation: lambda_v.
        init_std: standard deviation of the first w and V.
    """

    n_factors: int = 8
    n_sweeps: int = 30
    linear_regularisation: float = 10.0
    regularisation: float = 10.0
    init_std: float = 0.1

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0:
            raise Skip("the training events carry no ratings")
        self.low, self.high = float(seen.value.min()), float(seen.value.max())
        self.design = design(train)
        sampler = Sampler(
            self.design.blocks,
            self.design.rows(seen),
            seen.value,
            dim=self.n_factors,
            rng=run.rng,
            init_std=self.init_std,
            sample=False,
            regularisation=(0.0, self.linear_regularisation, self.regularisation),
            threads=run.threads,
        )
        for sweep in range(1, self.n_sweeps + 1):
            sampler.sweep()
            run.log(sweep=sweep, train_rmse=sampler.rmse)
            run.progress(sweep, self.n_sweeps)
        self.n_parameters = sampler.n_parameters
        self.result = sampler.draw()

    def rate(self, queries: RateQueries) -> Floats:
        guess: Floats = np.clip(predict(self.result, self.design.rows(queries)), self.low, self.high)
        return guess
