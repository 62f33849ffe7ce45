"""recarena: an arena for recommender papers.

What an implementation imports comes from here and needs numpy alone; the rest of the house is in the subpackages.
"""

from recarena.contract.arrays import Bools, Floats, Ints, Ragged
from recarena.contract.errors import RecarenaError, Skip
from recarena.contract.features import Features
from recarena.contract.implementation import Run, implementation
from recarena.contract.queries import DetectQueries, Interactions, RankQueries, RateQueries
from recarena.contract.questions import Train
from recarena.contract.ranking import Factors, top_k

__all__ = [
    "Bools",
    "DetectQueries",
    "Factors",
    "Features",
    "Floats",
    "Interactions",
    "Ints",
    "Ragged",
    "RankQueries",
    "RateQueries",
    "RecarenaError",
    "Run",
    "Skip",
    "Train",
    "implementation",
    "top_k",
]
