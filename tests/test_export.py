"""Files for other tools are read back by those tools, and by us."""

from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
import ranx

from recarena.contract.answers import RankAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.data import export
from recarena.data.parsers import PARSERS
from recarena.data.prepare import open_benchmark
from recarena.data.raw import Raw

ROOT = Path(__file__).parents[1]


def read(path: Path) -> Raw:
    return PARSERS["recbole.inter"](path.read_bytes(), path.name, "utf-8")


def test_an_inter_file_is_read_back_as_it_was(tmp_path):
    raw = Raw(np.array([3, 1]), np.array(["x", "é y"]), np.array([4.5, 2], np.float32), time=np.array([10, 1500000000]))
    path = export.write_inter(tmp_path / "new" / "x.inter", raw)
    assert path.read_text().splitlines()[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    assert read(path).sha256() == raw.sha256()
    assert read(path).time.tolist() == [10, 1500000000]
    bare = Raw(raw.user, raw.item)
    assert read(export.write_inter(tmp_path / "y.inter", bare)).value is None
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["x.inter", "y.inter"]
    with pytest.raises(DataError, match="holds a tab"):
        export.write_inter(tmp_path / "z.inter", Raw(raw.user, np.array(["a\tb", "c"])))


def test_qrels_and_runs_are_read_by_ranx_and_pytrec_eval(tmp_path):
    answers = RankAnswers(Ragged.from_lists([[4, 9], [7]]))
    items = np.array([[9, 1, 4], [2, 7, -1]])
    qrels = export.write_qrels(tmp_path / "q.txt", answers)
    run = export.write_run(tmp_path / "r.txt", items, tag="mf.ada")
    wanted = {"0": {"4": 1, "9": 1}, "1": {"7": 1}}
    with qrels.open() as file:
        assert pytrec_eval.parse_qrel(file) == wanted
    assert ranx.Qrels.from_file(str(qrels), kind="trec").to_dict() == wanted
    with run.open() as file:
        assert pytrec_eval.parse_run(file) == {"0": {"9": 3, "1": 2, "4": 1}, "1": {"2": 3, "7": 2}}
    found = ranx.Run.from_file(str(run), kind="trec").to_dict()
    assert [list(found[q]) for q in ("0", "1")] == [["9", "1", "4"], ["2", "7"]]
    assert run.read_text().splitlines()[0] == "0 Q0 9 1 3 mf.ada"
    for bad, message in (({"tag": "two words"}, "expected one word"), ({"items": items[0]}, "expected .queries, k.")):
        with pytest.raises(DataError, match=message):
            export.write_run(tmp_path / "b.txt", **{"items": items, **bad})


def test_a_benchmark_becomes_recboles_three_files(tmp_path):
    _, (fold,) = open_benchmark(ROOT, "tiny-next", cache=tmp_path / "cache")
    ask = next(iter(fold.question.asks))
    paths = export.write_benchmark(tmp_path / "tiny", "tiny", fold, ask)
    assert [path.name for path in paths] == ["tiny.train.inter", "tiny.valid.inter", "tiny.test.inter"]
    train, valid, test = (read(path) for path in paths)
    assert (len(valid), len(test)) == (8, 8)  # one each of eight users
    assert len(train) == 56 - 16
    pairs = [set(zip(part.user.tolist(), part.item.tolist(), strict=True)) for part in (train, valid, test)]
    assert len(set.union(*pairs)) == 56
    # raw ids: user 22's rows by time end with 206, 205, 202
    assert [(22, item) in part for part, item in zip(pairs, (206, 205, 202), strict=True)] == [True] * 3


def test_a_rating_benchmark_keeps_its_ratings(tmp_path):
    _, folds = open_benchmark(ROOT, "tiny-rate", cache=tmp_path / "cache")
    ask = next(iter(folds[0].question.asks))
    paths = export.write_benchmark(tmp_path, "t", folds[0], ask)
    assert sum(len(read(path)) for path in paths) == 56
    assert read(paths[-1]).value is not None
    with pytest.raises(DataError, match='there is no ask "x"'):
        export.write_benchmark(tmp_path, "t", folds[0], "x")


def test_held_out_users_cannot_be_said_in_recboles_files(tmp_path):
    _, (fold,) = open_benchmark(ROOT, "tiny-strong", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="held out of training, and RecBole has no such split"):
        export.write_benchmark(tmp_path / "out", "t", fold, next(iter(fold.question.asks)))
    assert not (tmp_path / "out").exists()
