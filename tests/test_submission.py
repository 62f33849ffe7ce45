"""Predictions only: what is written to take away, what is read back, what is refused, how the board marks it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile

import jsonschema
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT, SmallProject
from tests.test_runner import RATE, recarena
from tests.test_verify import played

from recarena.arena import handed_in
from recarena.arena.keeper import Keeper
from recarena.arena.published import export
from recarena.arena.submission import Submission, submit
from recarena.boards.render import as_json, markdown
from recarena.cli.project import Project
from recarena.contract.arrays import Ragged
from recarena.contract.errors import PredictionError, RecarenaError
from recarena.contract.folder import flatten, folder_hash, read_question
from recarena.contract.queries import RankQueries, RateQueries
from recarena.contract.ranking import top_k
from recarena.data.folders import load_benchmark
from recarena.data.prepare import open_benchmark
from recarena.judge import records


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A project with a keeper, and the questions of two tiny boards."""
    root = tmp_path_factory.mktemp("house") / "project"
    root.mkdir()
    project = SmallProject(root)
    with Keeper(root, project.cache) as keeper:
        yield project, keeper


def hand_in(house, name: str, path, who: str = "lee", **more):
    project, keeper = house
    benchmark, questions = load_benchmark(project.root, name), keeper.questions(name)
    return submit(Submission(path, who, "mf"), benchmark, questions, keeper, project.results, "c" * 40, False, **more)


def queries_of(project, name: str, fold: int = 0):
    _, folds = open_benchmark(project.root, name, cache=project.cache, say=lambda _: None)
    (queries,) = folds[fold].question.asks.values()
    return folds[fold], queries


def test_an_export_holds_the_question_to_the_byte_and_nothing_else(house, tmp_path):
    project, keeper = house
    for name in ("tiny-rate", "tiny-top-n", "tiny-detect"):
        questions = keeper.questions(name)
        folders = export(load_benchmark(project.root, name), questions, keeper, tmp_path / name)
        _, folds = open_benchmark(project.root, name, cache=project.cache, say=lambda _: None)
        assert [folder_hash(folder) for folder in folders] == [question.hash for question in questions]
        page = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        for folder, fold, question in zip(folders, folds, questions, strict=True):
            arrays = flatten(fold.question)[1]
            assert {path.name for path in folder.iterdir()} == {f"{array}.npy" for array in arrays} | {"question.json"}
            assert question.hash in page
            for ask in question.asks:
                assert f"`{handed_in.stem(question.fold, ask)}`" in page
        assert {path.name for path in (tmp_path / name).iterdir()} == {"README.md", *(one.name for one in folders)}
        with pytest.raises(RecarenaError, match="not an empty folder"):
            export(load_benchmark(project.root, name), questions, keeper, tmp_path / name)


def test_every_format_gets_the_numbers_that_the_same_predictions_get(house, tmp_path):
    project, _ = house
    _, queries = queries_of(project, "tiny-top-n")
    lists = top_k(np.random.default_rng(0).random((len(queries), queries.n_items)), queries)
    query, column = np.nonzero(lists >= 0)
    item, score = lists[query, column], -1.5 * column
    mixed = np.random.default_rng(1).permutation(len(query))
    np.save(tmp_path / "a.npy", lists)
    frames = {
        "b": {"query": query, "rank": column + 1, "item": item},
        "c": {"user": queries.user[query], "item": item, "score": score},
        "d": {"query": query, "item": item, "score": score},
    }
    for name, columns in frames.items():
        pl.DataFrame({key: value[mixed] for key, value in columns.items()}).write_parquet(tmp_path / f"{name}.parquet")
    lines = [f"{query[n]} Q0 {item[n]} 1 {score[n]} lee\n" for n in mixed]
    (tmp_path / "e.run").write_text("".join(lines))
    shas = set()
    for file in sorted(tmp_path.iterdir()):
        (record,), known = hand_in(house, "tiny-top-n", file, who=f"format_{file.stem}")
        assert not known and record.implementation.code == hashlib.sha256(file.read_bytes()).hexdigest()
        shas.add(record.values.sha256)
    assert len(shas) == 1


