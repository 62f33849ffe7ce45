"""From a user's own file to a recipe: the file is read once, and what it holds is what the recipe expects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from recarena.contract.errors import DataError
from recarena.data import parsers
from recarena.data.coding import n_distinct
from recarena.data.parsers import plain
from recarena.data.sources import sha256_of

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def add(root: Path, file: Path, name: str, named: Mapping[str, str], separator: str | None = None) -> Path:
    """Read a file and write ``datasets/<name>.toml`` for it.

    Args:
        root: of the project.
        file: CSV, TSV, parquet, or RecBole's ``.inter`` (an ``.item`` or ``.user`` beside it gives facts, and titles).
        name: of the dataset.
        named: "user", "item", "value", "time" -> the column's name in the file; the usual names are found by
            themselves, and "" means that the file has no such column.
        separator: of a text table, found from its header if None.

    Returns:
        The recipe's path.

    Raises:
        DataError: the name is taken or not kebab-case, the file cannot be read, or a column cannot be found.
    """
    recipe = root / "datasets" / f"{name}.toml"
    if not _NAME.fullmatch(name):
        raise DataError(f'"{name}" is no name for a dataset: use small letters, digits and hyphens, such as "my-data"')
    if recipe.exists():
        raise DataError(
            f'datasets/{name}.toml is there already: choose another name, or remove it to add "{name}" anew'
        )
    file = file.expanduser().resolve()
    try:
        body = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}; name a file") from error
    if not body:
        raise DataError(f"{file.name}: the file holds no rows; expected at least one interaction")
    titles = facts = ""
    if file.suffix == ".inter":
        reads = 'parser = "recbole.inter"'
        raw = parsers.PARSERS["recbole.inter"](body, file.name, "utf-8")
        if (items := file.with_suffix(".item")).is_file():
            if _has_title(items):
                titles = f'titles = {{ path = {_quoted(str(items))}, parser = "recbole.item" }}\n'
            facts += f'items = {{ path = {_quoted(str(items))}, parser = "recbole.side" }}\n'
        if (users := file.with_suffix(".user")).is_file():
            facts += f'users = {{ path = {_quoted(str(users))}, parser = "recbole.side" }}\n'
    else:
        columns = _columns(plain.header(body, file.name, separator=separator), named, file.name)
        if not body.startswith(b"PAR1") and separator is None:
            separator = plain.guess_separator(body, file.name, "utf-8")
        raw = parsers.table(body, file.name, columns=columns, separator=separator)
        pairs = ", ".join(f"{of} = {_quoted(column)}" for of, column in columns.items())
        reads = f'parser = "table", columns = {{ {pairs} }}' + (
            f", separator = {_quoted(separator)}" if separator else ""
        )
    time = raw.time_sha256()
    text = f"""\
title = {_quoted(name)}
licence = "unknown: yours to state"
citation = "unknown: yours to state"
homepage = "unknown: yours to state"

[[sources]]
kind = "file"
gives = {'["time"]' if time else "[]"}
ratings = {{ path = {_quoted(str(file))}, sha256 = "{sha256_of(file)}", {reads} }}
{titles}{facts}
[expect]
users = {n_distinct(raw.user)}
items = {n_distinct(raw.item)}
interactions = {len(raw)}
sha256 = "{raw.sha256()}"
"""
    if time:
        text += f'time_sha256 = "{time}"\n'
    temporary = recipe.with_name(recipe.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(recipe)
    return recipe


def _has_title(items: Path) -> bool:
    """Whether an ``.item`` file has a column of names."""
    with items.open(encoding="utf-8", errors="replace") as lines:
        return any("title" in name or "name" in name for name in lines.readline().split("\t"))


def _columns(names: list[str], named: Mapping[str, str], where: str) -> dict[str, str]:
    """The columns that hold what: those named, and for the rest the usual names."""
    columns = {**plain.usual_columns(names), **named}
    for of in ("user", "item"):
        if not columns.get(of):
            raise DataError(f"{where}: which column holds the {of}? It has {names}: give --{of} NAME")
    return {of: columns[of] for of in ("user", "item", "value", "time") if columns.get(of)}


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but characters stand for themselves, since TOML knows no halves of a surrogate pair."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
