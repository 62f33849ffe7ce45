"""Array aliases and the ragged array: lists of different lengths in two flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Lists of different lengths; row ``r`` is ``values[offsets[r]:offsets[r + 1]]``.

    Attributes:
        offsets: (rows + 1,) int64, starts at 0, never falls, ends at ``len(values)``.
        values: (total,) item ids.
    """

    offsets: Ints
    values: Ints

    def __post_init__(self) -> None:
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError(
                f"ragged offsets must run from 0 to len(values) = {len(self.values)}, "
                f"got {self.offsets[:1]} ... {self.offsets[-1:]}"
            )

    @classmethod
    def from_lists(cls, lists: Sequence[Iterable[int]]) -> Ragged:
        """Build from an iterable of lists."""
        rows = [np.asarray(list(row), dtype=np.int32) for row in lists]
        values = np.concatenate(rows) if rows else np.empty(0, np.int32)
        return cls.from_lengths(np.array([len(r) for r in rows], dtype=np.int64), values)

    @classmethod
    def from_lengths(cls, lengths: Ints, values: Ints) -> Ragged:
        """Build from the length of every row, (rows,), and the flat values."""
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(offsets, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ints:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[Ints]:
        return (self[r] for r in range(len(self)))

    @property
    def lengths(self) -> Ints:
        """(rows,) how many values each row has."""
        return np.diff(self.offsets)

    def rows(self) -> Ints:
        """(total,) the row that every value belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def part(self, rows: slice) -> Ragged:
        """Return the rows of a contiguous slice, without copying the values."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"Ragged.part takes contiguous rows, got step {step}")
        stop = max(start, stop)
        low, high = self.offsets[start], self.offsets[stop]
        return Ragged(self.offsets[start : stop + 1] - low, self.values[low:high])

    def take(self, rows: Ints) -> Ragged:
        """Return the named rows, in the order given."""
        lengths = self.lengths[rows]
        starts = np.repeat(self.offsets[:-1][rows], lengths)
        within = np.arange(len(starts)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged.from_lengths(lengths, self.values[starts + within])
