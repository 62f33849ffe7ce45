# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["implicit==0.7.2", "numpy==1.26.4", "scipy==1.13.1", "threadpoolctl>=3"]
# ///
"""implicit's ALS and BPR on (user, item) pairs; the quality is the lists it recommends, judged by the other side."""

from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix
from serve import serve

CLASSES = {"ALS": AlternatingLeastSquares, "BPR": BayesianPersonalizedRanking}


def fit(folder, algorithm, settings, k):
    """Fit one of the two with these settings, every round with the next seed; all users' lists go to a file."""
    user, item = (np.load(Path(folder) / f"{name}.npy") for name in ("user", "item"))
    seen = csr_matrix((np.ones(len(user), np.float32), (user, item)))

    models = []

    def once():
        models.append(CLASSES[algorithm](random_state=len(models), **settings))
        models[-1].fit(seen, show_progress=False)

    def judge(_):
        everyone = np.arange(seen.shape[0])
        lists = [model.recommend(everyone, seen, N=k, filter_already_liked_items=True)[0] for model in models]
        np.save(Path(folder) / "lists.npy", np.stack(lists).astype(np.int32))
        return {"lists": "lists.npy"}

    return once, judge


if __name__ == "__main__":
    serve({"fit": fit})
