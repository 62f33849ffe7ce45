"""What is known of every user, or of every item, besides what happened: named columns of three kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recarena.contract.arrays import Floats, Ints, Ragged


@dataclass(frozen=True, eq=False)
class Features:
    """Named columns over n users, or over n items, in the order of their numbers.

    A code says which value of its column a row has, and nothing else: codes of two columns have nothing in common.

    Attributes:
        category: name -> (n,) int32 codes from 0, such as an occupation; -1 where it is not known.
        tags: name -> n rows of int32 codes, such as a film's genres; a row may be empty.
        number: name -> (n,) float32, such as a year; NaN where it is not known.
    """

    category: Mapping[str, Ints] = field(default_factory=dict)
    tags: Mapping[str, Ragged] = field(default_factory=dict)
    number: Mapping[str, Floats] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.category or self.tags or self.number)