def test_ratings_by_pair_by_query_and_as_arrays_agree_over_folds(house, tmp_path):
    project, _ = house
    shas = []
    for form in ("npy", "pairs", "queries"):
        folder = tmp_path / form
        folder.mkdir()
        for number, name in enumerate(("fold-0", "fold-1")):
            _, queries = queries_of(project, "tiny-rate", number)
            rating = np.random.default_rng(number).uniform(1, 5, len(queries))
            mixed = np.random.default_rng(7).permutation(len(queries))
            if form == "npy":
                np.save(folder / f"{name}.rate.npy", rating)
            elif form == "pairs":
                columns = {"user": queries.user[mixed], "item": queries.item[mixed], "score": rating[mixed]}
                pl.DataFrame(columns).write_parquet(folder / f"{name}.rate.parquet")
            else:
                pl.DataFrame({"query": mixed, "score": rating[mixed]}).write_parquet(folder / f"{name}.rate.parquet")
        made, _ = hand_in(house, "tiny-rate", folder, who=f"form_{form}")
        assert [record.benchmark.fold for record in made] == ["fold-0", "fold-1"]
        assert len({record.implementation.code for record in made}) == 1
        shas.append([record.values.sha256 for record in made])
    assert shas[0] == shas[1] == shas[2]


def _npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _parquet(**columns) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escape.npy", b"x")
    return buffer.getvalue()


BAD = {
    "pickle.npy": (lambda _: _npy(np.array([print], dtype=object)), "dtype object"),
    "pickle.pkl": (lambda _: b"\x80\x04.", "pickles never read"),
    "archive.zip": (lambda _: _zip(), "archives are not unpacked"),
    "archive.npy": (lambda _: _zip(), "no readable .npy header"),
    "many.npy": (lambda _: b"\x93NUMPY" + bytes(10**6), "no honest answer"),
    "short.npy": (lambda q: _npy(np.zeros((len(q) - 1, q.k), int)), "1 missing"),
    "nan.npy": (lambda q: _npy(np.full((len(q), q.k), np.nan)), "dtype float64"),
    "beyond.npy": (lambda q: _npy(np.full((len(q), q.k), 10**6)), "expected ids from 0"),
    "twice.npy": (lambda q: _npy(np.zeros((len(q), q.k), int)), "returns item 0"),
    "lying.npy": (lambda q: _npy(np.zeros((len(q), q.k), int))[:-8], "was the writing cut off"),
    "empty.npy": (lambda _: b"", "no readable .npy header"),
    "text.parquet": (lambda _: b"PAR1 not really PAR1", "cannot be read as parquet"),
    "columns.parquet": (lambda _: _parquet(who=[1], item=[1]), "has columns item/who, expected query/rank/item"),
    "strings.parquet": (lambda _: _parquet(query=["0"], rank=[1], item=[1]), 'column "query" holds String'),
    "nulls.parquet": (lambda _: _parquet(query=[0, None], rank=[1, 2], item=[1, 2]), "1 empty cells"),
    "long.parquet": (
        lambda _: _parquet(query=[0] * 50_000, rank=list(range(50_000)), item=[1] * 50_000),
        "50,000 rows, expected at most 3",
    ),
    "deep.parquet": (lambda _: _parquet(query=[0] * 4, rank=[1, 2, 3, 4], item=[1, 2, 3, 4]), "lists 4 items"),
    "ranks.parquet": (
        lambda q: _parquet(query=np.arange(len(q)), rank=np.zeros(len(q), int), item=np.ones(len(q), int)),
        "expected 1, 2, 3",
    ),
    "strange.parquet": (lambda _: _parquet(query=[10**12], rank=[1], item=[1]), "is not asked about"),
    "infinite.parquet": (
        lambda q: _parquet(query=np.arange(len(q)), item=np.ones(len(q), int), score=np.full(len(q), np.inf)),
        "not finite",
    ),
    "missing.run": (lambda _: b"0 Q0 1 1 0.5 lee\n", "queries list nothing"),
    "columns.run": (lambda _: b"0 1 0.5\n", "line 1 is"),
    "ids.run": (lambda _: b"../../etc Q0 1 1 0.5 lee\n", "line 1 is"),
    "wide.run": (lambda _: b"0 Q0 1 1 0.5 " + b"x" * 3000, "line 1 is"),
    "binary.run": (lambda _: bytes(range(256)), "line 1 is"),
}


# every kind once through the whole way; the tables' other mistakes where they are found
WHOLE_WAY = [name for name in BAD if not name.endswith((".parquet", ".run"))] + [
    "text.parquet",
    "deep.parquet",
    "ids.run",
]


