"""What a contender hands back: every rule has a message, and no file can do more than be refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from recarena import Ragged, RankQueries, RateQueries, top_k
from recarena.contract.errors import PredictionError
from recarena.judge.predictions import check, load

WHO = "fm/ada.py"
N_ITEMS = 10
RATE = RateQueries(user=np.zeros(4, np.int32), item=np.arange(4, dtype=np.int32))
SEEN = Ragged.from_lists([[0, 1], [2], []])
RANK = RankQueries(user=None, history=SEEN, exclude=SEEN, candidates=None, k=3, n_items=N_ITEMS)
AMONG = RankQueries(
    user=None,
    history=SEEN,
    exclude=None,
    candidates=Ragged.from_lists([[0, 1, 2, 3], [1, 3, 5, 7], [6, 9]]),
    k=2,
    n_items=N_ITEMS,
)
GOOD = np.array([[3, 9, 5], [0, 1, -1], [-1, -1, -1]], np.int32)


def broken(row: int, *ids: int) -> np.ndarray:
    prediction = GOOD.copy()
    prediction[row] = ids
    return prediction


def test_a_good_prediction_comes_back_in_one_form() -> None:
    for dtype in (np.int8, np.int64, ">i4"):
        checked = check("top-n", RANK, GOOD.astype(dtype), WHO)
        assert checked.dtype == np.int32
        np.testing.assert_array_equal(checked, GOOD)
    for dtype in (np.float16, np.float32, np.longdouble, ">f8", np.int8, np.uint64):
        checked = check("rating", RATE, np.array([3, 4, 1, 5], dtype), WHO)
        assert checked.dtype == np.float64
        assert checked.tolist() == [3, 4, 1, 5]
    np.testing.assert_array_equal(check("top-n", AMONG, np.array([[3, 0], [7, -1], [6, 9]]), WHO)[1], [7, -1])


@pytest.mark.parametrize(
    ("queries", "prediction", "message"),
    [
        (RANK, GOOD.tolist(), "is a list, expected a numpy array of (3, 3) integer item ids"),
        (RANK, GOOD.astype(float), "has dtype float64, expected (3, 3) integer item ids; recarena.top_k turns scores"),
        (RANK, GOOD.astype(object), "has dtype object, expected (3, 3) integer item ids"),
        (RANK, GOOD > 0, "has dtype bool, expected (3, 3) integer item ids"),
        (RANK, GOOD[:2], "has 2 rows (1 missing), expected 3: one for each query, in their order"),
        (RANK, np.tile(GOOD, (2, 1)), "has 6 rows (3 too many), expected 3"),
        (RANK, GOOD[:, :2], "has shape (3, 2), expected (3, 3): (3, 3) integer item ids"),
        (RANK, GOOD[0], "has shape (3,), expected (3, 3)"),
        (RANK, broken(1, 0, 10, 1), "query 1 returns item 10, expected ids from 0 to 9"),
        (RANK, broken(1, 0, -2, 1), "query 1 returns item -2, expected ids from 0 to 9"),
        (RANK, broken(1, 0, 2**31 - 1, 1), "query 1 returns item 2147483647"),
        (RANK, GOOD.astype(np.uint64), "query 1 returns item 18446744073709551615"),
        (RANK, broken(2, 4, -1, 5), "query 2 returns -1 before item 5, expected -1 only at the end of a row"),
        (
            RANK,
            broken(2, 4, 5, 4),
            "query 2 returns item 4 twice; every row must hold k distinct unseen items (recarena.top_k does)",
        ),
        (RANK, broken(2, 4, 4, 4), "query 2 returns item 4 3 times"),
        (RANK, broken(1, 0, 1, 2), "query 1 returns item 2, which its exclude list forbids (so do 0 other queries)"),
        (AMONG, np.array([[3, 0], [7, 2], [6, 9]]), "query 1 returns item 2, which is not among its 4 candidates"),
        (AMONG, np.array([[3, 0], [7, 5], [6, 7]]), "query 2 returns item 7, which is not among its 2 candidates"),
        (RATE, None, "is a NoneType, expected a numpy array of (4,) ratings"),
        (RATE, np.array(["5"] * 4), "has dtype <U1, expected (4,) ratings, such as float32"),
        (RATE, np.ones(4, complex), "has dtype complex128, expected (4,) ratings"),
        (RATE, np.ones(5), "has 5 rows (1 too many), expected 4"),
        (RATE, np.ones((4, 1)), "has shape (4, 1), expected (4,): (4,) ratings"),
        (
            RATE,
            np.array([1, np.nan, 2, np.inf]),
            "2 of 4 ratings are not finite, the first at query 1 (nan), expected finite numbers; did training diverge?",
        ),
        (
            RATE,
            np.array([1, 2, 3, np.longdouble("1e400")]),
            "1 of 4 ratings are not finite, the first at query 3 (inf)",
        ),
    ],
)
def test_a_broken_rule_is_named(queries: RankQueries | RateQueries, prediction: object, message: str) -> None:
    with pytest.raises(PredictionError) as error:
        check("top-n", queries, prediction, WHO)
    assert str(error.value).startswith('fm/ada.py: prediction "top-n": ')
    assert message in str(error.value)


def test_what_top_k_returns_passes() -> None:
    rng = np.random.default_rng(0)
    for queries in (RANK, AMONG):
        check("top-n", queries, top_k(rng.integers(0, 3, size=(3, N_ITEMS)), queries), WHO)


@pytest.mark.parametrize(
    ("prediction", "metrics", "message"),
    [
        (
            [0.2, 1.5, -1, 0.3],
            ["auc", "log_loss"],
            "2 of 4 predictions are no probabilities, the first at query 1 (1.5",
        ),
        ([0.2, np.nan, 0.1, 0.3], ["auc"], "1 of 4 ratings are not finite, the first at query 1 (nan)"),
        ([0.2, 1e7, 0.1, 0.3], ["auc", "rmse"], "query 1 is rated 1e+07"),
        ([0.2, 1e7, 0.1, 0.3], [], "query 1 is rated 1e+07"),
    ],
)
def test_what_labels_want(prediction: list[float], metrics: list[str], message: str) -> None:
    with pytest.raises(PredictionError) as error:
        check("click", RATE, np.array(prediction), WHO, metrics)
    assert str(error.value).startswith('fm/ada.py: prediction "click": ')
    assert message in str(error.value)


def test_the_scores_of_an_auc_have_no_scale() -> None:
    assert check("click", RATE, np.array([-1e9, 0, 1, 1e9]), WHO, ["auc"]).tolist() == [-1e9, 0, 1, 1e9]
    assert check("click", RATE, np.array([0, 0, 1, 1]), WHO, ["log_loss"]).tolist() == [0, 0, 1, 1]


# --- files ------------------------------------------------------------------------------------------------------------


def read(folder: Path) -> np.ndarray:
    return load(folder, {"top-n": RANK}, WHO)["top-n"]


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    np.save(tmp_path / "top-n.npy", np.asfortranarray(GOOD.astype(">i8")))
    np.save(tmp_path / "rating.npy", np.arange(4, dtype=np.float32))
    (tmp_path / "of-no-ask.npy").symlink_to("/dev/zero")
    found = load(tmp_path, {"top-n": RANK, "rating": RATE}, WHO)
    np.testing.assert_array_equal(found["top-n"], GOOD)
    assert found["rating"].tolist() == [0, 1, 2, 3]


def test_metrics_are_told_to_the_checks(tmp_path: Path) -> None:
    np.save(tmp_path / "click.npy", np.array([0.5, 2, 0, 0]))
    assert load(tmp_path, {"click": RATE}, WHO, {"click": ["auc"]})["click"][1] == 2
    with pytest.raises(PredictionError, match="no probabilities"):
        load(tmp_path, {"click": RATE}, WHO, {"click": ["log_loss"]})


def test_the_second_header_version_is_read(tmp_path: Path) -> None:
    with (tmp_path / "top-n.npy").open("wb") as stream:
        np.lib.format.write_array(stream, GOOD, version=(2, 0))
    np.testing.assert_array_equal(read(tmp_path), GOOD)


class Mine:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (os.mkdir, ("unpickled",))


def craft(path: Path, shape: str, descr: str = "'<i4'", data: bytes = b"", header: str | None = None) -> None:
    text = header or f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    path.write_bytes(b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text.encode() + b"\n" + data)


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "top-n.npy", np.full((3, 3), Mine(), dtype=object), allow_pickle=True)
    with pytest.raises(PredictionError, match="has dtype object, expected"):
        read(tmp_path)
    (tmp_path / "top-n.npy").write_bytes(pickle.dumps(Mine()))
    with pytest.raises(PredictionError, match=r"no readable \.npy header"):
        read(tmp_path)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("crafted", "message"),
    [
        ({"shape": "(1000000000000, 3)"}, r"has 1000000000000 rows \(999999999997 too many\)"),
        ({"shape": "(3, 3)", "data": bytes(35)}, "bytes, expected the .* that its header promises"),
        ({"shape": "(3, 3)", "data": bytes(37)}, "bytes, expected the .* that its header promises"),
        ({"shape": "(3, 3)", "descr": "'<V1000000'"}, "has dtype"),
        ({"shape": "(3, 3)", "descr": "[('a', '<i4')]", "data": bytes(36)}, "has dtype"),
        ({"shape": "(3, -3)"}, "has shape"),
        ({"shape": "[3, 3]"}, "no readable .npy header"),
        ({"shape": "", "header": "(" * 3000}, "no readable .npy header"),
        ({"shape": "", "header": "{" + " " * 5000 + "}"}, "no readable .npy header"),
        ({"shape": "", "header": "__import__('os').mkdir('x')"}, "no readable .npy header"),
    ],
)
def test_a_header_is_held_against_the_queries(tmp_path: Path, crafted: dict, message: str) -> None:
    craft(tmp_path / "top-n.npy", **crafted)
    with pytest.raises(PredictionError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"\x93NUMPY\x03\x00", b"\x93NUMPY\x01\x00\xff\xff"])
def test_a_file_cut_short(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "top-n.npy").write_bytes(data)
    with pytest.raises(PredictionError, match=r"no readable \.npy header"):
        read(tmp_path)


def test_the_rules_hold_for_files_too(tmp_path: Path) -> None:
    np.save(tmp_path / "top-n.npy", broken(2, 4, 5, 4))
    with pytest.raises(PredictionError, match=r'^fm/ada.py: prediction "top-n": query 2 returns item 4 twice'):
        read(tmp_path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match=r'prediction "top-n": is missing, expected \(3, 3\) integer item ids'):
        read(tmp_path)


def test_links_fifos_and_folders_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    np.save(outside / "top-n.npy", GOOD)
    folder = tmp_path / "predictions"
    folder.mkdir()
    file = folder / "top-n.npy"

    file.symlink_to(outside / "top-n.npy")
    with pytest.raises(PredictionError, match="cannot be opened"):
        read(folder)
    file.unlink()

    os.mkfifo(file)  # a reader that waits for a writer would wait for ever
    with pytest.raises(PredictionError, match="is not a plain file"):
        read(folder)
    file.unlink()

    file.mkdir()
    with pytest.raises(PredictionError, match="is not a plain file"):
        read(folder)
    file.rmdir()

    folder.rmdir()
    folder.symlink_to(outside)
    with pytest.raises(PredictionError, match="the folder of predictions cannot be opened"):
        read(folder)


def test_an_ask_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "top-n.npy", GOOD)
    (tmp_path / "predictions").mkdir()
    with pytest.raises(ValueError, match="cannot name a file"):
        load(tmp_path / "predictions", {"../top-n": RANK}, WHO)
