"""``recarena metrics``: what a metric is, and which library prints it under which name. Facts are in metrics.toml."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from recarena.cli.show import console, table
from recarena.contract.metrics import Metric, parse
from recarena.contract.metrics.names import RANK, RATE

FACTS = Path(__file__).with_name("metrics.toml")
OURS = {
    "recall": "hits",
    "capped_recall": "hits",
    "precision": "hits",
    "hr": "hits",
    "ndcg": "hits",
    "mrr": "hits",
    "map": "hits",
    "coverage": "lists",
    "gini": "lists",
    "novelty": "lists",
    "rmse": "ratings",
    "mae": "ratings",
    "auc": "labels",
    "log_loss": "labels",
}  # where its lines are


@functools.cache
def facts() -> dict[str, dict[str, Any]]:
    """Return base name -> formula, what, range, source, edge, same, alike; example for some."""
    return tomllib.loads(FACTS.read_text(encoding="utf-8"))


def explain(name: str) -> str:
    """Return a metric's page as text for a terminal; ``name`` with or without its cut-off.

    Raises:
        RecarenaError: an unknown name.
    """
    metric = _known(name)
    base = metric.name.partition("@")[0]
    about = facts()[base]
    title = name if "@" in name or not metric.k else f"{base}@k"
    lines = [f"{title}: {about['what']}", ""]
    lines += [f"  formula   {about['formula']}"]
    lines += [f"  range     {about['range']}"]
    lines += [f"  better    {'higher' if metric.higher_is_better else 'lower'}"]
    lines += [f"  example   {about['example']}  (list 7 3 9 1 5, R = {{3, 5, 8}})"] if "example" in about else []
    lines += [f"  source    {about['source']}"]
    for title, key in (("mind", "edge"), ("prints the same", "same"), ("looks alike, is not", "alike")):
        if about[key]:
            lines += ["", f"  {title}", *(f"    - {one.replace('`', '')}" for one in about[key])]
    if metric.kind == "rank":
        lines += ["", "  p_1 ... p_k is a query's list, R its held-out items; hit_i is 1 where p_i is in R, else 0."]
    return "\n".join(lines)


def page(base: str) -> str:
    """Return docs/metrics/<base>.md."""
    about, metric = facts()[base], _known(base)
    title = f"{base}@k" if metric.k else base
    parts = [
        f"# {title}",
        about["what"],
        f"`{about['formula']}`",
        "\n".join(
            [
                f"* **Range**: {about['range']}.",
                f"* **Better**: {'higher' if metric.higher_is_better else 'lower'}.",
                *(
                    [f"* **Example**, list `7 3 9 1 5`, `R = {{3, 5, 8}}`: {about['example']}."]
                    if "example" in about
                    else []
                ),
                f"* **Source**: {about['source']}",
                f"* **Code**: [`{OURS[base]}.py`](../../src/recarena/contract/metrics/{OURS[base]}.py)",
            ]
        ),
    ]
    for heading, key in (("Edge cases", "edge"), ("Prints the same number", "same"), ("Looks alike, is not", "alike")):
        if about[key]:
            parts += [f"## {heading}", "\n".join(f"* {one}" for one in about[key])]
    parts.append(f"[All metrics](README.md) · `recarena metrics explain {title.replace('@k', '@10')}` prints this page")
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """Return the table of docs/metrics/README.md."""
    rows = ["| metric | what | better | RecBole | trec_eval | ranx |", "|:--|:--|:--|:--|:--|:--|"]
    for base in [*RANK, *RATE]:
        about, metric = facts()[base], _known(base)
        cells = [_quoted(about["same"], library) for library in ("RecBole", "trec_eval", "ranx")]
        title = f"{base}@k" if metric.k else base
        better = "higher" if metric.higher_is_better else "lower"
        rows.append(f"| [{title}]({base}.md) | {about['what']} | {better} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def list_metrics() -> None:
    """Print a table of all metrics."""
    rows = [
        {
            "metric": f"{base}@k" if (metric := _known(base)).k else base,
            "judges": "lists" if metric.kind == "rank" else "ratings",
            "better": "higher" if metric.higher_is_better else "lower",
            "what": facts()[base]["what"],
        }
        for base in [*RANK, *RATE]
    ]
    table(pd.DataFrame(rows), ["left"] * 4)


def print_metric(name: str) -> None:
    """Print what ``explain`` says."""
    console.print(explain(name), markup=False, soft_wrap=True)


def write_pages(folder: Path) -> None:
    """Write the page of every metric."""
    for base in facts():
        (folder / f"{base}.md").write_text(page(base), encoding="utf-8")


def _known(name: str) -> Metric:
    """Parse a name that may lack its cut-off."""
    return parse(f"{name}@10" if name in RANK else name.replace("@k", "@10"))


def _quoted(names: list[str], library: str) -> str:
    """Return the name that a library has for it, where the number is the same without an "if"."""
    return next((f"`{one.split('`')[1]}`" for one in names if one.startswith(f"{library} `") and "," not in one), "–")
