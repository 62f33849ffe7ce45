"""Facts about users and items: parsed, brought to one form, numbered as the question numbers, and through the wall."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.contract.folder import question_hash, read_question, write_question
from recarena.data import parsers
from recarena.data.folders import load_dataset
from recarena.data.prepare import prepare
from recarena.data.raw import Raw
from recarena.data.recipes import Benchmark
from recarena.data.sides import Side, features
from recarena.data.sources import mirror_folder

PEOPLE = Side(
    ids=np.array([30, 10, 20]),
    category={"job": np.array(["nurse", "", "cook"])},
    tags={"likes": Ragged.from_lengths(np.array([2, 0, 1]), np.array(["tea", "jam", "tea"]))},
    number={"age": np.array([33, 22, np.nan], np.float32)},
)


def test_features_follow_the_ids_asked_and_say_what_is_unknown():
    found = features(PEOPLE, np.array([20, 99, 30, 10]))
    assert found.category["job"].tolist() == [0, -1, 1, -1]  # cook, nobody, nurse, not said
    assert found.labels["job"].tolist() == ["cook", "nurse"]
    assert [row.tolist() for row in found.tags["likes"]] == [[1], [], [0, 1], []]
    assert found.labels["likes"].tolist() == ["jam", "tea"]
    np.testing.assert_array_equal(found.number["age"], np.float32([np.nan, np.nan, 33, 22]))
    assert found.names == ("job", "likes", "age")


@given(st.permutations([10, 20, 30, 99]))
def test_features_of_every_order_say_the_same_of_everyone(ids):
    found, base = features(PEOPLE, np.array(ids)), features(PEOPLE, np.array([10, 20, 30, 99]))
    back = np.argsort(ids)
    np.testing.assert_array_equal(found.category["job"][back], base.category["job"])
    np.testing.assert_array_equal(found.number["age"][back], base.number["age"])
    taken = found.tags["likes"].take(back)
    assert taken.values.tolist() == base.tags["likes"].values.tolist()
    assert taken.offsets.tolist() == base.tags["likes"].offsets.tolist()


def test_the_fingerprint_is_of_the_facts_and_not_of_their_order():
    rows = np.array([2, 0, 1])
    moved = Side(
        PEOPLE.ids[rows],
        {"job": PEOPLE.category["job"][rows]},
        {"likes": PEOPLE.tags["likes"].take(rows)},
        {"age": PEOPLE.number["age"][rows]},
    )
    assert moved.sha256() == PEOPLE.sha256()
    assert replace(PEOPLE, category={"job": np.array(["nurse", "", "nurse"])}).sha256() != PEOPLE.sha256()
    assert Side.from_arrays(PEOPLE.arrays()).sha256() == PEOPLE.sha256()


def test_movielens_tables_say_the_same_in_every_form():
    u_user = parsers.SIDE_PARSERS["u.user"](b"1|24|M|technician|85711\n2|53|F|other|T8H1N\n", "u.user", "utf-8")
    copied = parsers.SIDE_PARSERS["recbole.ml-100k.user"](
        b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        b"1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\tT8H1N\n",
        "ml-100k.user",
        "utf-8",
    )
    assert u_user.sha256() == copied.sha256()
    assert u_user.category["postal_area"].tolist() == ["8", "T"]
    flags = "|".join("1" if place in (3, 5) else "0" for place in range(19))
    none = "|".join("1" if place == 0 else "0" for place in range(19))
    u_item = parsers.SIDE_PARSERS["u.item"](
        f"1|Toy Story (1995)|01-Jan-1996||http://x|{flags}\n2|unknown||||{none}\n".encode(), "u.item", "latin-1"
    )
    copied = parsers.SIDE_PARSERS["recbole.ml-100k.item"](
        b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        b"1\tToy Story\t1995\tAnimation Comedy\n2\tunkonwn\tunkonwn\tunknown\n",
        "ml-100k.item",
        "utf-8",
    )
    assert u_item.sha256() == copied.sha256()  # the year that ends the title, not the date
    dat = parsers.SIDE_PARSERS["movies.dat"](b"7::Heat (1995)::Action|Crime\n", "movies.dat", "latin-1")
    assert dat.tags["genres"].values.tolist() == ["Action", "Crime"] and dat.number["year"].tolist() == [1995]
    dat = parsers.SIDE_PARSERS["users.dat"](b"1::F::1::10::48067\n", "users.dat", "latin-1")
    assert (dat.category["gender"][0], dat.number["age"][0], dat.category["postal_area"][0]) == ("F", 1, "4")


def test_any_recbole_table_becomes_features():
    side = parsers.SIDE_PARSERS["recbole.side"](
        b"item_id:token\tbrand:token\tprice:float\ttags:token_seq\nb\tx\t1.5\tred red big\na\ty\t\t\n",
        "my.item",
        "utf-8",
    )
    found = features(side, np.array(["a", "b"]))
    assert found.category["brand"].tolist() == [1, 0]
    assert np.isnan(found.number["price"][0]) and found.number["price"][1] == 1.5
    assert [row.tolist() for row in found.tags["tags"]] == [[], [0, 1]]


@pytest.mark.parametrize(
    ("parser", "body", "words"),
    [
        ("u.user", b"1|24|M|x\n", "line 1: 4 columns, expected 5"),
        ("u.user", b"1|old|M|x|y\n", "expected a number in every row"),
        ("u.user", b"1|2|M|x|y\n1|3|M|x|y\n", "1 has two rows"),
        ("movies.dat", b"\n", "line 1: 1 columns, expected 3|holds no rows"),
        ("u.item", b"1|T|d|v|a" + b"|2" * 19 + b"\n", "flag is neither 0 nor 1"),
        ("recbole.ml-100k.user", b"user_id:token\tage:token\n1\t2\n", "no column gender"),
    ],
)
def test_damaged_tables_are_refused(parser, body, words):
    with pytest.raises(DataError, match=words):
        parsers.SIDE_PARSERS[parser](body, "file", "utf-8")


def board(**changes: object) -> Benchmark:
    words = {
        "name": "made-up", "title": "T", "describe": "D", "dataset": "made-up", "version": 1,
        "split": {"name": "kfold", "n_folds": 2, "seed": 1, "folds": [0]}, "columns": ["value"], "order": "none",
        "features": ["users", "items"], "asks": {"rate": {"kind": "rate", "metrics": ["rmse"]}}, "seeds": 1,
        "time_limit_s": 1, "memory_limit_bytes": 1,
    }  # fmt: skip
    return Benchmark.model_validate(words | changes)


def rows() -> Raw:
    user, item = np.repeat([10, 20, 30, 40], 3), np.tile([1, 2, 3], 4)
    films = Side(np.array([3, 1]), number={"year": np.array([1999, 1980], np.float32)})
    return Raw(user, item, np.arange(12, dtype=np.float32) % 5, users=PEOPLE, items=films)


def test_a_question_carries_the_facts_under_its_own_numbers(tmp_path):
    (fold,) = prepare(board(), rows())
    users, ids = fold.question.train.users, fold.catalogue.user_ids
    job = {30: "nurse", 20: "cook"}
    for number, raw_id in enumerate(ids):
        code = users.category["job"][number]
        assert (users.labels["job"][code] if code >= 0 else None) == job.get(int(raw_id))
    years = dict(zip(fold.catalogue.item_ids.tolist(), fold.question.train.items.number["year"].tolist(), strict=True))
    assert (years[1], years[3]) == (1980, 1999) and np.isnan(years[2])
    write_question(fold.question, tmp_path / "q")
    back = read_question(tmp_path / "q")
    assert question_hash(back) == question_hash(fold.question)
    np.testing.assert_array_equal(back.train.users.category["job"], users.category["job"])
    assert back.train.items.tags == {} and back.train.users.labels["likes"].tolist() == ["jam", "tea"]


def test_facts_do_not_change_when_the_answers_are_replaced():
    raw = rows()
    (fold,) = prepare(board(), raw)
    other = raw.value.copy()
    (split,) = __import__("recarena.data.splits", fromlist=["kfold"]).kfold(raw, n_folds=2, seed=1, folds=[0])
    other[split.test.target] = 5 - other[split.test.target]
    (changed,) = prepare(board(), replace(raw, value=other))
    assert question_hash(changed.question) == question_hash(fold.question)


def test_without_features_a_question_is_what_it_was():
    (bare,) = prepare(board(features=[]), rows())
    assert bare.question.train.users is None and bare.question.train.items is None
    (same,) = prepare(board(features=[]), replace(rows(), users=None, items=None))
    assert question_hash(bare.question) == question_hash(same.question)


def test_a_benchmark_that_wants_facts_refuses_rows_without_them():
    with pytest.raises(DataError, match='features name "items"'):
        prepare(board(), replace(rows(), items=None))


@pytest.mark.skipif(mirror_folder() is None, reason="RECARENA_MIRROR is not set")
def test_every_rated_film_and_user_of_movielens_is_described():
    from pathlib import Path

    from recarena.data import interactions

    raw = interactions.load(load_dataset(Path(__file__).parents[1], "ml-1m"), needs={"users", "items"}).raw
    assert np.isin(raw.user, raw.users.ids).all() and np.isin(raw.item, raw.items.ids).all()
    with gzip.open(mirror_folder() / "ml-1m" / "users.dat.gz", "rt", encoding="latin-1") as lines:
        first = next(lines).split("::")
    assert raw.users.category["gender"][0] == first[1]
