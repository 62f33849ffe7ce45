"""pytrec_eval and ranx on the same lists, with the building of their inputs inside the clock or before it.

They need nothing that clashes with ours, so they run in the house's own interpreter.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytrec_eval
import ranx
from serve import serve


def _dictionaries(folder, k):
    """Both libraries are given dictionaries of dictionaries, with text for ids."""
    listed, values, offsets = (
        np.load(Path(folder) / f"{name}.npy") for name in ("listed", "relevant_values", "relevant_offsets")
    )

    def build():
        relevant = (values[start:stop].tolist() for start, stop in pairwise(offsets))
        truth = {str(q): {str(i): 1 for i in row} for q, row in enumerate(relevant)}
        run = {str(q): {str(i): float(k - rank) for rank, i in enumerate(row)} for q, row in enumerate(listed.tolist())}
        return truth, run

    return build


def with_pytrec_eval(folder, k, converting):
    """NDCG and recall of every list."""
    build = _dictionaries(folder, k)
    names = {f"NDCG@{k}": f"ndcg_cut_{k}", f"recall@{k}": f"recall_{k}"}

    def convert():
        truth, run = build()
        return pytrec_eval.RelevanceEvaluator(truth, {f"ndcg_cut.{k}", f"recall.{k}"}), run

    ready = None if converting else convert()

    def once():
        evaluator, run = ready or convert()
        return evaluator.evaluate(run)

    def judge(values):
        return {ours: float(np.mean([one[theirs] for one in values.values()])) for ours, theirs in names.items()}

    return once, judge


def with_ranx(folder, k, converting):
    """Mean NDCG and recall; what its own types cost to build counts as conversion."""
    build = _dictionaries(folder, k)

    def convert():
        truth, run = build()
        return ranx.Qrels(truth), ranx.Run(run)

    ready = None if converting else convert()

    def once():
        truth, run = ready or convert()
        return ranx.evaluate(truth, run, [f"ndcg@{k}", f"recall@{k}"])

    def judge(values):
        return {f"NDCG@{k}": float(values[f"ndcg@{k}"]), f"recall@{k}": float(values[f"recall@{k}"])}

    return once, judge


if __name__ == "__main__":
    serve({"pytrec_eval": with_pytrec_eval, "ranx": with_ranx})
