"""A board as markdown and as JSON. The same records give the same bytes on every machine."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import tabulate

from recarena.boards.board import Board, Ranking, Row
from recarena.contract.metrics import parse
from recarena.judge.claims import Claim

LOOKS = "Looks: versions judged on this question so far. A commit with + had uncommitted changes."
AS_PUBLISHED = (
    "**Items keep their published numbers here**, which may tell the future: a high score may come from the numbers."
)
PREDICTIONS_ONLY, RUN_AGAIN = "†", "‡"  # marks of rows, each with its footnote
BY = {"baseline": "base", "peer": "peer"}
COLUMNS = 100  # of a table; metrics beside the first are shown as long as they fit, and all of them in --json


def markdown(board: Board) -> str:
    """Return the board's page."""
    about = board.about
    parts = [
        f"<!-- written by `recarena board {about.name}`; do not edit -->",
        f"# {about.name} · {about.title}",
        about.describe,
    ]
    if about.as_published:
        parts.append(AS_PUBLISHED)
    for ranking in board.rankings:
        parts += _ranking(ranking, several=len(board.rankings) > 1)
    if board.not_ranked:
        listed = "\n".join(f"- {safe(name)}: *{safe(reason)}*" for name, reason in board.not_ranked)
        parts.append(f"**Not ranked**\n\n{listed}")
    parts.append(
        "[How to read this](../../docs/reading-a-board.md) · [how to enter](../../CONTRIBUTING.md) · "
        "[all boards](../README.md)"
    )
    return "\n\n".join(parts) + "\n"


def standings(ranking: Ranking, columns: int = COLUMNS) -> tuple[pd.DataFrame, list[str]]:
    """Return the table that ranks, as text, with each column's alignment; fewer metrics where it would be too wide."""
    for shown in range(len(ranking.metrics), 0, -1):
        frame, alignment = _standings(ranking, ranking.metrics[:shown])
        if shown == 1 or as_table(frame, alignment).index("\n") <= columns:
            break
    return frame, alignment


