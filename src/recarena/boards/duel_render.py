"""A duel in words and tables, and as JSON. The same records give the same bytes on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from recarena.boards.blocks import Block, Bullets, Heading, Image, Table, Text
from recarena.boards.duel import AskDuel, Duel, Line, Side
from recarena.boards.examples import Example
from recarena.boards.render import counted, finite, head, in_bytes, in_seconds
from recarena.contract.metrics import parse

FORMAT = 1  # of the JSON
POINTS = 8  # of a learning curve in a table
CELL = 44  # letters; what is longer is cut
PARTS = {"items": "by item", "users": "by user", "history": "by history", "answer": "by the answer"}


def page(duel: Duel, figure: Image | None = None) -> list[Block]:
    """Return the page of a duel."""
    blocks: list[Block] = [Heading(f"{duel.a.name} against {duel.b.name} on {duel.about.name}", 1)]
    if duel.a.label == "a":
        blocks.append(Text(f"a is {duel.a.name}, b is {duel.b.name}."))
    for one in duel.asks:
        several = len(duel.asks) > 1
        if several:
            blocks.append(Heading(one.ask))
        strong, text = evidence(duel, one)
        blocks += [Text(text, strong), metrics_table(duel, one)]
        blocks.append(Text(_how_tested(duel, one)))
        blocks.append(Heading("Where they differ", 3 if several else 2))
        if one.slices:
            blocks += [slices_table(duel, one), Text(_how_sliced(duel, one))]
        else:
            blocks.append(Text(f"Left out: {one.left_out}."))
    if figure is not None:
        blocks.append(figure)
    blocks += _why(duel)
    for one in duel.asks:
        if one.examples:
            ask = f" · {one.ask}" if len(duel.asks) > 1 else ""
            blocks += [Heading(f"The queries on which they differ most{ask}"), examples_table(duel, one)]
            blocks.append(Text(_how_chosen(one)))
    blocks += [Heading("Cost"), cost_table(duel), Text(_how_costed(duel))]
    return blocks


def evidence(duel: Duel, one: AskDuel) -> tuple[str, str]:
    """Return what the evidence says of the metric that ranks: the verdict, and what it rests on."""
    line, metric = one.metrics[0], parse(one.metrics[0].metric)
    asked = "ratings" if one.ask in _rated(duel) else "queries"
    on = f"{line.queries:,} paired {asked}" + (f" of {line.pairs:,} users" if line.pairs < line.queries else "")
    seeds = _seeds(duel.a, duel.b)
    if line.verdict == "not tested":
        lower = f"{_score(line.a)} against {_score(line.b)}"
        return f"Nothing is tested: {metric.label} {lower}", f"({seeds}). {_sentence(one.left_out)}"
    sizes = f"{_bare(abs(line.difference))} {metric.label}"
    if line.verdict == "cannot be told apart":
        strong = f"{duel.a.label} and {duel.b.label} cannot be told apart by {metric.label}"
        told = [f"(difference {_signed(line.difference)} [{_interval(line)}], {on}, {seeds}, p {_p(line.p)})."]
    else:
        winner, sign = (duel.a, 1) if line.verdict == "better" else (duel.b, -1)
        ends = sorted(sign * (1 if metric.higher_is_better else -1) * end for end in (line.low, line.high))
        strong = f"{winner.label} is better by {sizes} [{_bare(ends[0])}, {_bare(ends[1])}]"
        told = [f"({on}, {seeds}, p {_p(line.p)})."]
    told += [*_where(one), *_declared(duel), *_others(duel, one)]
    return strong, " ".join(told)


def metrics_table(duel: Duel, one: AskDuel) -> Table:
    """Return every metric of an ask."""
    return _lines(duel, "metric", [(head(line.metric), line) for line in one.metrics])


def slices_table(duel: Duel, one: AskDuel) -> Table:
    """Return the slices, all queries first."""
    whole = one.metrics[0]
    rows = [(f"all, {parse(whole.metric).label}", whole), *((line.name, line) for line in one.slices)]
    return _lines(duel, "slice", rows)


def examples_table(duel: Duel, one: AskDuel) -> Table:
    """Return the queries on which the two differ most."""
    label = parse(one.metrics[0].metric).label
    a, b = duel.a.label, duel.b.label
    if any(example.answer is not None for example in one.examples):
        heads = [("user", "left"), ("its events", "right"), ("item", "left"), ("rated", "right")]
        heads += [(a, "right"), (b, "right"), ("closer", "left")]
        rows = [
            [_user(e), f"{e.history:,}", _cut(e.items[0], 56), f"{e.answer:g}", *_predictions(e), _closer(duel, one, e)]
            for e in one.examples
        ]
        return Table(heads, rows, optional=("its events",))
    heads = [("user", "left"), ("history", "right"), ("held out", "left")]
    heads += [(f"{label} {a}", "right"), (f"{label} {b}", "right"), ("better", "left")]
    rows = [
        [_user(e), f"{e.history:,}", _held_out(e), *(_score(v) for v in e.value), _closer(duel, one, e)]
        for e in one.examples
    ]
    return Table(heads, rows, optional=("history", "better"))


def cost_table(duel: Duel) -> Table:
    """Return what both cost."""
    a, b = duel.a.row, duel.b.row
    parameters = [one.record.cost.parameters if one.record.cost else None for one in (a, b)]
    rows = [
        ["fit", *_known(in_seconds, a.fit_seconds, b.fit_seconds), _times(a.fit_seconds, b.fit_seconds)],
        ["ask", *_known(in_seconds, a.answer_seconds, b.answer_seconds), _times(a.answer_seconds, b.answer_seconds)],
        [
            "memory",
            *_known(in_bytes, a.peak_memory_bytes, b.peak_memory_bytes),
            _times(a.peak_memory_bytes, b.peak_memory_bytes),
        ],
    ]
    if a.peak_gpu_bytes or b.peak_gpu_bytes:
        gpu = [a.peak_gpu_bytes or 0, b.peak_gpu_bytes or 0]
        rows.append(["GPU memory", *_known(in_bytes, *gpu), _times(*gpu)])
    rows.append(["parameters", *(counted(one) or "–" for one in parameters), _times(*(one or 0 for one in parameters))])
    return Table([("", "left"), (duel.a.label, "right"), (duel.b.label, "right"), ("ratio", "right")], rows)


def _known(words: Callable[[Any], str], a: float, b: float) -> list[str]:
    """Put two costs into words; what nobody measured here (predictions only) is NaN or 0."""
    missing = [math.isnan(one) or (one == 0 and words is in_bytes) for one in (a, b)]
    return ["–" if gone else words(one) for one, gone in zip((a, b), missing, strict=True)]


def as_json(duel: Duel) -> dict[str, Any]:
    """Return the duel for programs; numbers that cannot be known are null. docs/comparing.md describes the keys."""
    why = duel.why
    return {
        "format": FORMAT,
        "benchmark": duel.about.name,
        "version": duel.about.version,
        "a": _side_json(duel.a),
        "b": _side_json(duel.b),
        "asks": [
            {
                "ask": one.ask,
                "verdict": one.metrics[0].verdict,
                "evidence": " ".join(evidence(duel, one)),
                "metrics": [_line_json(line) for line in one.metrics],
                "slices": [_line_json(line) for line in one.slices],
                "examples": [_example_json(example) for example in one.examples],
                "left_out": one.left_out or None,
            }
            for one in duel.asks
        ],
        "why": {
            "differences": [
                {"aspect": d.aspect, "setting": d.setting or None, "a": d.a, "b": d.b, "declared": d.declared}
                for d in why.differences
            ],
            "same": dict(why.same),
            "code": {"a": why.code.a, "b": why.code.b, "equal": why.code.equal, "share": why.code.share}
            if why.code
            else None,
        },
    }


def _lines(duel: Duel, first: str, rows: Sequence[tuple[str, Line]]) -> Table:
    """One line a metric or slice; the difference stands out where the paired test tells the two apart."""
    columns = [(first, "left"), ("queries", "right"), (duel.a.label, "right"), (duel.b.label, "right")]
    columns += [("difference", "right"), ("95%", "left"), ("p", "right"), ("wins/ties/losses", "right")]
    columns += [("share", "right")]
    cells = [
        [
            name,
            f"{line.queries:,}",
            _score(line.a),
            _score(line.b),
            _signed(line.difference),
            _interval(line) if line.tested else "–",
            _p(line.p) if line.tested else "–",
            f"{line.wins:,}/{line.ties:,}/{line.losses:,}" if line.wins is not None else "–",
            _percent(line.share) if line.share is not None else "",
        ]
        for name, line in rows
    ]
    if not any(row[-1] for row in cells):
        columns, cells = columns[:-1], [row[:-1] for row in cells]
    strong = frozenset((i, 4) for i, (_, line) in enumerate(rows) if line.verdict in ("better", "worse"))
    return Table(columns, cells, strong, optional=("p", "share", "wins/ties/losses"))


def _how_tested(duel: Duel, one: AskDuel) -> str:
    first = parse(one.metrics[0].metric).label
    others = " The other metrics' p are adjusted together." if len(one.metrics) > 1 else ""
    single = [side.label for side in (duel.a, duel.b) if side.row.seeds == 1 and not side.deterministic]
    luck = (
        f" One seed of {_and(single)} shows no luck: it is taken to be the largest on the board, if any row ran more."
    )
    luck = luck if single else ""
    return (
        f"Differences are the first minus the second; wins are the first one's, its seeds averaged. {first} ranks: its "
        f"p is Holm-adjusted over all pairs of the board, as the ranks are.{others} Bold differences (starred on a "
        f"terminal) have p ≤ 5%; the intervals are not adjusted.{luck}"
    )


def _how_sliced(duel: Duel, one: AskDuel) -> str:
    axes = {line.axis for line in one.slices}
    said = [
        "Bold differences have p ≤ 5%, Holm-adjusted over all slices; under ten users or queries nothing is tested."
    ]
    whole = "squared error" if one.metrics[0].metric == "rmse" else parse(one.metrics[0].metric).label
    said.append(f"Share, where there is room for it, is of the whole difference in {whole}.")
    said.append("Events are those of training.")
    if one.ask not in _rated(duel) and "items" in axes:
        said.append("A query with several held-out items counts by their lower median.")
    if "answer" in axes:
        said.append("The rating is known only afterwards: guesses nearer to the mean win in the middle.")
    return " ".join(said)


def _how_chosen(one: AskDuel) -> str:
    what = "squared errors" if one.metrics[0].metric == "rmse" else parse(one.metrics[0].metric).label
    return f"Chosen by the difference of their {what}, seeds averaged: the extremes, and no sample of the rest."


def _how_costed(duel: Duel) -> str:
    folds = f", seconds summed over {len(duel.about.folds)} folds" if len(duel.about.folds) > 1 else ""
    told = f"Means over seeds by the runner's clock{folds}; memory is the largest."
    if any(one.aspect in ("device", "threads", "processor") for one in duel.why.differences):
        told += " They ran on different machines, devices or threads: costs do not compare."
    return told


def _why(duel: Duel) -> list[Block]:
    why, a, b = duel.why, duel.a.label, duel.b.label
    rows = [[one.aspect, one.setting, _cut(one.a), _cut(one.b)] for one in why.differences]
    blocks: list[Block] = [Heading("Why")]
    if rows:
        columns = [("what", "left"), ("setting", "left"), (a, "left"), (b, "left")]
        blocks.append(Table(columns, rows, optional=("what",)))
    notes = []
    if why.same:
        notes.append("Same in both: " + ", ".join(f"{name} {_cut(value)}" for name, value in why.same.items()) + ".")
    if why.code is not None and why.code.share == 1:
        notes.append(f"Same code: {why.code.a} lines.")
    elif why.code is not None:
        c = why.code
        notes.append(
            f"Code: {c.equal} of the lines are equal ({c.share:.0%} of both), {c.a - c.equal} are in {a} only, "
            f"{c.b - c.equal} in {b} only."
        )
    else:
        notes.append("Code: not at hand.")
    notes += [
        f"{side.label} handed in predictions only: how they were made is their author's word."
        for side in (duel.a, duel.b)
        if side.row.predictions_only
    ]
    for side, departs in zip((a, b), why.departs, strict=True):
        notes += [f"{side} departs from its paper: {one}" for one in departs]
        notes += [] if departs else [f"{side} declares no departure from its paper."]
    blocks.append(Bullets(notes))
    blocks.append(
        Text(
            "What differs is no proof of what made the difference: recarena run --set plays one change at a time. "
            "Learner and loss are words of the docstrings."
        )
    )
    blocks += _curves(duel)
    return blocks


def _curves(duel: Duel) -> list[Block]:
    """Return what both logged, side by side where it runs over the same thing."""
    blocks: list[Block] = []
    a, b = duel.a, duel.b
    if a.curve and b.curve and a.x == b.x:
        tables = [_curve_table(a.x, {side.label: side for side in (a, b)})]
    else:
        tables = [_curve_table(side.x, {side.label: side}) for side in (a, b) if side.curve]
    blocks += tables
    if blocks:
        silent = [side.label for side in (a, b) if not side.curve]
        none = f" {' and '.join(silent)} logged nothing." if silent else ""
        fold = f" of {duel.about.folds[0]}" if len(duel.about.folds) > 1 else ""
        blocks.insert(
            0, Text(f"Learning curves: what each logged in its first run{fold}; the judge looks at none.{none}")
        )
    return blocks


def _curve_table(x: str, sides: dict[str, Side]) -> Table:
    columns = [(f"{label}: {name}", side.curve[name]) for label, side in sides.items() for name in side.curve][:4]
    every = sorted({value for _, (xs, _) in columns for value in xs})
    step = max(1, len(every) - 1) / (POINTS - 1)
    shown = every if len(every) <= POINTS else [every[round(i * step)] for i in range(POINTS)]
    rows = []
    for value in shown:
        points = [dict(zip(xs, ys, strict=True)) for _, (xs, ys) in columns]
        rows.append([f"{value:g}", *(f"{point[value]:.4g}" if value in point else "" for point in points)])
    return Table([(_cut(x), "right"), *((_cut(name), "right") for name, _ in columns)], rows)


def _others(duel: Duel, one: AskDuel) -> list[str]:
    """Say what the other metrics say: a verdict by one of them only would hide the rest."""
    first, told = one.metrics[0], []
    for words, verdict in ((duel.a.label, "better"), (duel.b.label, "worse")):
        names = [parse(line.metric).label for line in one.metrics[1:] if line.verdict == verdict]
        if names:
            same = "also " if first.verdict == verdict else ""
            told.append(f"By {_and(names)} {words} is {same}better.")
    unclear = [parse(line.metric).label for line in one.metrics[1:] if line.verdict == "cannot be told apart"]
    if unclear and first.verdict != "cannot be told apart":
        told.append(f"By {_and(unclear)} they cannot be told apart.")
    return told


def _where(one: AskDuel) -> list[str]:
    """Say where the difference lies, in a slice that is known before the answer and tells the two apart."""
    whole = one.metrics[0]
    if whole.verdict not in ("better", "worse"):
        apart = [line.name for line in one.slices if line.verdict in ("better", "worse") and line.axis != "answer"]
        return [f"Some slices tell them apart: {_and(apart)}."] if apart else []
    known = [
        (line.share, line)
        for line in one.slices
        if line.axis != "answer" and line.verdict == whole.verdict and line.share is not None
    ]
    if not known:
        return []
    share, line = max(known, key=lambda pair: pair[0] - pair[1].queries / whole.queries)
    fraction = line.queries / whole.queries
    if share < 1.2 * fraction:
        return ["The difference is spread over items and users much as the queries are."]
    lies = "Most of the difference lies" if share >= 0.5 else "The difference is densest"
    return [f"{lies} on {line.name}: {share:.0%} of it on {fraction:.0%} of the queries."]


def _declared(duel: Duel) -> list[str]:
    largest = duel.why.largest
    if largest is None:
        return ["They declare no difference."]
    if largest.aspect != "departures":
        name = largest.setting or f"the {largest.aspect}"
        return [f"The largest declared difference is {name} ({_cut(largest.a)} against {_cut(largest.b)})."]
    counted = [
        f"{side.label} departs from its paper in {len(departs)} {'point' if len(departs) == 1 else 'points'}"
        for side, departs in zip((duel.a, duel.b), duel.why.departs, strict=True)
        if departs
    ]
    return [f"The largest declared difference: {_and(counted)}."]


def _seeds(a: Side, b: Side) -> str:
    numbers = [f"{side.row.seeds} {'seed' if side.row.seeds == 1 else 'seeds'}" for side in (a, b)]
    if numbers[0] == numbers[1]:
        return f"{numbers[0]} each"
    fixed = [side.label for side in (a, b) if side.deterministic]
    needs = f", {fixed[0]} needs one" if len(fixed) == 1 else ""
    return f"{numbers[0]} against {b.row.seeds}{needs}"


def _rated(duel: Duel) -> set[str]:
    return {name for name, metrics in duel.about.asks.items() if metrics[0] in ("rmse", "mae", "log_loss")}


def _user(example: Example) -> str:
    return f"user {example.user}" if example.user is not None else f"held-out user, query {example.query}"


def _held_out(example: Example) -> str:
    more = f" and {example.more} more" if example.more else ""
    room = 60 - len(more)
    return _cut("; ".join(example.items), room) + more


def _predictions(example: Example) -> list[str]:
    return ["–" if one is None else f"{one:.2f}" for one in example.prediction]


def _closer(duel: Duel, one: AskDuel, example: Example) -> str:
    a, b = example.value
    return duel.a.label if (a > b) == parse(one.metrics[0].metric).higher_is_better else duel.b.label


def _side_json(side: Side) -> dict[str, Any]:
    record, cost = side.row.record, side.row.record.cost
    return {
        "name": side.name,
        "author": record.implementation.author,
        "kind": record.implementation.kind,
        "ranks": dict(side.ranks),
        "seeds": side.row.seeds,
        "code": record.implementation.code,
        "hyperparameters": record.implementation.hyperparameters,
        "departs": list(record.implementation.departs),
        "environment": record.environment,
        "device": record.limits.get("device"),
        "cost": {
            "fit_seconds": round(side.row.fit_seconds, 4),
            "answer_seconds": round(side.row.answer_seconds, 4),
            "peak_memory_bytes": side.row.peak_memory_bytes,
            "peak_gpu_bytes": side.row.peak_gpu_bytes,
            "parameters": cost.parameters,
        }
        if cost
        else None,
        "curve": {"x": side.x, "series": {name: {"x": xs, "y": ys} for name, (xs, ys) in side.curve.items()}},
        "isolation": record.isolation,
        "test_looks": side.row.test_looks,
        "commit": record.commit,
        "dirty": side.row.dirty,
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "axis": line.axis or None,
        "metric": line.metric,
        "queries": line.queries,
        "pairs": line.pairs,
        "a": finite(line.a),
        "b": finite(line.b),
        "difference": finite(line.difference),
        "low": finite(line.low),
        "high": finite(line.high),
        "p": line.p if line.tested else None,
        "verdict": line.verdict,
        "wins": line.wins,
        "ties": line.ties,
        "losses": line.losses,
        "share": line.share,
    }


def _example_json(example: Example) -> dict[str, Any]:
    return {
        "fold": example.fold,
        "query": example.query,
        "user": example.user,
        "history": example.history,
        "items": list(example.items),
        "more": example.more,
        "answer": example.answer,
        "prediction": list(example.prediction),
        "value": list(example.value),
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _cut(text: str, letters: int = CELL) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def _score(value: float) -> str:
    return f"{value:.4f}".replace("-", "−")


def _bare(value: float) -> str:
    return f"{value:.4f}".replace("-", "−").replace("0.", ".", 1) if abs(value) < 1 else _score(value)


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + _bare(value)


def _interval(line: Line) -> str:
    return f"{_signed(line.low)}, {_signed(line.high)}"


def _percent(share: float) -> str:
    return f"{round(100 * share) + 0}%".replace("-", "−")


def _p(value: float) -> str:
    return "< .0001" if value < 0.0001 else _bare(value)


def _times(a: float, b: float) -> str:
    return f"{a / b:.2g}×" if a > 0 and b > 0 else "–"
