"""A question as somebody elsewhere gets it: the folders that a worker reads, and a page that says what to hand back.

Only questions are written, never an answer: the folders are copied from those that the keeper lends to contenders.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from recarena.arena.handed_in import stem
from recarena.arena.keeper import Keeper, QuestionFacts
from recarena.contract.errors import RecarenaError
from recarena.contract.folder import folder_hash
from recarena.data.recipes import Benchmark, RankAsk

ONLY_FOLD = "question"  # folder of the question where there is one fold
HANDED_BACK = {
    "rate": "one rating for each query: the row of `asks.{ask}.user.npy` and `asks.{ask}.item.npy`",
    "detect": "one number for each history, the higher the more suspicious: the row of `asks.{ask}.history`",
    "rank": "{k} different items for each query, best first: a row of `asks.{ask}.history`; nothing that the query "
    "excludes, and only candidates where there are any",
}
ARRAYS = {
    "rate": "(q,) floats",
    "detect": "(q,) floats",
    "rank": "(q, {k}) integers, -1 only at the end of a short row",
}
TABLES = {
    "rate": "columns `user`, `item`, `score`; or `query`, `score`",
    "detect": "columns `query`, `score`",
    "rank": "columns `query`, `rank` (1 is best), `item`; or `query`, `item`, `score`; where users have numbers also "
    "`user`, `item`, `score`",
}


def export(benchmark: Benchmark, questions: Sequence[QuestionFacts], keeper: Keeper, folder: Path) -> list[Path]:
    """Write a benchmark's questions, a folder for each fold, and README.md; return the folders.

    Args:
        benchmark: the recipe.
        questions: its folds, as the keeper prepared them.
        keeper: lends the questions one by one.
        folder: new, or empty.

    Raises:
        RecarenaError: the folder is not empty, or what was written is not the question.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise RecarenaError(f"{folder} is there already and is not an empty folder; name a new one")
    written = []
    for question in questions:
        target = folder / (question.fold or ONLY_FOLD)
        shutil.copytree(keeper.stage(question), target)
        if folder_hash(target) != question.hash:
            raise RecarenaError(f"{target}: what was written is not the question; is the disk full?")
        written.append(target)
    (folder / "README.md").write_text(readme(benchmark, questions), encoding="utf-8")
    return written


def readme(benchmark: Benchmark, questions: Sequence[QuestionFacts]) -> str:
    """Return the page: what each folder holds, its hash, which files to hand back, how, and what will be refused."""
    several = len(questions) > 1
    folds = "\n".join(f"| `{one.fold or ONLY_FOLD}/` | `{one.hash}` |" for one in questions)
    parts = [
        f"# {benchmark.name} · {benchmark.title}",
        f"{benchmark.describe.strip()} Version {benchmark.version} of the benchmark.",
        "## What is here",
        "Questions, and no answers. Each folder is what an implementation of the arena is given: training events, "
        "validation with its answers where the protocol has it, and queries. Every file is a `.npy` array without "
        "pickle, beside `question.json`; `docs/worker-folder.md` of the project describes them one by one. Users and "
        "items have the question's own numbers, which are not those of the raw data.",
        f"| folder | hash of the question |\n|:--|:--|\n{folds}",
    ]
    if several:
        parts.append(
            f"The {len(questions)} folds are {len(questions)} questions. Answer each from its own folder alone: the "
            "training events of one are answers of another, and every fold has numbers of its own."
        )
    parts.append("## What to hand back")
    parts.append(
        "One file for each ask"
        + (" and fold" if several else "")
        + ", in one folder. You need not answer every ask, but every fold of those you answer."
        if several or len(benchmark.asks) > 1
        else "One file."
    )
    for name, ask in benchmark.asks.items():
        k = ask.k if isinstance(ask, RankAsk) else 0
        queries = ", ".join(f"{one.queries[name]:,}" for one in questions)
        files = ", ".join(f"`{stem(one.fold, name)}`" for one in questions)
        parts.append(
            f"**{name}** ({ask.kind}; {queries} queries; judged by {', '.join(ask.metrics)}): "
            + HANDED_BACK[ask.kind].format(ask=name, k=k)
            + f".\n\n- names: {files}, with one of these endings:"
            + f"\n  - `.npy`: {ARRAYS[ask.kind].format(k=k)}, in the order of the queries, written without pickle"
            + f"\n  - `.parquet`: {TABLES[ask.kind]}; queries are numbered from 0"
            + ("\n  - `.run`: TREC lines `query Q0 item rank score tag`" if ask.kind == "rank" else "")
        )
    parts.append(
        "A score orders from high to low; equal scores are ordered by a fair coin, and the rank of a TREC line is not "
        "looked at. Files with rows or items that were not asked for, with missing, double or not finite numbers are "
        "refused with the reason. Archives are not unpacked, and pickles are never read."
    )
    parts.append(
        f"## Then\n\n```console\n$ recarena submit {benchmark.name} FOLDER --as NAME --paper PAPER\n```\n\n"
        'The row is ranked beside the others and marked "predictions only": the judge computed its numbers, how the '
        "predictions were made is its author's word."
    )
    return "\n\n".join(parts) + "\n"