@pytest.mark.parametrize("name", WHOLE_WAY)
def test_a_bad_file_is_refused_with_its_reason_and_leaves_nothing(house, tmp_path, name):
    project, _ = house
    _, queries = queries_of(project, "tiny-top-n")
    make, said = BAD[name]
    (tmp_path / name).write_bytes(make(queries))
    with pytest.raises(PredictionError, match=said):
        hand_in(house, "tiny-top-n", tmp_path / name, who="bad")
    assert not list(project.results.glob("tiny-top-n/*bad*"))
    assert not list(tmp_path.parent.rglob("escape.npy"))


@pytest.mark.parametrize("name", [name for name in BAD if name not in WHOLE_WAY])
def test_a_bad_table_is_refused_with_its_reason(house, name):
    _, queries = queries_of(house[0], "tiny-top-n")
    make, said = BAD[name]
    with pytest.raises(PredictionError, match=said):
        handed_in.table_to_array(make(queries), f".{name.rpartition('.')[2]}", queries)


def test_links_pipes_folders_and_wrong_names_are_refused(house, tmp_path):
    project, _ = house
    _, queries = queries_of(project, "tiny-top-n")
    lists = top_k(np.arange(queries.n_items, dtype=float), queries)
    np.save(tmp_path / "real.npy", lists)
    (tmp_path / "link.npy").symlink_to("real.npy")
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder" / "top-n.npy").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "folder")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "top-n.npy").symlink_to(tmp_path / "real.npy")
    odd = tmp_path / "odd"
    odd.mkdir()
    np.save(odd / "topn.npy", lists)
    both = tmp_path / "both"
    both.mkdir()
    np.save(both / "top-n.npy", lists)
    (both / "top-n.run").write_text("0 Q0 1 1 1 lee\n")
    for path, said in {
        "link.npy": "is a link", "pipe.npy": "not there|plain file", "folder": "is a folder", "linked": "is a link",
        "inside": "is a link", "odd": 'did you mean "top-n"', "both": "hand in one of the two", "gone": "is not there",
    }.items():  # fmt: skip
        with pytest.raises(PredictionError, match=said):
            hand_in(house, "tiny-top-n", tmp_path / path, who="bad")
    with pytest.raises(PredictionError, match="2 folds; hand in a folder"):
        hand_in(house, "tiny-rate", tmp_path / "real.npy", who="bad")
    one = tmp_path / "one"
    one.mkdir()
    np.save(one / "fold-0.rate.npy", np.zeros(len(queries_of(project, "tiny-rate")[1])))
    with pytest.raises(PredictionError, match='no file for ask "rate" of fold "fold-1"'):
        hand_in(house, "tiny-rate", one, who="bad")
    assert not list(project.results.glob("*/*bad*"))


@pytest.mark.parametrize("who", ["Lee", "", "../lee", "lee.", "a+b", "é", "x" * 41, "1st"])
def test_a_name_that_could_not_be_a_row_is_refused(tmp_path, who):
    with pytest.raises(RecarenaError, match="use at most 40 lower-case letters"):
        Submission(tmp_path, who).check_names()
    with pytest.raises(RecarenaError, match="never handed in"):
        Submission(tmp_path, "lee", "baselines").check_names()


def test_a_reader_that_is_broken_by_a_file_is_a_refusal(monkeypatch, tmp_path):
    monkeypatch.setattr(handed_in, "_parse", _dies)
    with handed_in.parser() as parse, pytest.raises(PredictionError, match="broke its reader"):
        parse(b"", ".parquet", tmp_path, "rate", tmp_path / "out.npy")


def _dies(*_):
    os._exit(9)


def test_equal_scores_are_ordered_by_the_arenas_coin():
    history = Ragged.from_lists([[]] * 200)
    queries = RankQueries(None, history, None, None, k=4, n_items=4)
    query = np.repeat(np.arange(200), 4)
    item = np.tile(np.arange(4), 200)
    made = handed_in.lists({"query": query, "item": item, "score": np.zeros(800)}, queries)
    assert (made == top_k(np.zeros(4), queries)).all()
    first = np.bincount(made[:, 0], minlength=4)
    assert first.min() > 25, "a constant score lists every item first about 50 times"


