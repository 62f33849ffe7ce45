"""The authors' own splits: blocks of a file, files of their own, frozen candidates."""

from __future__ import annotations

import numpy as np

from recarena.contract.arrays import Ints
from recarena.contract.errors import DataError
from recarena.data.raw import PARTS, Candidates, Raw
from recarena.data.splits.rows import NOTHING, Held, RowSplit


def official_folds(raw: Raw, *, n_folds: int = 5) -> list[RowSplit]:
    """Cut the file into consecutive blocks: fold k's test rows are the k-th block (MovieLens 100K's u1 to u5).

    Raises:
        DataError: the rows do not divide into ``n_folds`` equal blocks.
    """
    if len(raw) % n_folds:
        raise DataError(
            f"split official_folds: {len(raw):,} rows do not divide into {n_folds} equal blocks; "
            "this split is defined for the unfiltered official file"
        )
    rows = np.arange(len(raw), dtype=np.int64)
    blocks = np.split(rows, n_folds)
    return [
        RowSplit(f"u{k}", np.concatenate(blocks[: k - 1] + blocks[k:]), None, Held(blocks[k - 1], NOTHING))
        for k in range(1, n_folds + 1)
    ]


def official_files(raw: Raw) -> list[RowSplit]:
    """Take the authors' own train, validation and test files.

    A model is shown the training rows only, also at the test; the benchmark's ``exclude`` says whether the validation
    items may be listed. Users and items that occur in the test file alone are asked about all the same.

    Raises:
        DataError: the source is not divided, or has no training or no test row.
    """
    train, validation, test = _parts("official_files", raw)
    return [RowSplit("", train, Held(validation, train) if len(validation) else None, Held(test, train))]


def sampled_candidates(raw: Raw) -> list[RowSplit]:
    """Take the authors' own training and test rows, and rank each test user's rows among the authors' candidates.

    A query's candidates are the set of the frozen items and the targets: where an author's list repeats an item, or
    names the target (156 of NCF's 6,040 do), fewer compete.

    Raises:
        DataError: the source is not divided or has no candidates, a list is missing or one too many, or rows are for
            validation, for which nobody froze candidates.
    """
    train, validation, test = _parts("sampled_candidates", raw)
    if raw.candidates is None:
        raise DataError(
            "split sampled_candidates: this dataset's source has no frozen candidates; use one that has, or a split "
            "that ranks the whole catalogue"
        )
    if len(validation):
        raise DataError(
            f"split sampled_candidates: {len(validation):,} rows are for validation, but the frozen candidates are for "
            "the test; use official_files"
        )
    _check_users(raw, test, raw.candidates)
    return [RowSplit("", train, None, Held(test, train, candidates=raw.candidates))]


def _parts(split: str, raw: Raw) -> tuple[Ints, Ints, Ints]:
    """The rows of each part."""
    if raw.part is None:
        raise DataError(
            f"split {split}: this dataset's source is not divided into training and test rows by its authors; "
            "use one that is, or another split"
        )
    train, validation, test = (np.flatnonzero(raw.part == part) for part in range(len(PARTS)))
    for name, rows in (("training", train), ("test", test)):
        if len(rows) == 0:
            raise DataError(f"split {split}: no {name} row is left; loosen the filters in the benchmark's recipe")
    return train, validation, test


def _check_users(raw: Raw, test: Ints, frozen: Candidates) -> None:
    """Raise unless the users of the test rows are exactly those with a list of candidates."""
    users, lists = np.unique(frozen.user, return_counts=True)
    if (lists > 1).any():
        user = users[np.argmax(lists > 1)]
        raise DataError(f"split sampled_candidates: user {user} has {lists.max()} lists of candidates, expected one")
    asked = np.unique(raw.user[test])
    for some, others, what in (
        (asked, users, "a test row but no list of candidates"),
        (users, asked, "a list of candidates but no test row"),
    ):
        alone = np.setdiff1d(some, others)
        if len(alone):
            raise DataError(
                f"split sampled_candidates: {len(alone):,} users have {what} (the first is {alone[0]}); "
                "the authors' lists go with their own test rows: take out filters that drop some of these"
            )
