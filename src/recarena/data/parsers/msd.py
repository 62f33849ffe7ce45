"""The Million Song Dataset's taste profile: ``user song plays``, text ids of 40 characters on 48 million rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.parsers.tables import Column, blame, checked, reason
from recarena.data.raw import Raw

_BLOCK_BYTES = 1 << 26
_COLUMNS = [Column("user", "text"), Column("song", "text"), Column("plays", "integer")]


def triplets(body: bytes, where: str, encoding: str) -> Raw:
    """Tabs, no header. A raw id is the text's place among all, ascending: the text itself would take 11 GB.

    Whatever sorts by raw ids sorts as it would by the text. ``titles`` holds the songs' own ids.
    """
    users, items, plays = _Codes(), _Codes(), []
    if not body.strip():
        raise DataError(f"{where}: the file holds no rows; expected lines of user, song and plays; fetch it again")
    start = 0
    while start < len(body):
        stop = body.find(b"\n", start + _BLOCK_BYTES) + 1 or len(body)
        try:
            block = pl.read_csv(
                body[start:stop],
                separator="\t",
                has_header=False,
                schema={"user": pl.String, "song": pl.String, "plays": pl.Int64},
                quote_char=None,
            )
        except pl.exceptions.PolarsError as error:
            blame(body, _COLUMNS, where, encoding, "\t", 1)
            raise DataError(f"{where}: the table cannot be read: {reason(error)}; fetch the file again") from error
        if any(block.null_count().row(0)):
            blame(body, _COLUMNS, where, encoding, "\t", 1)
        users.add(block["user"])
        items.add(block["song"])
        plays.append(block["plays"].to_numpy().astype(np.float32))
        start = stop
    _, user = users.joined()
    songs, item = items.joined()
    return checked(Raw(user, item, np.concatenate(plays), titles=dict(enumerate(songs))), where, first_line=1)


class _Codes:
    """Integer coding of text that comes in blocks."""

    def __init__(self) -> None:
        self.blocks: list[tuple[pl.Series, Ints]] = []

    def add(self, text: pl.Series) -> None:
        """Code one block by its own distinct texts."""
        unique = text.unique().sort()
        self.blocks.append((unique, text.cast(pl.Enum(unique)).to_physical().to_numpy().astype(np.int32)))

    def joined(self) -> tuple[list[str], Ints]:
        """Return all distinct texts, ascending, and every row's place among them."""
        unique = pl.concat([own for own, _ in self.blocks]).unique().sort()
        everything = pl.Enum(unique)
        code = [own.cast(everything).to_physical().to_numpy().astype(np.int32)[local] for own, local in self.blocks]
        return unique.to_list(), np.concatenate(code)