def _standings(ranking: Ranking, shown: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    lines: list[tuple[float, int, dict[str, str]]] = []
    for row in ranking.rows:
        first = row.metrics[shown[0]]
        cells = {"rank": str(row.rank), "implementation": shown_name(row) + _mark(row), "by": safe(_by(row))}
        cells[head(shown[0])] = _number(first.mean)
        cells["± 95%"] = _spread(first.half_width)
        cells |= {head(metric): _number(row.metrics[metric].mean) for metric in shown[1:]}
        cells |= {"claim": _claim_cell(row, ranking), "seeds": str(row.seeds)}
        lines.append((first.mean, 1, cells))
    told: set[tuple[str, float]] = set()  # several files may be held against one published number
    for _, claim, _, _ in ranking.claims:
        if claim.metric == shown[0] and (claim.model, claim.value) not in told:
            told.add((claim.model, claim.value))
            cells = {"rank": "–", "implementation": f"*{safe(claim.model)}*", "by": "claim"}
            lines.append((claim.value, 0, cells | {head(shown[0]): f"*{_number(claim.value, claim.digits)}*"}))
    sign = -1 if parse(shown[0]).higher_is_better else 1
    lines.sort(key=lambda line: (sign * line[0], -line[1], line[2]["implementation"]))
    columns = ["rank", "implementation", "by", head(shown[0]), "± 95%", *map(head, shown[1:]), "claim", "seeds"]
    frame = pd.DataFrame([cells for _, _, cells in lines], columns=columns).fillna("")
    right = {"rank", "± 95%", "seeds", *map(head, shown)}
    return frame, ["right" if column in right else "left" for column in columns]


def ranking_table(ranking: Ranking) -> str:
    """Return the table that ranks, as markdown."""
    return as_table(*standings(ranking))


def costs(ranking: Ranking) -> tuple[pd.DataFrame, list[str]]:
    """Return what every row cost and where it comes from."""
    rows = [
        {
            "implementation": shown_name(row),
            "fit": in_seconds(row.fit_seconds),
            "ask": in_seconds(row.answer_seconds),
            "memory": in_bytes(row.peak_memory_bytes) if row.peak_memory_bytes else "",
            "GPU": in_bytes(row.peak_gpu_bytes) if row.peak_gpu_bytes else "",
            "parameters": counted(row.record.cost.parameters if row.record.cost else None),
            "looks": str(row.test_looks),
            "isolation": row.record.isolation,
            "commit": (row.record.commit or "none")[:7] + ("+" if row.dirty else ""),
        }
        for row in ranking.rows
    ]
    columns = ["implementation", "fit", "ask", "memory", "GPU", "parameters", "looks", "isolation", "commit"]
    if not any(row["GPU"] for row in rows):
        columns.remove("GPU")
    right = {"fit", "ask", "memory", "GPU", "parameters", "looks"}
    return pd.DataFrame(rows, columns=columns), ["right" if c in right else "left" for c in columns]


def claims(ranking: Ranking) -> tuple[pd.DataFrame, list[str]]:
    """Return every published number about this ask, ours beside it, and the verdict."""
    rows = [
        {
            "claim": safe(claim.model),
            "metric": parse(claim.metric).label,
            "published": _number(claim.value, claim.digits),
            "ours": _number(ours, claim.digits) if ours is not None else "",
            "verdict": words,
            "note": f"[{note}]",
        }
        for (paper, claim, ours, words), note in zip(ranking.claims, _notes(ranking)[0], strict=True)
    ]
    return pd.DataFrame(rows), ["left", "left", "right", "right", "left", "left"]


def as_json(board: Board) -> list[dict[str, Any]]:
    """Return the board for programs: one object an ask."""
    return [
        {
            "benchmark": board.about.name,
            "version": board.about.version,
            "ask": ranking.ask,
            "queries": ranking.queries,
            "folds": ranking.folds,
            "rows": [_row_json(row) for row in ranking.rows]
            + [_claim_json(paper, claim, words) for paper, claim, _, words in ranking.claims]
            + [
                {"rank": None, "implementation": name, "kind": None, "status": reason.split(":")[0], "reason": reason}
                for name, reason in board.not_ranked
            ],
        }
        for ranking in board.rankings
    ]


def overview(boards: Sequence[Board]) -> str:
    """Return the board of boards."""
    rows = []
    for board in boards:
        ranked = [ranking for ranking in board.rankings if ranking.rows]
        if len(ranked) > 1:  # a line of its own, and one for every ask
            rows.append({"benchmark": board.about.name})
        for ranking in ranked:
            first = ranking.metrics[0]
            leaders = [row for row in ranking.rows if row.rank == 1]
            judged = [words for _, claim, ours, words in ranking.claims if claim.comparable and ours is not None]
            met = sum(not words.startswith("short") for words in judged)
            rows.append(
                {
                    "benchmark": board.about.name if len(ranked) == 1 else f"· {ranking.ask}",
                    "first": _leading([shown_name(row) for row in leaders]),
                    "metric": head(first),
                    "score": _number(leaders[0].metrics[first].mean),
                    "± 95%": _spread(leaders[0].metrics[first].half_width),
                    "rows": str(len(ranking.rows)),
                    "claims": f"{met} of {len(judged)}" if judged else "",
                }
            )
    columns = ["benchmark", "first", "metric", "score", "± 95%", "rows", "claims"]
    frame = pd.DataFrame(rows, columns=columns).fillna("")
    table = "No board has a row yet: `recarena run` makes the first."
    if rows:
        table = as_table(frame, ["left", "left", "left", "right", "right", "right", "left"])
    return (
        "\n\n".join(
            [
                "<!-- written by `recarena board`; do not edit -->",
                "# The boards",
                table,
                "Boards: " + " · ".join(f"[{b.about.name}]({b.about.name}/README.md)" for b in boards),
                '"+1" under "first": one more row cannot be told apart from it. "claims" counts the claims of '
                "the same protocol that are reproduced or exceeded; each board lists the others with the reason.",
                "[How to read a board](../docs/reading-a-board.md)",
            ]
        )
        + "\n"
    )


def _ranking(ranking: Ranking, several: bool) -> list[str]:
    parts = [f"## {ranking.ask}"] if several else []
    if not ranking.rows:
        return [*parts, "No record yet: `recarena run` makes the first."]
    folds = f" in {ranking.folds} folds" if ranking.folds > 1 else ""
    better = "higher" if parse(ranking.metrics[0]).higher_is_better else "lower"
    parts.append(f"{ranking.queries:,} queries{folds}. {parse(ranking.metrics[0]).label}, {better} is better.")
    parts.append(ranking_table(ranking))
    parts.append(
        "Rows sharing a rank cannot be told apart on these questions (paired test over queries, Holm, 5%). "
        "± is a 95% interval over queries and seeds. A claim is compared only under its own protocol."
    )
    parts += evidence(ranking)
    parts.append("**Cost**")
    parts.append(as_table(*costs(ranking)))
    if ranking.folds > 1:
        parts.append(f"Seconds are sums over the {ranking.folds} folds. {LOOKS}")
    else:
        parts.append(LOOKS)
    departures = [
        f"- {safe(row.name)}: {safe('; '.join(row.record.implementation.departs))}"
        for row in ranking.rows
        if row.record.implementation.departs
    ]
    if departures:
        parts.append("**Departures from the papers**, as their authors declare them")
        parts.append("\n".join(departures))
    if ranking.claims:
        parts.append("**Claims**")
        parts.append(as_table(*claims(ranking)))
        parts.append("\n".join(f"{i}. {text}" for i, text in enumerate(_notes(ranking)[1], 1)))
    return parts


def evidence(ranking: Ranking) -> list[str]:
    """Return what the marks beside the names mean, a paragraph each; nothing where no row has one."""
    parts = []
    if any(row.predictions_only for row in ranking.rows):
        parts.append(
            f"{PREDICTIONS_ONLY} Predictions only, self-reported: files that somebody handed in. The judge computed "
            "the numbers; how the predictions were made is their author's word."
        )
    verified = [f"{safe(row.name)} {row.verified}" for row in ranking.rows if row.verified]
    if verified:
        parts.append(
            f"{RUN_AGAIN} Run again by a teammate from the recorded commit (a reproduction): {'; '.join(verified)}. "
            "Rows without a mark are runner-judged: run and judged once, by nobody else yet."
        )
    return parts


def shown_name(row: Row) -> str:
    """Return a row's name as tables show it."""
    return safe(row.name.removesuffix("+predictions") if row.predictions_only else row.name)


def _mark(row: Row) -> str:
    marks = (PREDICTIONS_ONLY if row.predictions_only else "") + (RUN_AGAIN if row.verified else "")
    return f" {marks}" if marks else ""


def _leading(names: Sequence[str]) -> str:
    """Name one row, and say how many more share its rank."""
    return names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "")


