"""What a contender hands back: read without trust, then checked against the rules of the game.

Nothing here knows an answer. ``load`` reads ``<ask>.npy`` files that another process wrote: whatever they hold, the
outcome is a checked array or a PredictionError, never code that runs, a hang, or a read of more than was expected.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from recarena.contract.arrays import Floats, Ints
from recarena.contract.errors import PredictionError
from recarena.contract.metrics import listed_in
from recarena.contract.metrics.labels import PROBABILITY
from recarena.contract.queries import Queries, RankQueries, RateQueries

HEADER_BYTES = 4096  # an honest header of one or two dimensions takes 128
LARGEST_RATING = 1e6  # beyond it, squares no longer fit the float32 that values are kept in
RULE = "every row must hold k distinct unseen items (recarena.top_k does)"

Anything = np.ndarray[Any, np.dtype[Any]]


def check(
    ask_name: str, queries: Queries, prediction: object, who: str, metrics: Collection[str] = ()
) -> Ints | Floats:
    """Return the prediction as (q,) float64 ratings or (q, k) int32 item ids, or say which rule it breaks.

    Args:
        ask_name: the ask that it answers.
        queries: of that ask, q of them.
        prediction: what the implementation returned.
        who: the implementation, as the message names it, such as ``fm/ada.py``.
        metrics: of the ask: log_loss wants probabilities, and only rmse and mae want the scale of the ratings.

    Raises:
        PredictionError: the first rule that is broken, and where.
    """
    place = f'{who}: prediction "{ask_name}"'
    if not isinstance(prediction, np.ndarray):
        raise PredictionError(
            f"{place}: is a {type(prediction).__name__}, expected a numpy array of {_wanted(queries)}"
        )
    _check_form(place, queries, prediction.dtype, prediction.shape)
    if not isinstance(queries, RankQueries):
        return _check_ratings(place, prediction, metrics)
    return _check_lists(place, queries, prediction)


def load(
    folder: Path, asks: Mapping[str, Queries], who: str, metrics: Mapping[str, Collection[str]] | None = None
) -> dict[str, Ints | Floats]:
    """Read and check the prediction of every ask.

    Neither the folder nor a file may be a link, a file must be a plain one, and its header is held against the queries
    before anything else is read. Files of no ask are left alone.

    Args:
        folder: where the worker wrote ``<ask>.npy``.
        asks: name -> queries.
        who: the implementation, as messages name it.
        metrics: name -> the ask's metrics, as for ``check``.

    Returns:
        name -> array, as ``check`` returns it.

    Raises:
        PredictionError: a file that is missing, is not what it should be, or breaks a rule.
    """
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise PredictionError(
            f"{who}: the folder of predictions cannot be opened ({error.strerror}); leave it as the worker made it"
        ) from None
    try:
        read = {}
        for name, queries in asks.items():
            prediction = _read(directory, name, queries, f'{who}: prediction "{name}"')
            read[name] = check(name, queries, prediction, who, (metrics or {}).get(name, ()))
        return read
    finally:
        os.close(directory)


def _read(directory: int, name: str, queries: Queries, place: str) -> Anything:
    """Read one file of a folder; O_NONBLOCK so that a fifo cannot make the judge wait."""
    file = f"{name}.npy"
    if Path(file).name != file:
        raise ValueError(f'the ask "{name}" cannot name a file; the recipe is broken')
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        raise PredictionError(f"{place}: is missing, expected {_wanted(queries)}; answer every ask") from None
    except OSError as error:
        raise PredictionError(f"{place}: {file} cannot be opened ({error.strerror}), expected a plain file") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise PredictionError(f"{place}: {file} is not a plain file, expected an .npy file of {_wanted(queries)}")
    with os.fdopen(handle, "rb") as stream:
        try:
            shape, fortran, dtype = _header(stream)
        except Exception as error:  # numpy parses the header as Python: a bad one may raise nearly anything
            raise PredictionError(
                f"{place}: {file} has no readable .npy header ({type(error).__name__}), expected what "
                f"numpy.save(..., allow_pickle=False) writes of {_wanted(queries)}"
            ) from error
        _check_form(place, queries, dtype, shape)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        promised = stream.tell() + n_bytes
        if status.st_size != promised:
            raise PredictionError(
                f"{place}: {file} has {status.st_size} bytes, expected the {promised} that its header promises; "
                "was the writing cut off?"
            )
        data = stream.read(n_bytes)
    if len(data) != n_bytes:
        raise PredictionError(f"{place}: {file} shrank while it was read; end every process before the run ends")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream, max_header_size=HEADER_BYTES)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream, max_header_size=HEADER_BYTES)
    raise ValueError(f"version {version} is for field names, which a prediction has none of")


def _wanted(queries: Queries) -> str:
    if not isinstance(queries, RankQueries):
        return f"({len(queries)},) {'ratings' if isinstance(queries, RateQueries) else 'scores'}"
    return f"({len(queries)}, {queries.k}) integer item ids"


def _check_form(place: str, queries: Queries, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check what a header tells."""
    if not isinstance(queries, RankQueries):
        if dtype.kind not in "fiu":
            raise PredictionError(f"{place}: has dtype {dtype}, expected {_wanted(queries)}, such as float32")
        expected: tuple[int, ...] = (len(queries),)
    else:
        if dtype.kind not in "iu":
            raise PredictionError(
                f"{place}: has dtype {dtype}, expected {_wanted(queries)}; recarena.top_k turns scores into ids"
            )
        expected = (len(queries), queries.k)
    if shape == expected:
        return
    if shape[1:] == expected[1:] and len(shape) == len(expected):
        off = shape[0] - expected[0]
        much = f"{off} too many" if off > 0 else f"{-off} missing"
        raise PredictionError(
            f"{place}: has {shape[0]} rows ({much}), expected {expected[0]}: one for each query, in their order"
        )
    raise PredictionError(f"{place}: has shape {shape}, expected {expected}: {_wanted(queries)}")


