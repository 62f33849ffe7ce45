"""The adapters of libraries that play on FM's boards: what they hand over and back, without the libraries.

Their own environments are built by the arena; here myFM and RecBole are stand-ins that keep what they are given.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from tests.conftest import ROOT, load_class

from recarena import Features, Interactions, Ragged, RateQueries, Run, Skip, Train
from recarena.arena.discovery import read
from recarena.contract.answers import RateAnswers
from recarena.contract.validation import ValidationAsk
from recarena.contract.worker import load_module

FM = ROOT / "reproductions" / "fm"


def ints(*values):
    return np.array(values, np.int32)


def question(*value, time=None):
    """Three users and four items with one fact of each kind; nobody has met item 3, nor user 2 anything."""
    events = Interactions(ints(0, 0, 1), ints(0, 2, 1), np.array(value, np.float32), time, 3, 4)
    users = Features({"gender": ints(1, 0, -1)}, number={"age": np.array([25, 56, np.nan], np.float32)})
    genres = Ragged.from_lists([[0, 2], [], [1], [2]])
    items = Features({"studio": ints(0, 1, 0, 1)}, {"genres": genres}, labels={"genres": np.array(["a", "b", "c"])})
    held = ValidationAsk(RateQueries(ints(1, 0), ints(0, 3)), RateAnswers(np.array([1, 0], np.float32)), "auc")
    return Train(events, {"ctr": held}, users, items)


class Learner:
    """In the place of both of myFM's learners."""

    made: ClassVar[list[Learner]] = []

    def __init__(self, **settings):
        self.settings = settings
        self.made.append(self)

    def fit(self, x, y, X_rel, **settings):
        self.x, self.y, self.blocks, self.settings = x, y, X_rel, self.settings | settings
        for sweep in range(settings["n_iter"]):
            assert settings["callback"](sweep, None, None, None) == (False, None)
        return self

    def predict(self, x, blocks, n_workers):
        self.asked, self.n_workers = x, n_workers
        return np.linspace(-7, 7, len(blocks[0].row) if x is None else x.shape[0])

    predict_proba = predict


@pytest.fixture
def myfm(monkeypatch):
    """Return the adapter's class, over learners that keep what they are given."""
    kinds = {
        "MyFMGibbsRegressor": type("Regressor", (Learner,), {}),
        "MyFMGibbsClassifier": type("Yes", (Learner,), {}),
    }
    block = {"RelationBlock": lambda row, table: SimpleNamespace(row=row, table=table)}
    monkeypatch.setattr(Learner, "made", [])
    monkeypatch.setitem(sys.modules, "myfm", SimpleNamespace(**kinds, **block))
    return load_class("fm", "myfm_peer")


def test_myfm_gets_one_hot_users_and_items_as_two_groups(myfm):
    model = myfm(n_factors=7, n_sweeps=20, burn_in=5)
    model.fit(question(5, 1, 3), Run(11, threads=2))
    (learner,) = Learner.made
    assert type(learner).__name__ == "Regressor"
    #          users     items
    expected = [[1, 0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 1, 0, 0]]
    assert learner.x.toarray().tolist() == expected
    assert learner.y.tolist() == [5, 1, 3]
    assert learner.blocks == []
    asked = {"rank": 7, "random_seed": 11, "n_iter": 20, "n_kept_samples": 15, "group_shapes": [3, 4]}
    assert learner.settings.items() >= asked.items()
    assert model.n_parameters == 1 + 8 * 7

    guess = model.rate(RateQueries(ints(2, 1, 0), ints(3, 3, 3)))
    assert learner.asked.toarray()[0].tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert guess.tolist() == [1, 1, 5], "-7, 0 and 7 are off the scale"
    assert learner.n_workers == 2


