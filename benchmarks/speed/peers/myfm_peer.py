# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#     "myfm==0.4.0", "numpy==2.4.6", "pandas==3.1.1", "scipy==1.17.1",
#     "setuptools>=77,<81",  # myFM's wheel imports pkg_resources
# ]
# ///
"""myFM's Gibbs sampler on blocks of features handed over as arrays; its matrices are built before the clock starts."""

import json
from pathlib import Path

import numpy as np
from myfm import MyFMGibbsRegressor, RelationBlock
from scipy.sparse import csr_matrix, hstack
from serve import serve


def matrices(folder, part):
    """One-hot ids as columns of x, every other block as a relation block, as myFM's own examples do."""
    plain, related = [], []
    for block in json.loads((folder / "blocks.json").read_text()):
        row = np.load(folder / f"{part}_{block['name']}.npy").astype(np.int64)
        arrays = [np.load(folder / f"{block['name']}_{name}.npy") for name in ("x", "column", "start")]
        table = csr_matrix((arrays[0].astype(np.float64), *arrays[1:]), shape=block["shape"])
        if block["identity"]:
            plain.append(table[row])
        else:
            related.append(RelationBlock(row, table))
    return (hstack(plain, format="csr") if plain else None), related


def fit(folder, dim, sweeps, dropped, predicting):
    """So many sweeps, the first ones dropped; where ``predicting``, the clock has the held-out ratings in it.

    Every round has the next seed; the quality is the mean RMSE, each prediction the mean of the draws, clipped.
    """
    folder = Path(folder)
    train, test = (matrices(folder, part) for part in ("train", "test"))
    target, truth = np.load(folder / "train_value.npy"), np.load(folder / "test_value.npy")
    blocks = sorted(json.loads((folder / "blocks.json").read_text()), key=lambda block: not block["identity"])
    groups = [size for block in blocks for size in block["groups"]]
    models, guesses = [], []

    def once():
        model = MyFMGibbsRegressor(rank=dim, random_seed=len(models))
        kept = {"n_iter": sweeps, "n_kept_samples": sweeps - dropped, "group_shapes": groups}
        model.fit(train[0], target, X_rel=train[1], **kept)
        models.append(model)
        if predicting:
            guesses.append(model.predict(*test))

    def judge(_):
        every = guesses if predicting else [model.predict(*test) for model in models]
        clipped = [np.clip(guess, target.min(), target.max()) for guess in every]
        return {"RMSE": float(np.mean([np.sqrt(np.mean((guess - truth) ** 2)) for guess in clipped]))}

    return once, judge


if __name__ == "__main__":
    serve({"fit": fit})
