"""FM with ordered probit: a rating is a level that a hidden number z reached. Gibbs sampling, z drawn too.

    z ~ N(y(x), 1), y(x) as in Rendle, "Factorization Machines", ICDM 2010, equation (1); rating = level k where
    cut_k < z <= cut_k+1.    Guess: sum_k value_k P(k), averaged over the draws

Albert and Chib, JASA 1993, on top of the sampler of Rendle, "Factorization Machines with libFM", TIST 2012. myFM has
the same model. The levels are the different ratings of the training rows.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recarena import Floats, RateQueries, Run, Skip, Train, implementation

from ._features import available, design
from ._gibbs import Draw, Sampler, predict
from ._latent import cells, draw_cut_points, draw_z, expected, first_cut_points


@implementation(
    author="recarena",
    departs=(
        "the paper's probit has two levels; here as many as there are ratings, as in myFM",
        "cut points drawn with z integrated out; w_0 is left to them",
        "the mean of independent chains, one on each core",
        "the first draws of every chain are dropped",
    ),
)
@dataclass
class OrderedProbitFM:
    """P(rating is level k | x) = Phi(cut_k+1 - y(x)) - Phi(cut_k - y(x)).

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
    n_sweeps: int = 512
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
                f"fm/oprobit: {self.n_chains} chains, burn_in {self.burn_in}, "
                f"n_sweeps {self.n_sweeps}, keep {self.keep}; "
                "expected burn_in + keep <= n_sweeps, and at least 1 of the others, or no draw is left to predict with"
            )
        if not np.isfinite(seen.value).all():
            bad = int(np.flatnonzero(~np.isfinite(seen.value))[0])
            raise ValueError(f"fm/oprobit: the rating of training row {bad} is {seen.value[bad]}; expected a number")
        self.value, code = np.unique(seen.value.astype(np.float64), return_inverse=True)  # (levels,), (n,)
        if not 2 <= len(self.value) <= 255:
            raise ValueError(
                f"fm/oprobit: the training rows have {len(self.value)} different ratings; expected 2 to 255 levels"
            )
        level, n_levels = code.astype(np.uint8), len(self.value)
        self.design = design(train, self.families or available(train))
        rows = self.design.rows(seen)

        def chain(number: int, rng: np.random.Generator) -> list[tuple[Draw, Floats]]:
            sampler = Sampler(
                self.design.blocks,
                rows,
                np.zeros(len(seen), np.float32),  # z is not drawn yet
                dim=self.n_factors,
                rng=rng,
                init_std=self.init_std,
                noise_precision=1.0,
                regularisation=(np.inf, 0.0, 0.0),  # w_0 stays 0: it would only move all cut points at once
            )
            self.n_parameters = sampler.n_parameters - 1 + n_levels - 1  # no w_0, but cut points
            cut = first_cut_points(level, n_levels)  # (levels + 1,) from -inf to inf
            draws = []
            for sweep in range(1, self.n_sweeps + 1):
                y = sampler.target - sampler.e  # (n,) y(x) of the training rows
                cut = draw_cut_points(cells(y, level, n_levels), cut, rng)
                sampler.set_target(draw_z(y, level, cut, rng))
                sampler.sweep()
                if sweep > self.burn_in and (sweep - self.burn_in) % self.keep == 0:
                    draws.append((sampler.draw(), cut))
                if number == 0:
                    run.log(sweep=sweep, lowest_cut=cut[1], highest_cut=cut[-2])
                    run.progress(sweep, self.n_sweeps)
            return draws

        with ThreadPoolExecutor(run.threads) as pool:
            chains = pool.map(chain, range(self.n_chains), run.rng.spawn(self.n_chains))
            self.draws = [draw for draws in chains for draw in draws]

    def rate(self, queries: RateQueries) -> Floats:
        rows = self.design.rows(queries)
        guess = np.zeros(len(queries))  # (q,)
        for draw, cut in self.draws:
            guess += expected(predict(draw, rows), cut, self.value)
        mean: Floats = guess / len(self.draws)
        return mean
