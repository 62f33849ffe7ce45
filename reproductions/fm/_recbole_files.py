"""A question as RecBole's files, and its numbering: what the adapter does without RecBole.

RecBole's "atomic files" are tables with tabs, whose columns name their types: a token is a category, a token_seq
several of them with blanks between, a float a number. An empty cell is not known: RecBole's padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from recarena import Features, Ints, RateQueries, Train

NAME = "question"  # of RecBole's dataset
USED = ("age", "gender", "occupation", "genres", "year")  # by its published row


def write(train: Train, folder: Path) -> dict[str, list[str]]:
    """Write the files of a question, and return the columns of each.

    The training events, the validation's, and the first of those again, for RecBole wants a test part too. Everybody
    and everything has a row in .user and .item, so that RecBole also knows the items that have no event.
    """
    folder.mkdir(parents=True)
    seen = train.interactions
    held = next(iter(train.validation.values()))
    assert isinstance(held.queries, RateQueries)  # noqa: S101
    events = {
        "train": (seen.user, seen.item, seen.value),
        "validation": (held.queries.user, held.queries.item, held.answers.value),  # type: ignore[union-attr]
    }
    events["again"] = tuple(column[:1] for column in events["validation"])  # type: ignore[index,assignment]
    head = ("user_id:token", "item_id:token", "label:float")
    for part, rows in events.items():
        text = [np.asarray(column).astype(str).tolist() for column in rows]
        _table(folder / f"{NAME}.{part}.inter", dict(zip(head, text, strict=True)))
    users = {"user_id:token": map(str, range(seen.n_users)), **_facts(train.users)}
    items = {"item_id:token": map(str, range(seen.n_items)), **_facts(train.items)}
    _table(folder / f"{NAME}.user", users)
    _table(folder / f"{NAME}.item", items)
    named = {"inter": head, "user": users, "item": items}
    return {side: [column.split(":")[0] for column in columns] for side, columns in named.items()}


def _facts(features: Features | None) -> dict[str, list[str]]:
    """The facts that RecBole's row used, as its columns of text; what is not known is empty: its padding."""
    found: dict[str, list[str]] = {}
    if features is None:
        return found
    for name in features.names:
        if name not in USED:
            continue
        if name in features.category:
            found[f"{name}:token"] = ["" if code < 0 else str(code) for code in features.category[name]]
        elif name in features.number:
            found[f"{name}:token"] = ["" if np.isnan(one) else f"{one:g}" for one in features.number[name]]
        else:
            tags = features.tags[name]
            found[f"{name}:token_seq"] = [" ".join(map(str, tags[row])) for row in range(len(tags))]
    return found


def _table(file: Path, columns: Mapping[str, Iterable[str]]) -> None:
    lines = ["\t".join(columns), *map("\t".join, zip(*columns.values(), strict=True))]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def numbers(token_id: Mapping[str, int], ids: Ints) -> Ints:
    """Return (n,) RecBole's number of each of our ids, from its dictionary of a field; its 0 is the padding."""
    ours = np.array([token_id[str(one)] for one in range(len(token_id) - 1)])
    return ours[ids]
