"""From one file to a split, ready to learn from: ours against RecBole's create_dataset and data_preparation."""

from __future__ import annotations

from sidebyside import Comparison, agree, compare
from synthetic import write_inter
from work import preparing

USERS, ITEMS, ROWS = 6_040, 3_706, 1_000_209  # ML-1M's


def test_file_to_split_against_recbole(benchmark, start, folder):
    file = folder / "rows" / "rows.inter"
    file.parent.mkdir()
    counts = write_inter(file, ROWS, USERS, ITEMS)
    job = {"work": "data", "folder": str(folder), "dataset": "rows", "threads": 2}
    about = Comparison("file to split", "RecBole 1.2.1", "1.0M rows, 8:1:1 a user", 2, wanted=20)
    with start("recbole_peer.py", 2, job) as peer:
        ours = compare(benchmark, about, preparing(file, counts), peer, rounds=3)
        theirs = peer.judge()
    parts = {
        "training": len(ours.question.train.interactions),
        "validation": len(ours.question.train.validation["top-n"].answers.relevant.values),
        "test": len(ours.answers["top-n"].relevant.values),
    }
    agree(benchmark, theirs, parts, within=0)
