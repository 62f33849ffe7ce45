"""A review sheet: what a reviewer of somebody's rows wants to know, from run facts; blanks that only a person can fill.

The headings follow the themes of the machine-learning reproducibility checklist (Pineau et al., Improving
Reproducibility in Machine Learning Research, JMLR 22, 2021): data, splits, metrics, budget, runs, infrastructure,
parameters, code. A pure function of records and recipes: the same ones give the same page.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from recarena.boards.board import Board, Judged, Ranking, Row
from recarena.boards.render import as_table, safe
from recarena.contract.errors import RecarenaError
from recarena.contract.metrics import parse
from recarena.data.recipes import Benchmark, Dataset
from recarena.judge.records import Record

NOT_PROBED = "not probed"
BLANK = "- [ ] {}: ______"
VALIDATION = "valid"  # a curve's numbers whose names begin so are validation scores


@dataclass(frozen=True)
class Played:
    """One board that somebody has records on.

    Attributes:
        benchmark: its recipe.
        dataset: the recipe of its data.
        board: made from all records.
        judged: the records of the one who is reviewed, all rows of theirs.
        probes: what leak probes say of them: name -> verdict; empty where none ran.
    """

    benchmark: Benchmark
    dataset: Dataset
    board: Board
    judged: Sequence[Judged]
    probes: Mapping[str, str]


def of(name: str, judged: Iterable[Judged]) -> list[Judged]:
    """Return the records of ``paper/who``, whatever their settings; predictions only and limited runs included."""
    return [one for one in judged if f"{one.record.implementation.paper}/{one.record.implementation.who}" == name]


def sheet(name: str, played: Sequence[Played], code: str | None) -> str:
    """Return the page.

    Args:
        name: ``paper/who``.
        played: the boards with records of it, at least one.
        code: sha256 of its source today; None where there is none.

    Raises:
        RecarenaError: no record.
    """
    played = [replace(one, judged=sorted(one.judged, key=_place)) for one in played]
    made = [one.record for board in played for one in board.judged]
    if not made:
        raise RecarenaError(f"{name} has no record to review; `recarena run -i {name}` makes one")
    # what is current comes first: a version of long ago is not what the page is about
    latest = max(made, key=lambda one: (one.implementation.code == code, one.finished_at))
    parts = [
        f"# Review sheet: {safe(name)}",
        "Filled from the records of its runs, and from nothing else. Lines with a box are for a person: the reviewer "
        "answers them, or asks the author.",
        _table(["board", "row", "rank", "metric", "score", "± 95%", "claim", "evidence", "probes"], _summary(played)),
        *_missing(played),
        "## Code",
        _code(name, latest, made, code),
        "## Parameters",
        *_parameters(played),
    ]
    for one in played:
        parts += _board(one)
    parts += ["## For a person", _questions(latest)]
    return "\n\n".join(parts) + "\n"


def _rows(one: Played) -> list[tuple[Ranking, Row]]:
    """Return its ranked rows, ask by ask."""
    own = {_name(judged) for judged in one.judged}
    return [(ranking, row) for ranking in one.board.rankings for row in ranking.rows if row.name in own]


def _place(one: Judged) -> tuple[str, str, int, int]:
    return one.row, one.record.benchmark.fold, one.record.seed, one.record.limited or 0


def _name(one: Judged) -> str:
    return one.row.replace(".", "/", 1)


def _summary(played: Sequence[Played]) -> list[list[str]]:
    lines = []
    for one in played:
        for ranking, row in _rows(one):
            first = row.metrics[ranking.metrics[0]]
            lines.append(
                [
                    f"{one.benchmark.name}" + (f" · {ranking.ask}" if len(one.board.rankings) > 1 else ""),
                    safe(row.name),
                    f"{row.rank} of {len(ranking.rows)}",
                    parse(ranking.metrics[0]).label,
                    f"{first.mean:.4f}",
                    _finite(first.half_width),
                    row.claim[1] if row.claim else "none",
                    "self-reported" if row.predictions_only else row.verified or "runner-judged",
                    _probes(one),
                ]
            )
    return lines


def _probes(one: Played) -> str:
    if not one.probes:
        return NOT_PROBED
    return "; ".join(f"{probe}: {verdict}" for probe, verdict in sorted(one.probes.items()))


def _missing(played: Sequence[Played]) -> list[str]:
    own = {(one.benchmark.name, _name(judged)) for one in played for judged in one.judged}
    lines = [
        f"- {one.benchmark.name}, {safe(name)}: *{safe(reason)}*"
        for one in played
        for name, reason in one.board.not_ranked
        if (one.benchmark.name, name.removesuffix(" (limited)")) in own
    ]
    return ["**Not ranked**", "\n".join(lines)] if lines else []


def _code(name: str, latest: Record, made: Sequence[Record], code: str | None) -> str:
    who = latest.implementation
    if who.kind == "submission":
        return "\n".join(
            [
                "- **Predictions only**: files handed in; the code was never here, and nothing below can be re-run.",
                f"- hash of what was handed in: `{who.code[:16]}`",
                BLANK.format("Where the code is, and who may see it"),
                BLANK.format("What it was trained on"),
            ]
        )
    today = {None: "its file is gone", who.code: "the same today"}.get(code, "its file has changed since")
    dirty = sum(one.dirty for one in made)
    lines = [
        f"- author: {safe(who.author)}; kind: {who.kind}; source `reproductions/{name}` with hash `{who.code[:16]}` "
        f"({today})",
        f"- commit: {_list(sorted({(one.commit or 'none')[:10] for one in made}))}"
        + (f"; **{dirty} of {len(made)} records came from uncommitted changes**" if dirty else ""),
        f"- dependencies: Python {_list(_distinct(one.environment.get('python') for one in made))}; "
        + (_list(_packages(made)) or "none named"),
        f"- wall: {_list(_distinct(one.isolation for one in made))}",
        f"- seed: {'said to change nothing' if who.deterministic else 'changes the result'}",
    ]
    if who.departs:
        lines += ["- departures from the paper, as its author declares them:"]
        lines += [f"  - {safe(one)}" for one in who.departs]
    else:
        lines += ["- departures from the paper: none declared"]
    return "\n".join(lines)


def _packages(made: Sequence[Record]) -> list[str]:
    return _distinct(
        f"{name} {version}" for one in made for name, version in sorted(one.environment.get("packages", {}).items())
    )


def _parameters(played: Sequence[Played]) -> list[str]:
    rows: dict[str, Record] = {}
    for one in played:
        for judged in one.judged:
            rows.setdefault(_name(judged), judged.record)
    names = list(dict.fromkeys(name for record in rows.values() for name in record.implementation.hyperparameters))
    if not names:
        return ["None recorded."]
    lines = []
    for row, record in sorted(rows.items()):
        values = record.implementation.hyperparameters
        changed = record.implementation.overridden
        lines.append([safe(row), *(_value(values.get(name)) + ("*" if name in changed else "") for name in names)])
    if len(lines) == 1:  # long rather than wide
        return [_table(["parameter", "value"], [[f"`{name}`", lines[0][n + 1]] for n, name in enumerate(names)])]
    return [_table(["row", *(f"`{name}`" for name in names)], lines), "\\* set by hand, the others are the file's own."]


def _board(one: Played) -> list[str]:
    benchmark = one.benchmark
    return [
        f"## {benchmark.name} · {benchmark.title}",
        "**Data and split**",
        _data(one),
        "**Metrics**",
        _metrics(one),
        "**Runs, budget and infrastructure**",
        _runs(one),
        "**Validation beside test**",
        _validation(one),
        "**Claims**",
        _claims(one),
        "**Run again by others**",
        _receipts(one),
        f"**Leak probes**: {_probes(one)}",
    ]


def _data(one: Played) -> str:
    benchmark, dataset, expect = one.benchmark, one.dataset, one.dataset.expect
    split = benchmark.split.model_dump()
    named = ", ".join(f"{key} {_value(value)}" for key, value in split.items() if key != "name")
    filters = [
        ", ".join(f"{key} {_value(value)}" for key, value in rule.model_dump(exclude_none=True).items())
        for rule in benchmark.filters
    ]
    hashes = {judged.record.benchmark.fold: judged.record.question for judged in one.judged}
    given = [*benchmark.columns, *(f"facts about {side}" for side in benchmark.features)]
    return "\n".join(
        [
            f"- {dataset.title}: {expect.interactions:,} interactions of {expect.users:,} users with {expect.items:,} "
            f"items, before filters; the recipe checks these counts",
            f"- licence: {' '.join(dataset.licence.split())}",
            f"- source: {dataset.homepage}",
            f"- filters: {'; then '.join(filters) or 'none'}",
            f"- split: {split['name']}"
            + (f" ({named})" if named else "")
            + f"; {_count(len(benchmark.folds), 'fold')}",
            f"- given to the implementation: user, item{''.join(f', {part}' for part in given)}; order: "
            f"{benchmark.order}; numbering: {benchmark.numbering}",
            f"- version {benchmark.version} of the benchmark; question "
            + ", ".join(f"{fold} `{digest[:12]}`".strip() for fold, digest in sorted(hashes.items())),
        ]
    )


def _metrics(one: Played) -> str:
    lines = []
    for ranking, row in _rows(one):
        for number, name in enumerate(ranking.metrics):
            metric, estimate = parse(name), row.metrics[name]
            lines.append(
                [
                    safe(row.name),
                    ranking.ask,
                    metric.label + (" (ranks)" if number == 0 else ""),
                    "higher" if metric.higher_is_better else "lower",
                    f"{estimate.mean:.4f}",
                    _interval(estimate.low, estimate.high),
                    f"`docs/metrics/{name.partition('@')[0]}.md`",
                ]
            )
    if not lines:
        return "No ranked row."
    heads = ["row", "ask", "metric", "better", "mean", "95% interval", "definition"]
    return (
        _table(heads, lines)
        + "\n\nThe judge computed every number from predictions. Intervals are over queries (users, "
        "where a user's ratings are not independent) and seeds; they do not cover another split."
    )


def _runs(one: Played) -> str:
    lines = []
    for row in sorted({_name(judged) for judged in one.judged}):
        made = [judged.record for judged in one.judged if _name(judged) == row and judged.record.limited is None]
        if not made:
            continue
        good = [record for record in made if record.status == "ok"]
        costs = [record.cost for record in good if record.cost is not None]
        lines += [
            f"- **{safe(row)}**: {_count(len(made), 'record')}, {len(good)} ok; seeds "
            f"{_list(_distinct(record.seed for record in made))} of {one.benchmark.seeds} that the benchmark asks for; "
            f"{_count(max(record.test_looks for record in made), 'version')} judged on this question so far"
        ]
        lines += [
            f"  - {told} ({_count(times, 'run')})" for told, times in Counter(_bad(one) for one in made).items() if told
        ]
        if costs:
            fit, ask = [cost.fit_seconds for cost in costs], [sum(cost.answer_seconds.values()) for cost in costs]
            lines += [
                f"  - runtime of one run: fit {_span(fit)} s, answers {_span(ask)} s; peak memory "
                f"{max(cost.peak_memory_bytes for cost in costs) / 1e6:,.0f} MB; parameters "
                + _list(_distinct("none" if cost.parameters is None else f"{cost.parameters:,}" for cost in costs)),
                f"  - budget: {_list(_distinct(_limits(record) for record in good))}",
                f"  - machine: {_list(_distinct(_machine(record) for record in good))}",
            ]
        else:
            lines.append("  - runtime, budget and machine: not known")
    return "\n".join(lines) or "Limited runs only."


def _bad(record: Record) -> str:
    return "" if record.status == "ok" else f"{record.status}: {safe(record.reason or '')}"


def _limits(record: Record) -> str:
    limits = record.limits
    if not limits:
        return "not known"
    return (
        f"{limits['time_seconds']:g} s, {limits['memory_bytes'] / 1e9:g} GB, {_count(limits['threads'], 'thread')}, "
        f"{limits['device']}"
    )


def _machine(record: Record) -> str:
    facts = record.machine
    if not facts:
        return "not known"
    return (
        f"{facts.get('cpu')}, {_count(facts.get('cores', 0), 'core')}, {facts.get('memory_bytes', 0) / 1e9:.0f} GB, "
        f"{facts.get('platform')}, Python {facts.get('python')}"
    )


def _validation(one: Played) -> str:
    lines = []
    for judged in one.judged:
        record = judged.record
        if record.status != "ok" or record.limited is not None:
            continue
        names = dict.fromkeys(name for point in record.curve for name in point if name.lower().startswith(VALIDATION))
        for name in names:
            logged = [point[name] for point in record.curve if name in point]
            test = [
                f"{parse(metric).label} {result.metrics[metric]:.4f}"
                for ask, result in record.asks.items()
                if (metric := one.benchmark.asks[ask].metrics[0]) in result.metrics
            ]
            span = f"{min(logged):.4f} to {max(logged):.4f}"
            where = f"{record.benchmark.fold} seed {record.seed}".strip()
            lines.append([safe(_name(judged)), where, safe(name), span, f"{logged[-1]:.4f}", ", ".join(test)])
    if not lines:
        return "No curve has validation scores (`run.log(validation=...)` would put them here)."
    return _table(["row", "run", "logged", "lowest to highest", "last", "test"], lines)


def _claims(one: Played) -> str:
    own = {f"{judged.record.implementation.paper}/{judged.record.implementation.who}" for judged in one.judged}
    lines = [
        [
            safe(claim.model),
            parse(claim.metric).label,
            f"{claim.value:.{claim.digits}f}",
            "" if ours is None else f"{ours:.{claim.digits}f}",
            words,
            safe(f"{claim.source} ({claim.confidence})" + ("" if claim.comparable else f"; {claim.why_not}")),
        ]
        for ranking in one.board.rankings
        for paper, claim, ours, words in ranking.claims
        if f"{paper}/{claim.implementation}" in own
    ]
    if not lines:
        return "Nothing is claimed about it on this board."
    return _table(["claim", "metric", "published", "ours", "verdict", "source"], lines)


def _receipts(one: Played) -> str:
    lines = []
    for judged in one.judged:
        for receipt in judged.receipts:
            where = f"{judged.record.benchmark.fold} seed {judged.record.seed}".strip()
            gap = "" if receipt.metrics_difference is None else f"{receipt.metrics_difference:.2g}"
            each = "" if receipt.values_difference is None else f"{receipt.values_difference:.2g}"
            told = receipt.verdict + (f": {safe(receipt.reason)}" if receipt.reason else "")
            lines.append(
                [safe(_name(judged)), where, safe(receipt.who), receipt.kind, told, gap, each, receipt.finished_at[:10]]
            )
    if not lines:
        return "By nobody yet: `recarena verify RECORD --as NAME` writes a receipt."
    heads = ["row", "run", "by", "kind", "verdict", "metrics differ by", "values differ by", "date"]
    return _table(heads, lines)


def _questions(latest: Record) -> str:
    asked = [
        "The method is the paper's: every equation that the file implements has been held against the paper",
        "Departures that are not declared above",
        "How the parameters were chosen, over which ranges, and on which data",
        "What was tried and left out",
        "Nothing in the file reads what a contender should not (raw data, results, the network)",
        "Why the numbers and the claims differ, where they do",
        "What the result does not show: other data, other splits, other measures, harms",
        "Licence of code that was taken from elsewhere",
    ]
    if latest.implementation.kind == "submission":
        asked = asked[1:4] + asked[5:]
    signed = "Reviewer: ______   Date: ______   Verdict: accept / ask for changes"
    return "\n".join(BLANK.format(line) for line in asked) + f"\n\n{signed}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return "No ranked row."
    return as_table(pd.DataFrame([list(line) for line in lines], columns=list(heads)), ["left"] * len(heads))


def _distinct(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in dict.fromkeys(values)]


def _list(values: Sequence[str]) -> str:
    return ", ".join(safe(value) for value in values)


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_value(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else safe(str(value))


def _finite(number: float) -> str:
    return f"{number:.4f}" if math.isfinite(number) else "–"


def _interval(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}" if math.isfinite(low) and math.isfinite(high) else "not known"