def _check_ratings(place: str, prediction: Anything, metrics: Collection[str]) -> Floats:
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes inf, and is then refused
        rating: Floats = prediction.astype(np.float64)
    bad = ~np.isfinite(rating)
    if bad.any():
        first = int(bad.argmax())
        raise PredictionError(
            f"{place}: {np.count_nonzero(bad)} of {len(rating)} ratings are not finite, the first at query {first} "
            f"({rating[first]}), expected finite numbers; did training diverge?"
        )
    if "log_loss" in metrics:
        outside = (rating < 0) | (rating > 1)
        if outside.any():
            first = int(outside.argmax())
            raise PredictionError(
                f"{place}: {np.count_nonzero(outside)} of {len(rating)} predictions are no probabilities, the first at "
                f"query {first} ({rating[first]:g}), {PROBABILITY}"
            )
    scaled = not metrics or not {"rmse", "mae"}.isdisjoint(metrics)
    if scaled and len(rating) and np.abs(rating).max() > LARGEST_RATING:
        first = int(np.abs(rating).argmax())
        raise PredictionError(
            f"{place}: query {first} is rated {rating[first]:g}, expected numbers on the scale of the training ratings "
            f"(at most {LARGEST_RATING:g} in size); did training diverge?"
        )
    return rating


def _check_lists(place: str, queries: RankQueries, prediction: Anything) -> Ints:
    n_items = queries.n_items
    strange = (prediction < -1) | (prediction >= n_items)
    if strange.any():
        row, column = _first(strange)
        raise PredictionError(
            f"{place}: query {row} returns item {prediction[row, column]}, expected ids from 0 to {n_items - 1}, and "
            "-1 only where a list ends early; ids are those of the question"
        )
    ids: Ints = prediction.astype(np.int32)
    early = (ids[:, :-1] < 0) & (ids[:, 1:] >= 0)
    if early.any():
        row, column = _first(early)
        raise PredictionError(
            f"{place}: query {row} returns -1 before item {ids[row, column + 1]}, expected -1 only at the end of a "
            "row: move the items to its front (recarena.top_k does)"
        )
    ordered = np.sort(ids, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row, column = _first(twice)
        times = {2: "twice"}.get(n := int((ids[row] == ordered[row, column]).sum()), f"{n} times")
        raise PredictionError(f"{place}: query {row} returns item {ordered[row, column]} {times}; {RULE}")
    if queries.exclude is not None:
        seen = listed_in(queries.exclude, ids, n_items)
        if seen.any():
            row, column = _first(seen)
            raise PredictionError(
                f"{place}: query {row} returns item {ids[row, column]}, which its exclude list forbids (so do "
                f"{np.count_nonzero(seen.any(axis=1)) - 1} other queries); {RULE}"
            )
    if queries.candidates is not None:
        outside = ~listed_in(queries.candidates, ids, n_items) & (ids >= 0)
        if outside.any():
            row, column = _first(outside)
            raise PredictionError(
                f"{place}: query {row} returns item {ids[row, column]}, which is not among its "
                f"{queries.candidates.lengths[row]} candidates; "
                "list only queries.candidates (recarena.top_k does)"
            )
    return ids


def _first(where: Anything) -> tuple[int, int]:
    """Return the row and the column of the first True."""
    row, column = np.unravel_index(int(where.argmax()), where.shape)
    return int(row), int(column)
