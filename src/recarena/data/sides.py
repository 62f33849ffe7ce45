"""Facts about users and items: from what a source says of raw ids to the features of a question's numbers.

They come from the source's own tables, never from the interactions, so nothing that is held out can show in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recarena.contract.arrays import Floats, Ints, Ragged
from recarena.contract.features import Features, Texts

Ids = NDArray[Any]  # int32 or int64, or numpy's fixed-width text; widen before multiplying


@dataclass(frozen=True, eq=False)
class Side:
    """What a source says about its users or its items, in its own words, one entry a raw id.

    Attributes:
        ids: (n,) raw ids, each once.
        category: name -> (n,) text, "" where it is not known.
        tags: name -> n rows of text, each without repeats.
        number: name -> (n,) float32, NaN where it is not known.
    """

    ids: Ids
    category: Mapping[str, Texts] = field(default_factory=dict)
    tags: Mapping[str, Ragged] = field(default_factory=dict)
    number: Mapping[str, Floats] = field(default_factory=dict)

    def arrays(self) -> dict[str, Any]:
        """Return everything as named arrays, for the cache and the fingerprint."""
        found: dict[str, Any] = {"ids": self.ids}
        found |= {f"category.{name}": column for name, column in self.category.items()}
        found |= {f"number.{name}": column for name, column in self.number.items()}
        for name, rows in self.tags.items():
            found |= {f"offsets.{name}": rows.offsets, f"tags.{name}": rows.values}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Side:
        """Undo ``arrays``."""

        def of(kind: str) -> dict[str, Any]:
            return {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}

        offsets = of("offsets.")
        tags = {name: Ragged(offsets[name], values) for name, values in of("tags.").items()}
        return cls(arrays["ids"], of("category."), tags, of("number."))

    def sha256(self) -> str:
        """Return the fingerprint of the facts, ids ascending: equal from every source that says the same."""
        order = np.argsort(self.ids, kind="stable")
        lines = [f"ids:{self.ids[order].tolist()}"]
        lines += [f"category.{name}:{self.category[name][order].tolist()}" for name in sorted(self.category)]
        lines += [f"number.{name}:{self.number[name][order].tolist()}" for name in sorted(self.number)]
        for name in sorted(self.tags):
            lines.append(f"tags.{name}:{[sorted(self.tags[name][row].tolist()) for row in order]}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def features(side: Side, ids: Ids) -> Features:
    """Return the facts about some raw ids, in their order.

    Args:
        side: what the source says.
        ids: (n,) raw ids; one that the source says nothing about has no category, no tag and no number.
    """
    row = _rows(side.ids, ids)
    known = row >= 0
    category, tags, number, labels = {}, {}, {}, {}
    for name, text in side.category.items():
        labels[name] = np.unique(text[text != ""])  # of the whole table: no code tells who is in the question
        code = np.searchsorted(labels[name], text).astype(np.int32)
        category[name] = np.where(known & (text[row] != ""), code[row], -1).astype(np.int32)
    for name, lists in side.tags.items():
        labels[name], word = np.unique(lists.values, return_inverse=True)
        pairs = np.lexsort((word, lists.rows()))  # every row's codes ascending
        sorted_lists = Ragged(lists.offsets, word[pairs].astype(np.int32))
        tags[name] = Ragged.from_lengths(
            np.where(known, sorted_lists.lengths[row], 0), sorted_lists.take(row[known]).values
        )
    for name, value in side.number.items():
        number[name] = np.where(known, value[row], np.nan).astype(np.float32)
    return Features(category, tags, number, labels)


def _rows(ids: Ids, wanted: Ids) -> Ints:
    """Return the row of every wanted id among ``ids``, -1 where it is not there."""
    order = np.argsort(ids, kind="stable")
    place = np.minimum(np.searchsorted(ids[order], wanted), max(len(ids) - 1, 0))
    if len(ids) == 0:
        return np.full(len(wanted), -1)
    return np.where(ids[order][place] == wanted, order[place], -1)
