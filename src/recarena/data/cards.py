"""A dataset's card: what is in it, in numbers. No file is touched here."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from recarena.contract.arrays import Ints
from recarena.data.coding import codes
from recarena.data.raw import PARTS, Raw
from recarena.data.recipes import Dataset

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that a date can have
_VALUES_SHOWN = 12  # more different ratings than this are shown by quantiles


@dataclass(frozen=True)
class Card:
    """What is in a dataset.

    Attributes:
        facts: (name, text) lines, in order.
        histogram: (rating, rows, fraction), where there are few different ratings.
        per_user, per_item: rows of a user and of an item at ``QUANTILES``.
    """

    facts: tuple[tuple[str, str], ...]
    histogram: tuple[tuple[str, int, float], ...]
    per_user: tuple[int, ...]
    per_item: tuple[int, ...]


def card(dataset: Dataset, raw: Raw, source: str) -> Card:
    """Describe a dataset's rows.

    Args:
        dataset: its recipe.
        raw: its rows.
        source: where they came from, in words.
    """
    users, user = codes(raw.user)
    items, item = codes(raw.item)
    n = len(raw)
    facts = [
        ("users", f"{len(users):,}"),
        ("items", f"{len(items):,}"),
        ("interactions", f"{n:,}"),
        ("density", f"{100 * n / (len(users) * len(items)):.4g} %"),
        ("times", _times(raw)),
    ]
    if raw.part is not None:
        counts = np.bincount(raw.part, minlength=len(PARTS))
        facts.append(
            ("divided", ", ".join(f"{name} {rows:,}" for name, rows in zip(PARTS, counts, strict=True) if rows))
        )
    if raw.candidates is not None:
        lengths = raw.candidates.item.lengths
        facts.append(("candidates", f"{len(lengths):,} users, {lengths.min()} to {lengths.max()} items each"))
    for of, side in (("about users", raw.users), ("about items", raw.items)):
        if side is not None:
            facts.append((of, ", ".join(sorted([*side.category, *side.tags, *side.number]))))
    histogram: tuple[tuple[str, int, float], ...] = ()
    if raw.value is None:
        facts.append(("values", "none: the source says only what happened"))
    else:
        ratings, rows = np.unique(raw.value, return_counts=True)
        if len(ratings) <= _VALUES_SHOWN:
            histogram = tuple((f"{r:g}", int(c), float(c) / n) for r, c in zip(ratings, rows, strict=True))
        low, middle, high = np.quantile(raw.value, [0, 0.5, 1])
        facts.append(("values", f"{low:g} to {high:g}, median {middle:g}, mean {raw.value.mean(dtype=np.float64):.4f}"))
    facts += [
        ("sha256", raw.sha256()),
        ("time sha256", raw.time_sha256() or "-"),
        ("source", source),
        ("homepage", dataset.homepage),
        ("licence", " ".join(dataset.licence.split())),
        ("cite", " ".join(dataset.citation.split())),
    ]
    return Card(tuple(facts), histogram, _quantiles(np.bincount(user)), _quantiles(np.bincount(item)))


def text(name: str, dataset: Dataset, found: Card) -> str:
    """Return a card as plain text."""
    wide = max(len(fact) for fact, _ in found.facts)
    lines = [f"{name}: {dataset.title}", ""]
    lines += [f"{fact:<{wide}}  {words}" for fact, words in found.facts]
    header = ["rows of"] + [f"{q:.0%}" for q in QUANTILES]
    lines += ["", "  ".join(f"{cell:>8}" for cell in header)]
    for of, rows in (("a user", found.per_user), ("an item", found.per_item)):
        lines.append("  ".join(f"{cell:>8}" for cell in [of, *(f"{r:,}" for r in rows)]))
    if found.histogram:
        most = max(fraction for _, _, fraction in found.histogram)
        lines += ["", f"{'rating':>8}  {'rows':>12}"]
        for rating, n, fraction in found.histogram:
            lines.append(f"{rating:>8}  {n:>12,}  {fraction:>6.1%}  {'█' * round(30 * fraction / most)}".rstrip())
    return "\n".join(lines)


def markdown(name: str, dataset: Dataset, found: Card) -> str:
    """Return a card as a markdown page."""
    lines = [f"# {name}: {dataset.title}", "", "| | |", "|:--|:--|"]
    lines += [f"| {fact} | {words.replace('|', chr(92) + '|')} |" for fact, words in found.facts]
    lines += [
        "",
        "| rows of | " + " | ".join(f"{q:.0%}" for q in QUANTILES) + " |",
        "|:--" + "|--:" * len(QUANTILES) + "|",
    ]
    for of, rows in (("a user", found.per_user), ("an item", found.per_item)):
        lines.append(f"| {of} | " + " | ".join(f"{r:,}" for r in rows) + " |")
    if found.histogram:
        lines += ["", "| rating | rows | share |", "|--:|--:|--:|"]
        lines += [f"| {rating} | {rows:,} | {fraction:.1%} |" for rating, rows, fraction in found.histogram]
    return "\n".join(lines) + "\n"


def _times(raw: Raw) -> str:
    if raw.time is None:
        if raw.order is None:
            return "none, and no order of events"
        unknown = int((raw.order < 0).sum())
        return "none; the order of each user's events" + (f", unknown for {unknown:,} rows" if unknown else "")
    first, last = int(raw.time.min()), int(raw.time.max())
    if last > _LAST_SECOND:
        return f"{first} to {last}: no seconds since 1970, unless these are of the year 10000 and later; milliseconds?"
    first_day, last_day = (datetime.datetime.fromtimestamp(t, datetime.UTC).date() for t in (first, last))
    return f"{first_day} to {last_day} (UTC)"


def _quantiles(rows: Ints) -> tuple[int, ...]:
    """Rows at the quantiles: a number of rows that somebody has, not one in between."""
    return tuple(int(r) for r in np.quantile(rows, QUANTILES, method="lower"))