@given(st.integers(1, 30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_rows_in_any_order_are_the_same_lists(n_queries, k, random):
    lists = np.array([random.sample(range(8), k) for _ in range(n_queries)])
    queries = RankQueries(None, Ragged.from_lists([[]] * n_queries), None, None, k=k, n_items=8)
    rows = [(q, c + 1, lists[q, c]) for q in range(n_queries) for c in range(k)]
    random.shuffle(rows)
    columns = dict(zip(("query", "rank", "item"), np.array(rows).T, strict=True))
    assert (handed_in.lists(columns, queries) == lists).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(0, 1, 3.0)], "has no score for 1 of 2 queries, the first is query 1 .user 5, item 2"),
        ([(0, 1, 3.0), (5, 2, 3.0), (5, 2, 4.0)], "user 5, item 2 more than once"),
        ([(0, 1, 3.0), (5, 2, 3.0), (1, 1, 3.0)], "user 1, item 1, which nobody asks about"),
        ([(0, 1, 3.0), (-5, 2, 3.0)], "no ids of the question"),
        ([(0, 1, 3.0), (5, 2**40, 3.0)], "no ids of the question"),
    ],
)
def test_pairs_that_do_not_fit_the_queries_are_named(rows, said):
    queries = RateQueries(np.array([0, 5]), np.array([1, 2]))
    user, item, score = zip(*rows, strict=True)
    with pytest.raises(PredictionError, match=said):
        handed_in.ratings({"user": np.array(user), "item": np.array(item), "score": np.array(score)}, queries)


def test_from_export_to_a_marked_row_on_the_board(project, tmp_path, monkeypatch):
    for name, folder in (("ROOT", project.root), ("CACHE", project.cache), ("RESULTS", project.results)):
        monkeypatch.setenv(f"RECARENA_{name}", str(folder))
    path = project.contender("mf/lee", RATE)
    played(project, "c" * 40)
    done = recarena(project, "question", "export", "tiny-rate", str(tmp_path / "question"))
    assert done.returncode == 0, done.stderr
    answers = tmp_path / "answers"
    answers.mkdir()
    for fold in ("fold-0", "fold-1"):
        question = read_question(tmp_path / "question" / fold)
        mean = question.train.interactions.value.mean()
        np.save(answers / f"{fold}.rate.npy", np.full(len(question.asks["rate"]), mean))
    done = recarena(project, "submit", "tiny-rate", str(answers), "--as", "lee", "--paper", "mf")
    assert done.returncode == 0, done.stdout + done.stderr

    folder = project.results / "tiny-rate"
    schema = json.loads((ROOT / "docs" / "record.schema.json").read_text())
    for file in folder.glob("mf.lee+predictions/*.json"):
        jsonschema.validate(json.loads(file.read_text()), schema)
        record, ran = records.read(file), records.read(folder / "mf.lee" / file.name)
        assert record.implementation.kind == "submission" and record.cost is None and record.isolation == "none"
        assert record.asks["rate"].metrics == pytest.approx(ran.asks["rate"].metrics, rel=1e-6)
        assert record.test_looks == 2, "the same person has been judged on this question with code before"
    page = (folder / "README.md").read_text()
    assert "mf/lee † " in page and "Predictions only, self-reported" in page and "| mf/lee " in page

    def board():
        house = Project()
        return house.board(load_benchmark(house.root, "tiny-rate"))

    rows = {row["implementation"]: row for row in as_json(board())[0]["rows"]}
    assert rows["mf/lee+predictions"]["evidence"] == "self-reported" and rows["mf/lee+predictions"]["cost"] is None
    assert rows["mf/lee"]["evidence"] == "runner-judged"

    # never stale by code, but by the version
    path.unlink()
    page = markdown(board())
    assert "mf/lee †" in page and "mf/lee: *stale: its file is gone*" in page
    recipe = project.root / "benchmarks" / "tiny-rate.toml"
    recipe.write_text(recipe.read_text().replace("version = 1", "version = 2"))
    assert "mf/lee+predictions: *stale: benchmark version 1" in markdown(board())


def test_the_same_files_again_change_nothing_and_others_only_when_told_to(house, tmp_path):
    project, _ = house
    _, queries = queries_of(project, "tiny-top-n")
    np.save(tmp_path / "a.npy", top_k(np.arange(queries.n_items, dtype=float), queries))
    np.save(tmp_path / "b.npy", top_k(-np.arange(queries.n_items, dtype=float), queries))
    (first,), _ = hand_in(house, "tiny-top-n", tmp_path / "a.npy", who="kim")
    assert hand_in(house, "tiny-top-n", tmp_path / "a.npy", who="kim") == ([first], True)
    with pytest.raises(RecarenaError, match="has handed in other predictions"):
        hand_in(house, "tiny-top-n", tmp_path / "b.npy", who="kim")
    (second,), _ = hand_in(house, "tiny-top-n", tmp_path / "b.npy", who="kim", replace=True)
    assert second.test_looks == 2 and second.key != first.key
    assert len(list(project.results.glob("tiny-top-n/mf.kim+predictions/*.npz"))) == 1
