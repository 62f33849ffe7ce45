# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["scikit-surprise==1.1.4", "numpy==1.26.4"]
# ///
"""Surprise's SVD and SVD++ on rows handed over as arrays; its Trainset is built before the clock starts."""

from pathlib import Path

import numpy as np
import surprise
from serve import serve


def fit(folder, algorithm, settings):
    """Fit ``surprise.<algorithm>(**settings)``; every round has the next seed; the quality is their mean RMSE."""
    rows = {name: np.load(Path(folder) / f"{name}.npy") for name in ("user", "item", "value")}
    test = {name: np.load(Path(folder) / f"test_{name}.npy") for name in rows}
    low, high = float(rows["value"].min()), float(rows["value"].max())
    columns = [rows[name].tolist() for name in ("user", "item", "value")]
    ratings = [(user, item, value, None) for user, item, value in zip(*columns, strict=True)]
    data = surprise.Dataset(surprise.Reader(rating_scale=(low, high)))
    train = data.construct_trainset(ratings)

    models = []

    def once():
        models.append(getattr(surprise, algorithm)(random_state=len(models), **settings))
        models[-1].fit(train)

    def judge(_):
        columns = [test[name].tolist() for name in ("user", "item", "value")]
        triples = list(zip(*columns, strict=True))
        squares = [[(model.predict(u, i).est - r) ** 2 for u, i, r in triples] for model in models]
        return {"RMSE": float(np.sqrt(np.mean(squares, axis=1)).mean())}

    return once, judge


if __name__ == "__main__":
    serve({"fit": fit})
