"""What is known about users, or about items, beside what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from recarena.contract.arrays import Floats, Ints, Ragged

Texts = NDArray[Any]  # numpy's fixed-width text


@dataclass(frozen=True, eq=False)
class Features:
    """Facts about n users or n items, each under its name; row r is about user or item r.

    Attributes:
        category: name -> (n,) int32 one code each, -1 where it is not known.
        tags: name -> n rows of int32 codes, ascending, any number of them.
        number: name -> (n,) float32, NaN where it is not known.
        labels: name of a category or of tags -> (codes,) text, what every code stands for, in ascending order.
    """

    category: Mapping[str, Ints] = field(default_factory=dict)
    tags: Mapping[str, Ragged] = field(default_factory=dict)
    number: Mapping[str, Floats] = field(default_factory=dict)
    labels: Mapping[str, Texts] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted within each kind: categories, tags, numbers."""
        return (*sorted(self.category), *sorted(self.tags), *sorted(self.number))
