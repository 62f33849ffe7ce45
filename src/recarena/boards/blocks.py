"""Pages in blocks: text that is not marked up until it is written as markdown or as HTML.

Whatever a contender, a title or a log says goes through here as plain text, and stays text in both.
"""

from __future__ import annotations

import base64
import html as escaping
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from recarena.boards.render import as_table

COLUMNS = 120
# what markdown would obey: marks, tags, entities, links, addresses; a bracket or a "<" of its own is left in peace
OBEYED = re.compile(r"[\\|*`~$]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|&(?=#?\w+;)|!(?=\[)|\](?=[(\[:])|:(?=//)")
OPENING = re.compile(r"^(\s*)(?:([-+#>=])|(\d+)(?=[.)]))")  # what would begin a list, a heading or a quotation
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92em; }
th, td { padding: .25em .7em; border-bottom: 1px solid #8885; text-align: left; }
.right { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; background: #fff; }
"""


@dataclass(frozen=True)
class Heading:
    """A title of a level from 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; ``strong`` opens it."""

    text: str
    strong: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: (head, "left" or "right") each.
        rows: a cell a column.
        strong: (row, column) of the cells that stand out.
        optional: columns that may be left out where the page is too narrow, the first one first.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    strong: frozenset[tuple[int, int]] = frozenset()
    optional: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Image:
    """A figure: its file as a page beside it names it, or its SVG for a page that holds all it needs."""

    alt: str
    file: str = ""
    svg: bytes = b""


Block = Heading | Text | Bullets | Table | Image


def markdown(blocks: Sequence[Block]) -> str:
    """Return the page as markdown, no line longer than COLUMNS but for cells that are."""
    return "\n\n".join(part for block in blocks if (part := _markdown(block))) + "\n"


def html(blocks: Sequence[Block], title: str) -> str:
    """Return the page as one HTML file that loads nothing: no script, no address, figures inside."""
    body = "\n".join(part for block in blocks if (part := _html(block)))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escaping.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def safe(text: str) -> str:
    """Return a text so that it stays text: one line, and nothing that markdown would obey."""
    return OBEYED.sub(lambda found: "\\" + found[0], " ".join(text.split()))


def frame(table: Table, mark: Callable[[str], str] = lambda text: text) -> tuple[pd.DataFrame, list[str]]:
    """Return a table as text cells and alignments; ``mark`` is put on the cells that stand out."""
    rows = [
        [mark(cell) if (number, column) in table.strong else cell for column, cell in enumerate(row)]
        for number, row in enumerate(table.rows)
    ]
    return pd.DataFrame(rows, columns=[head for head, _ in table.columns]), [side for _, side in table.columns]


def fitting(table: Table, width: Callable[[Table], int], columns: int) -> Table:
    """Return a table without as many of its optional columns as it takes to fit."""
    for left_out in range(len(table.optional) + 1):
        gone = set(table.optional[:left_out])
        kept = [i for i, (head, _) in enumerate(table.columns) if head not in gone]
        made = Table(
            [table.columns[i] for i in kept],
            [[row[i] for i in kept] for row in table.rows],
            frozenset((row, kept.index(column)) for row, column in table.strong if column in kept),
        )
        if width(made) <= columns:
            break
    return made


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {safe(text)}"
        case Text(text, strong):
            bold = f"**{safe(strong)}** " if strong else ""
            return _wrapped(bold + safe(text))
        case Bullets(lines):
            return "\n".join(_wrapped(f"- {safe(line)}", "  ") for line in lines)
        case Image(alt, file, _):
            return f"![{safe(alt)}]({file})" if file else ""
        case Table():
            return _as_markdown(fitting(block, lambda one: _as_markdown(one).index("\n"), COLUMNS))


def _as_markdown(table: Table) -> str:
    escaped = Table(
        [(safe(head), side) for head, side in table.columns],
        [[safe(cell) for cell in row] for row in table.rows],
        table.strong,
    )
    return as_table(*frame(escaped, lambda cell: f"**{cell}**"))


def _wrapped(text: str, indent: str = "") -> str:
    lines = textwrap.wrap(text, COLUMNS - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines[:1], *(OPENING.sub(_escaped, line) for line in lines[1:])])


def _escaped(found: re.Match[str]) -> str:
    return f"{found[1]}\\{found[2]}" if found[2] else f"{found[1]}{found[3]}\\"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escaping.escape(text)}</h{level}>"
        case Text(text, strong):
            bold = f"<strong>{escaping.escape(strong)}</strong> " if strong else ""
            return f"<p>{bold}{escaping.escape(text)}</p>"
        case Bullets(lines):
            return "<ul>" + "".join(f"<li>{escaping.escape(line)}</li>" for line in lines) + "</ul>"
        case Image(alt, _, svg):
            data = base64.b64encode(svg).decode()
            return f'<p><img alt="{escaping.escape(alt)}" src="data:image/svg+xml;base64,{data}"></p>' if svg else ""
        case Table(columns, rows, strong):
            sides = [' class="right"' if side == "right" else "" for _, side in columns]
            head = "".join(
                f"<th{side}>{escaping.escape(name)}</th>" for (name, _), side in zip(columns, sides, strict=True)
            )
            body = "".join(
                "<tr>"
                + "".join(
                    f"<td{side}>{_cell(cell, (number, column) in strong)}</td>"
                    for column, (cell, side) in enumerate(zip(row, sides, strict=True))
                )
                + "</tr>\n"
                for number, row in enumerate(rows)
            )
            return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'


def _cell(text: str, strong: bool) -> str:
    escaped = escaping.escape(text)
    return f"<strong>{escaped}</strong>" if strong else escaped
