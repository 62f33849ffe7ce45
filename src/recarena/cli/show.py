"""What commands print with: tables through rich on a terminal, markdown elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd  # a second to import, and --help needs none

WIDE = 30  # cells longer than this may be folded

# a pipe or a log has no width of its own
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
errors = Console(stderr=True, highlight=False)


def fail(message: str) -> None:
    """Print what went wrong."""
    errors.print(f"[bold red]recarena:[/] {escape(message)}", soft_wrap=True)


def note(message: str) -> None:
    """Print a remark beside the output."""
    errors.print(f"[dim]{escape(message)}[/]", soft_wrap=True)


def short(path: Path) -> str:
    """Return a path as seen from the current folder, where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def table(frame: pd.DataFrame, alignment: list[str], title: str = "", bold: dict[str, int] | None = None) -> None:
    """Print a table.

    Args:
        frame: cells as text.
        alignment: "left" or "right" for each column.
        title: above it.
        bold: column -> the row whose cell is set in bold.
    """
    drawn = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold", box=None)
    for column, side in zip(frame.columns, alignment, strict=True):
        longest = max((len(str(cell)) for cell in frame[column]), default=0)
        justify = "right" if side == "right" else "left"
        # names may be cut with an ellipsis on a narrow terminal, numbers never
        widest = max(longest, len(str(column)))
        drawn.add_column(
            str(column),
            justify=justify,  # type: ignore[arg-type]
            no_wrap=longest <= WIDE,
            overflow="ellipsis" if longest <= WIDE else "fold",
            min_width=widest if side == "right" else None,
        )
    for number, row in enumerate(frame.itertuples(index=False)):
        cells = []
        for column, value in zip(frame.columns, row, strict=True):
            text = str(value)
            marked = text.startswith("*") and text.endswith("*")
            text = f"[italic]{escape(text.strip('*'))}[/]" if marked else escape(text)
            cells.append(f"[bold]{text}[/]" if (bold or {}).get(str(column)) == number else text)
        drawn.add_row(*cells)
    console.print(drawn)
