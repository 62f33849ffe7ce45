"""Parsers: the bytes of one raw file -> raw interactions, or item titles. They read; they never filter or reorder.

A recipe names a parser by its key here. ``PARSERS`` read the rows; ``MORE_PARSERS`` read a further file beside the rows
that were read already, and return the rows with what it adds; ``TITLE_PARSERS`` read item id -> title;
``SIDE_PARSERS`` read facts about users or items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recarena.data.parsers.movielens import (
    movies_csv,
    movies_dat,
    ordered_tsv,
    ratings_csv,
    ratings_dat,
    u_data,
    u_item,
)
from recarena.data.parsers.msd import triplets
from recarena.data.parsers.ncf import ncf_negatives, ncf_test
from recarena.data.parsers.netflix import movie_titles, training_set
from recarena.data.parsers.plain import table
from recarena.data.parsers.recbole import recbole_inter, recbole_item, side_table
from recarena.data.parsers.sequences import item_lists, item_sequences, test_item_lists
from recarena.data.parsers.sides import SIDE_PARSERS
from recarena.data.parsers.written import inline
from recarena.data.raw import Raw

VERSION = 3  # part of the cache's key: raise it whenever a parser's output changes

PARSERS: Mapping[str, Callable[[bytes, str, str], Raw]] = {
    "u.data": u_data,
    "ratings.dat": ratings_dat,
    "ratings.csv": ratings_csv,
    "recbole.inter": recbole_inter,
    "ordered.tsv": ordered_tsv,
    "item-lists": item_lists,
    "item-sequences": item_sequences,
    "netflix": training_set,
    "triplets": triplets,
}
MORE_PARSERS: Mapping[str, Callable[[bytes, str, str, Raw], Raw]] = {
    "item-lists": test_item_lists,
    "ncf.test": ncf_test,
    "ncf.negative": ncf_negatives,
}
TITLE_PARSERS: Mapping[str, Callable[[bytes, str, str], dict[Any, str]]] = {
    "u.item": u_item,
    "movies.dat": movies_dat,
    "movies.csv": movies_csv,
    "netflix": movie_titles,
    "recbole.item": recbole_item,
}
__all__ = ["MORE_PARSERS", "PARSERS", "SIDE_PARSERS", "TITLE_PARSERS", "VERSION", "inline", "side_table", "table"]