def _claim_cell(row: Row, ranking: Ranking) -> str:
    """Return the verdict; where nothing can be compared, with the number of the note that says why."""
    if row.claim is None or row.claim[0] != "not comparable":
        return row.claim[1] if row.claim else ""
    for (paper, claim, _, _), note in zip(ranking.claims, _notes(ranking)[0], strict=True):
        if claim.metric == ranking.metrics[0] and f"{paper}/{claim.implementation}" == row.name:
            return f"see note {note}"
    return row.claim[1]


def _notes(ranking: Ranking) -> tuple[list[int], list[str]]:
    """Return each claim's note number, and the notes: protocol, reason and source, told once."""
    numbers: list[int] = []
    notes: list[str] = []
    for _, claim, _, _ in ranking.claims:
        why = "" if claim.comparable else f" Not comparable: {claim.why_not}."
        settings = f" Settings: {claim.settings.rstrip('.')}." if claim.settings else ""
        source = f" Source: {claim.source.rstrip('.')} ({claim.confidence})."
        text = f"{safe(claim.model)}: {claim.protocol.rstrip('.')}.{settings}{why}{source}"
        if text not in notes:
            notes.append(text)
        numbers.append(notes.index(text) + 1)
    return numbers, notes


def as_table(frame: pd.DataFrame, alignment: Sequence[str]) -> str:
    """Return a table as markdown, its columns no wider than they must be."""
    padding, tabulate.MIN_PADDING = tabulate.MIN_PADDING, 0  # it would widen every column by two
    try:
        return str(frame.to_markdown(index=False, colalign=tuple(alignment), disable_numparse=True))
    finally:
        tabulate.MIN_PADDING = padding


