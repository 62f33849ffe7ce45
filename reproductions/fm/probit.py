"""FM for yes or no, by Gibbs sampling with probit: Rendle, "Factorization Machines with libFM", TIST 2012, section 3.2.

    z ~ N(y(x), 1), y(x) as in Rendle, "Factorization Machines", ICDM 2010, equation (1); yes where z > 0
    P(yes | x) = Phi(y(x)), averaged over the draws

Albert and Chib, JASA 1993: z is drawn given the answers, then everything else as in a regression on z.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import available, design
from ._gibbs import Draw, Sampler, predict
from ._latent import draw_z, expected

CUT = np.array([-np.inf, 0.0, np.inf])  # no is below 0, yes above


@implementation(
    author="recarena",
    departs=("the mean of independent chains, one on each core", "the first draws of every chain are dropped"),
)
@dataclass
class ProbitFM:
    """P(yes | x) = Phi(w_0 + sum_j w_j x_j + sum_{j<l} v_j . v_l x_j x_l).

    Attributes:
        n_factors: d, length of v_j.
        n_sweeps: how often all parameters of a chain are drawn.
        burn_in: the first draws of every chain, which are dropped.
        keep: of the draws after them, every how-manieth is kept: each takes 4 (d + 1) bytes a block row.
        n_chains: independent chains; as many at once as the run has cores.
        init_std: standard deviation of the first w and V.
        families: what x is made of; those that a benchmark does not give are left out.
    """

    n_factors: int = 16
    n_sweeps: int = 200
    burn_in: int = 20
    keep: int = 1
    n_chains: int = 2
    init_std: float = 0.1
    families: tuple[str, ...] = ("user", "age", "gender", "occupation", "item", "genres", "year")

    def fit(self, train: Train, run: Run) -> None:
        seen = train.interactions
        if seen.value is None or len(seen) == 0 or not np.isin(seen.value, (0, 1)).all():
            raise Skip("the training events carry no labels of 0 and 1")
        if self.burn_in < 0 or self.keep < 1 or self.burn_in + self.keep > self.n_sweeps or self.n_chains < 1:
            raise ValueError(
                f"fm/probit: {self.n_chains} chains, burn_in {self.burn_in}, "
                f"n_sweeps {self.n_sweeps}, keep {self.keep}; "
                "expected burn_in + keep <= n_sweeps, and at least 1 of the others, or no draw is left to predict with"
            )
        if (seen.value == seen.value[0]).all():
            raise ValueError(f"fm/probit: all labels are {seen.value[0]:g}; expected both 0 and 1")
        level = seen.value.astype(np.uint8)  # (n,)
        given = available(train)
        self.design = design(train, [name for name in self.families if name in given])
        rows = self.design.rows(seen)

        def chain(number: int, rng: np.random.Generator) -> list[Draw]:
            sampler = Sampler(
                self.design.blocks,
                rows,
                np.zeros(len(seen), np.float32),  # z is not drawn yet
                dim=self.n_factors,
                rng=rng,
                init_std=self.init_std,
                noise_precision=1.0,
            )
            self.n_parameters = sampler.n_parameters
            draws = []
            for sweep in range(1, self.n_sweeps + 1):
                y = sampler.target - sampler.e  # (n,) y(x) of the training rows
                sampler.set_target(draw_z(y, level, CUT, rng))
                sampler.sweep()
                if sweep > self.burn_in and (sweep - self.burn_in) % self.keep == 0:
                    draws.append(sampler.draw())
                if number == 0:
                    run.log(sweep=sweep, w0=sampler.w0)
                    run.progress(sweep, self.n_sweeps)
            return draws

        with ThreadPoolExecutor(run.threads) as pool:
            chains = pool.map(chain, range(self.n_chains), run.rng.spawn(self.n_chains))
            self.draws = [draw for draws in chains for draw in draws]

    def rate(self, queries: RateQueries) -> Floats:
        rows = self.design.rows(queries)
        chance = np.zeros(len(queries))  # (q,)
        for draw in self.draws:
            chance += expected(predict(draw, rows), CUT, np.array([0.0, 1.0]))
        mean: Floats = chance / len(self.draws)
        return mean
