"""Figures of a duel: where the two differ, with intervals, and what they logged. Needs the extra ``figures``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recarena.boards.duel import AskDuel, Duel, Line, Side
from recarena.contract.errors import RecarenaError
from recarena.contract.metrics import parse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = 'figures need matplotlib, which is not installed here: pip install "recarena[figures]", or leave --figure out'
FORMATS = (".png", ".svg")
COLOURS = ("#0072b2", "#d55e00")  # apart for every kind of colour vision
GREY = "#777777"
SERIES = 3  # of each side, in the curves' figure
SETTINGS: Any = {
    "svg.hashsalt": "recarena",  # the same figure, the same bytes
    "text.parse_math": False,  # a name with dollars is a name
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.solid_capstyle": "butt",  # an interval ends where it ends
}


def paths(file: Path) -> list[Path]:
    """Return the files that ``--figure FILE`` asks for: by its suffix; both formats where it has none.

    Raises:
        RecarenaError: another format.
    """
    if not file.suffix:
        return [file.with_suffix(suffix) for suffix in FORMATS]
    if file.suffix.lower() not in FORMATS:
        raise RecarenaError(f"--figure {file}: a {file.suffix} file, expected .png or .svg, or no suffix for both")
    return [file]


def have_matplotlib() -> bool:
    """Whether figures can be drawn here."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an extra, and half a second to import
    except ImportError:
        return False
    return True


def draw(duel: Duel, format_: str) -> bytes:
    """Return the figure of a duel's first ask as "png" or "svg".

    Raises:
        RecarenaError: matplotlib is not installed.
    """
    if not have_matplotlib():
        raise RecarenaError(MISSING)
    import matplotlib as mpl  # noqa: PLC0415

    data = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        metadata = {"Date": None} if format_ == "svg" else {"Software": None}
        _figure(duel).savefig(data, format=format_, dpi=160, metadata=metadata)
    return data.getvalue()


def _figure(duel: Duel) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415

    one = duel.asks[0]
    rows = [one.metrics[0], *(line for line in one.slices if line.tested)]
    logged = [side for side in (duel.a, duel.b) if side.curve]
    together = len(logged) == 2 and duel.a.x == duel.b.x and duel.a.curve.keys() == duel.b.curve.keys()
    panels = [[side for side in (duel.a, duel.b) if side.curve]] if together else [[side] for side in logged]
    height = max(2.6, 0.9 + 0.23 * len(rows))
    figure = Figure(figsize=(10 if panels else 6.5, height), layout="constrained")
    if not panels:
        _differences(figure.add_subplot(), duel, one, rows)
        return figure
    grid = figure.add_gridspec(len(panels), 2, width_ratios=(1.25, 1))
    _differences(figure.add_subplot(grid[:, 0]), duel, one, rows)
    for number, sides in enumerate(panels):
        axes = figure.add_subplot(grid[number, 1])
        _curves(axes, duel, sides)
        if number == 0:
            axes.set_title("what they logged in their first run", fontsize=9)
    return figure


def _differences(axes: Axes, duel: Duel, one: AskDuel, rows: Sequence[Line]) -> None:
    """A dot and an interval a slice; grey where the paired test does not tell the two apart."""
    metric = parse(one.metrics[0].metric)
    for place, line in enumerate(rows):
        colour = {"better": COLOURS[0], "worse": COLOURS[1]}.get(line.verdict, GREY)
        if line.tested:
            axes.plot([line.low, line.high], [place, place], color=colour, linewidth=2 if place else 3)
        axes.plot([line.difference], [place], "o", color=colour, markersize=5 if place else 7)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), ["all", *(_plain(line.name) for line in rows[1:])])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    left, right = (duel.a, duel.b) if not metric.higher_is_better else (duel.b, duel.a)
    axes.set_xlabel(f"{_plain(left.label)} better  <  difference in {metric.label}  >  {_plain(right.label)} better")
    axes.set_title(f"{_plain(duel.a.label)} minus {_plain(duel.b.label)}, 95% intervals; grey: not apart", fontsize=9)


def _curves(axes: Axes, duel: Duel, sides: Sequence[Side]) -> None:
    styles = ("-", "--", ":")
    for side in sides:
        colour = COLOURS[0] if side is duel.a else COLOURS[1]
        for (name, (x, y)), style in zip(list(side.curve.items())[:SERIES], styles, strict=False):
            finite = np.isfinite(np.asarray(y, dtype=np.float64))
            points: Any = (np.asarray(x)[finite], np.asarray(y)[finite])
            axes.plot(
                *points, style, color=colour, marker="." if len(x) < 30 else "", label=_plain(f"{side.label}: {name}")
            )
    axes.set_xlabel(_plain(sides[0].x))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def _plain(text: str) -> str:
    """Return a text in letters that every font has, short enough for a label."""
    letters = text.replace("–", "-").encode("ascii", "replace").decode()
    return letters if len(letters) <= 40 else letters[:37] + "..."
