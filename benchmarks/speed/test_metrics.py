"""NDCG@100 and recall@100 of 10,000 lists: ours against pytrec_eval and ranx, with and without their conversions."""

from __future__ import annotations

import numpy as np
import pytest
from sidebyside import Comparison, agree, compare
from work import judging, lists

N_QUERIES, N_ITEMS, K = 10_000, 20_000, 100
VERSIONS = {"pytrec_eval": "pytrec_eval 0.5", "ranx": "ranx 0.3"}


@pytest.mark.parametrize(
    ("library", "converting", "wanted"),
    [("pytrec_eval", False, 5), ("ranx", False, 5), ("pytrec_eval", True, 15), ("ranx", True, 90)],
    ids=["pytrec_eval", "ranx", "pytrec_eval-converting", "ranx-converting"],
)
def test_metrics_against(benchmark, start, folder, threads, library, converting, wanted):
    _, answers, listed = lists(N_QUERIES, N_ITEMS, K)
    np.save(folder / "listed.npy", listed)
    np.save(folder / "relevant_values.npy", answers.relevant.values)
    np.save(folder / "relevant_offsets.npy", answers.relevant.offsets)
    job = {"work": library, "folder": str(folder), "k": K, "converting": converting}
    what = "metrics, converted" if converting else "metrics"
    about = Comparison(what, VERSIONS[library], "10,000 lists x 100", threads, wanted)
    with start("judges_peer.py", threads, job) as peer:
        ours = compare(benchmark, about, judging(N_QUERIES, N_ITEMS, K), peer, rounds=3 if converting else 7)
        theirs = peer.judge()
    agree(benchmark, theirs, ours, within=1e-9)