def test_myfm_gets_rich_blocks_once_a_user_and_item(myfm):
    families = ("user", "gender", "item", "genres", "rated_by", "day")
    day = 86_400
    train = question(5, 1, 3, time=np.array([9 * day, 9 * day + 5, 4 * day]))
    model = myfm(families=families, n_sweeps=8, burn_in=5)
    model.fit(train, Run(0))
    (learner,) = Learner.made
    assert learner.x.toarray().tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]], "days 4 and 9, and any other"
    user, item = learner.blocks
    assert user.row.tolist() == [0, 0, 1]
    assert user.table.toarray().tolist() == [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]]
    assert item.row.tolist() == [0, 2, 1]
    assert item.table.shape == (4, 4 + 3 + 3)
    assert item.table.toarray()[0].tolist() == [1, 0, 0, 0, 1, 0, 1, 1, 0, 0]
    assert learner.settings["group_shapes"] == [3, 3, 2, 4, 3, 3], "x first, then block by block"
    model.rate(RateQueries(ints(1), ints(3), np.array([77 * day])))
    assert learner.asked.toarray().tolist() == [[0, 0, 1]]


def test_myfm_answers_labels_by_probit(myfm):
    model = myfm(n_sweeps=6, burn_in=5)
    model.fit(question(1, 0, 1), Run(0))
    assert type(Learner.made[0]).__name__ == "Yes"
    assert model.rate(RateQueries(ints(0, 1), ints(3, 3))).tolist() == [0, 1]


def test_myfm_does_not_play_where_there_are_no_ratings(myfm):
    nothing = Interactions(ints(0), ints(0), None, None, 1, 1)
    with pytest.raises(Skip, match="no ratings"):
        myfm().fit(Train(nothing), Run(0))


@pytest.fixture(scope="module")
def recbole_files():
    return load_module(FM / "_recbole_files.py", "contender.fm._recbole_files")


def test_a_question_as_recboles_files(recbole_files, tmp_path):
    columns = recbole_files.write(question(1, 0, 1), tmp_path / "question")

    def table(name):
        return [line.split("\t") for line in (tmp_path / "question" / f"question.{name}").read_text().splitlines()]

    head = ["user_id:token", "item_id:token", "label:float"]
    assert table("train.inter") == [head, ["0", "0", "1.0"], ["0", "2", "0.0"], ["1", "1", "1.0"]]
    assert table("validation.inter") == [head, ["1", "0", "1.0"], ["0", "3", "0.0"]]
    assert table("again.inter") == [head, ["1", "0", "1.0"]], "no row of the test, whose labels nobody has"
    user_head = ["user_id:token", "gender:token", "age:token"]
    assert table("user") == [user_head, ["0", "1", "25"], ["1", "0", "56"], ["2", "", ""]]
    assert table("item") == [["item_id:token", "genres:token_seq"], ["0", "0 2"], ["1", ""], ["2", "1"], ["3", "2"]]
    assert columns == {
        "inter": ["user_id", "item_id", "label"],
        "user": ["user_id", "gender", "age"],
        "item": ["item_id", "genres"],
    }


def test_ids_in_recboles_numbering(recbole_files):
    token_id = {"[PAD]": 0, "2": 1, "0": 2, "1": 3}  # by appearance
    assert recbole_files.numbers(token_id, ints(0, 1, 2, 0)).tolist() == [2, 3, 1, 2]


@pytest.mark.parametrize("name", ["myfm_peer", "recbole_peer"])
def test_peers_have_a_pinned_environment_of_their_own(name):
    who = read(FM / f"{name}.py")
    assert who.kind == "peer"
    assert who.kinds == {"rate"}
    assert who.script is not None
    loose = [one for one in who.script["dependencies"] if "==" not in one and not one.startswith("setuptools")]
    assert loose == []
    assert any(one.startswith("setuptools") and "<81" in one for one in who.script["dependencies"]), "pkg_resources"


@pytest.mark.parametrize(
    ("mine", "speed"), [("myfm_peer", "myfm_peer"), ("recbole_peer", "recbole_fm_peer")], ids=["myfm", "recbole"]
)
def test_boards_and_speed_suite_share_an_environment(mine, speed):
    from recarena.arena.discovery import script_block

    other = ROOT / "benchmarks" / "speed" / "peers" / f"{speed}.py"
    assert read(FM / f"{mine}.py").script == script_block(other.read_text(encoding="utf-8"), speed)