def _row_json(row: Row) -> dict[str, Any]:
    record = row.record
    return {
        "rank": row.rank,
        "implementation": row.name,
        "kind": record.implementation.kind,
        "status": "ok",
        "author": record.implementation.author,
        "seeds": row.seeds,
        "metrics": {
            name: {"mean": finite(e.mean), "low": finite(e.low), "high": finite(e.high)}
            for name, e in row.metrics.items()
        },
        "claim": {"verdict": row.claim[0], "text": row.claim[1]} if row.claim else None,
        "cost": {
            "fit_seconds": round(row.fit_seconds, 4),
            "answer_seconds": round(row.answer_seconds, 4),
            "peak_memory_bytes": row.peak_memory_bytes,
            "peak_gpu_bytes": row.peak_gpu_bytes,
            "parameters": record.cost.parameters if record.cost else None,
        }
        if record.cost
        else None,
        "evidence": "self-reported" if row.predictions_only else row.verified or "runner-judged",
        "hyperparameters": record.implementation.hyperparameters,
        "departs": record.implementation.departs,
        "isolation": record.isolation,
        "test_looks": row.test_looks,
        "commit": record.commit,
        "dirty": row.dirty,
    }


def _claim_json(paper: str, claim: Claim, words: str) -> dict[str, Any]:
    return {
        "rank": None,
        "implementation": f"{paper}/{claim.implementation}" if claim.implementation else paper,
        "kind": "claim",
        "status": "claim",
        "model": claim.model,
        "metrics": {claim.metric: {"mean": claim.value, "low": None, "high": None}},
        "claim": {
            "verdict": words,
            "comparable": claim.comparable,
            "why_not": claim.why_not or None,
            "source": claim.source,
            "confidence": claim.confidence,
        },
    }


def safe(text: str) -> str:
    """Return a contender's words so that they stay words: one line, and nothing that markdown would obey."""
    return re.sub(r"([\\|*`<\[\]])", r"\\\1", " ".join(text.split()))[:300]


def finite(number: float) -> float | None:
    """Return a number that JSON knows, or None."""
    return float(number) if math.isfinite(number) else None


def _by(row: Row) -> str:
    return BY.get(row.record.implementation.kind, row.record.implementation.author)


def head(metric: str) -> str:
    """Return a metric's label and which way is better."""
    known = parse(metric)
    return f"{known.label} {'↑' if known.higher_is_better else '↓'}"


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}"


def _spread(value: float) -> str:
    return f"{value:.4f}".removeprefix("0") if math.isfinite(value) else "–"


def in_seconds(value: float) -> str:
    """Return a time in words."""
    if math.isnan(value):  # nobody ran it here
        return ""
    return f"{value:.2f} s" if value < 9.995 else f"{value:,.0f} s"


def in_bytes(value: int) -> str:
    """Return a size in words."""
    return f"{value / 1e6:,.0f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"


def counted(value: int | None) -> str:
    """Return a count, short."""
    if value is None:
        return ""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return str(value)
