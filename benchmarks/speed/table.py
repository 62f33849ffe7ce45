"""From the report of ``tox run -e speed`` to a page: ``python benchmarks/speed/table.py speed.json results/speed.md``.

Next to the page it draws ``speed-<axis>.svg``, one figure for each axis along which something grows. It reads the
report alone: the same report gives the same page.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import tabulate
from matplotlib.figure import Figure

NOTES = """\
A ratio is the peer's seconds over ours; both worked in turn, in the same minutes, on the same data. "ratio" is of the \
fastest rounds, "median" of the middle ones. Absolute seconds are this machine's and are not judged."""


def page(report: dict[str, Any]) -> str:
    """Return the page."""
    benches = report["benchmarks"]
    compared = [bench for bench in benches if "comparison" in bench["extra_info"]]
    grown = [bench["extra_info"]["growth"] for bench in benches if "growth" in bench["extra_info"]]
    alone = [bench for bench in benches if not bench["extra_info"].keys() & {"comparison", "growth"}]
    parts = ["<!-- written by `tox run -e speed`; do not edit -->", "# Speed", _machine(report)]
    if compared:
        parts += ["## Against others", _ratios(compared), NOTES]
        parts += ["**Equal work**", _quality(compared)]
    if grown:
        parts += ["## How it grows", _growth(grown)]
        parts.append("Each point is a fresh process; memory is the peak of the whole process, imports included.")
        parts += [f"![{_title(axis, grown)}](speed-{axis}.svg)" for axis in _axes(grown)]
    if alone:
        parts += ["## What the arena costs", _alone(alone)]
    parts.append("[How to read this](../docs/speed.md)")
    return "\n\n".join(parts) + "\n"


def _machine(report: dict[str, Any]) -> str:
    machine, commit = report["machine"], report["commit_info"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB; "
        f"{machine['platform']}, Python {machine['python']}; {versions}; "
        f"commit {str(commit['id'])[:7]}{'+' if commit['dirty'] else ''}, {report['datetime'][:10]}."
    )


def _ratios(benches: Sequence[dict[str, Any]]) -> str:
    rows = []
    for bench in benches:
        about, mine = bench["extra_info"]["comparison"], bench["stats"]
        theirs, (parts, _) = about["peer_seconds"], about["per"]
        ratio = min(theirs) / mine["min"]
        rows.append(
            {
                "work": about["what"],
                "peer": about["peer"],
                "threads": str(about["threads"]),
                "peer ": _seconds(min(theirs) / parts),
                "ours": _seconds(mine["min"] / parts),
                "ratio": _times(ratio),
                "median": _times(statistics.median(theirs) / mine["median"]),
                "wanted": f"{about['wanted']:g}x{'' if ratio >= about['wanted'] else ' !'}",
            }
        )
    return table(rows, left=("work", "peer"))


def _quality(benches: Sequence[dict[str, Any]]) -> str:
    rows = []
    for bench in benches:
        about = bench["extra_info"]["comparison"]
        for name, (theirs, ours) in about["quality"].items():
            whole = float(theirs).is_integer() and float(ours).is_integer()
            shown = "{:,.0f}" if whole else "{:.6f}"
            row = {"work": f"{about['what']} · {about['peer'].partition(' ')[0]}", "data": about["size"]}
            if rows and rows[-1]["test"] == bench["name"]:
                row = dict.fromkeys(row, "")
            row |= {"of": name, "peer's": shown.format(theirs), "ours": shown.format(ours)}
            rows.append(row | {"test": bench["name"]})
    return table([{k: v for k, v in row.items() if k != "test"} for row in rows], left=("work", "data", "of"))


def _growth(points: Sequence[dict[str, Any]]) -> str:
    rows = []
    for point in points:
        wanted = point.get("wanted") or {}
        row = {
            "work": point["curve"],
            "of": f"{point['at']:,} {point['axis']}",
            "time": _seconds(point["seconds"]),
            "memory": _bytes(point["peak_bytes"]),
            "wanted": "",
        }
        if wanted:
            shown = {"seconds": _seconds, "peak_bytes": _bytes}
            row["wanted"] = ", ".join(show(wanted[key]) for key, show in shown.items() if key in wanted)
        rows.append(row)
    return table(rows, left=("work",))


def _alone(benches: Sequence[dict[str, Any]]) -> str:
    rows = [
        {
            "what": bench["name"].removeprefix("test_").replace("_", " "),
            "fastest": _seconds(bench["stats"]["min"]),
            "median": _seconds(bench["stats"]["median"]),
            "rounds": str(bench["stats"]["rounds"]),
        }
        for bench in benches
    ]
    return table(rows, left=("what",))


def table(rows: Sequence[dict[str, str]], left: Sequence[str]) -> str:
    """Return rows as a markdown table."""
    padding, tabulate.MIN_PADDING = tabulate.MIN_PADDING, 0  # it would widen every column by two
    try:
        align = ["left" if column in left else "right" for column in rows[0]]
        return tabulate.tabulate(rows, headers="keys", tablefmt="pipe", colalign=align, disable_numparse=True)
    finally:
        tabulate.MIN_PADDING = padding


def _axes(points: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(point["axis"] for point in points))


def _title(axis: str, points: Sequence[dict[str, Any]]) -> str:
    return f"{next(point['curve'] for point in points if point['axis'] == axis)} against {axis}"


def draw(points: Sequence[dict[str, Any]], axis: str, file: Path) -> None:
    """Draw time and peak memory against one axis, side by side; a red dash is what the project wants."""
    mpl.rcParams |= {"svg.hashsalt": "recarena", "svg.fonttype": "none", "font.size": 9}
    some = sorted((point for point in points if point["axis"] == axis), key=lambda point: point["at"])
    at = [point["at"] for point in some]
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, key, unit, scale in zip(panels, ("seconds", "peak_bytes"), ("seconds", "GB"), (1, 1e9), strict=True):
        value = [point[key] / scale for point in some]
        panel.semilogx(at, value, "o-", color="#1f4e79", markersize=4, linewidth=1.2)
        if key == "seconds":
            panel.set_yscale("log")
            # what growing in proportion to the largest point would look like
            panel.plot(at, [value[-1] * x / at[-1] for x in at], ":", color="#999999", linewidth=1)
        else:
            wanted = [point["wanted"][key] / scale for point in some if key in point.get("wanted", {})]
            panel.set_ylim(0, 1.1 * max(value + wanted))
        for point in some:
            if key in point.get("wanted", {}):
                panel.plot(point["at"], point["wanted"][key] / scale, "_", color="#b03a2e", markersize=14)
        panel.set_xlabel(axis)
        panel.set_ylabel(unit)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(axis, some), fontsize=9)
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{1000 * value:.1f} ms" if value < 0.01 else f"{1000 * value:.0f} ms"
    return f"{value:.2f} s" if value < 9.995 else f"{value:.0f} s"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio < 9.95 else f"{ratio:.0f}x"


def _bytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"


def main() -> None:
    """Read the report, write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what pytest wrote with --benchmark-json")
    parser.add_argument("page", type=Path, help="the markdown to write; figures go beside it")
    asked = parser.parse_args()
    report = json.loads(asked.report.read_text(encoding="utf-8"))
    asked.page.parent.mkdir(parents=True, exist_ok=True)
    asked.page.write_text(page(report), encoding="utf-8")
    points = [bench["extra_info"]["growth"] for bench in report["benchmarks"] if "growth" in bench["extra_info"]]
    for axis in _axes(points):
        draw(points, axis, asked.page.with_name(f"speed-{axis}.svg"))


if __name__ == "__main__":
    main()
