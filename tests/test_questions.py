"""Law 1, from data to question: nothing that is held out shows in what an implementation may see."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from recarena.contract.answers import RateAnswers
from recarena.contract.errors import DataError
from recarena.contract.folder import question_hash
from recarena.data import prepare as room
from recarena.data.folders import benchmark_names
from recarena.data.prepare import Prepared, prepare
from recarena.data.raw import Raw
from recarena.data.recipes import Benchmark
from recarena.data.splits import SPLITS

ROOT = Path(__file__).parents[1]
RATE = {"rate": {"kind": "rate", "metrics": ["rmse"]}}

SPLIT_RECIPES = {
    "official_folds": {"name": "official_folds", "n_folds": 5},
    "kfold": {"name": "kfold", "n_folds": 4, "seed": 42, "folds": [0, 2]},
    "per_user_ratio": {"name": "per_user_ratio", "ratios": [0.6, 0.2, 0.2], "seed": 1},
    "leave_last_out": {"name": "leave_last_out"},
    "held_out_users": {"name": "held_out_users", "n_validation": 3, "n_test": 3},
}


def board(split: str, **changes: object) -> Benchmark:
    rank = {"top-n": {"kind": "rank", "metrics": ["ndcg@3"], "k": 3, "exclude": "history+validation"}}
    rates = split in {"official_folds", "kfold"}
    words = {
        "name": f"made-up-{split}",
        "title": "T",
        "describe": "D",
        "dataset": "made-up",
        "version": 1,
        "split": SPLIT_RECIPES[split],
        "columns": ["value", "time"] if rates else [],
        "order": "time" if split == "leave_last_out" else "none",
        "asks": RATE if rates else rank,
        "seeds": 1,
        "time_limit_s": 1,
        "memory_limit_bytes": 1,
    }
    return Benchmark.model_validate(words | changes)


def made_up(seed: int, n_users: int = 14, n_items: int = 12, per_user: int = 8) -> Raw:
    """Users with 5 to ``per_user`` rows each; raw ids with gaps, rows in any order, times with ties."""
    rng = np.random.default_rng(seed)
    pairs = []
    for u in range(n_users):
        items = rng.choice(n_items, size=rng.integers(5, per_user + 1), replace=False)
        pairs += [(u * 3 + 5, int(i) * 2 + 1) for i in items]
    rng.shuffle(pairs)
    pairs = pairs[: len(pairs) - len(pairs) % 5]
    user, item = np.array(pairs).T
    value = rng.integers(1, 6, len(user)).astype(np.float32)
    return Raw(user, item, value, time=rng.integers(0, 40, len(user)))


def targets(benchmark: Benchmark, raw: Raw) -> list[np.ndarray]:
    settings_ = benchmark.split.model_dump(exclude={"name"})
    return [split.test.target for split in SPLITS[benchmark.split.name](raw, **settings_)]


def answer_items(prepared: Prepared) -> list[list[int]]:
    return [row.tolist() for row in prepared.answers["top-n"].relevant]


def test_every_split_is_tested_here():
    assert set(SPLIT_RECIPES) == set(SPLITS)


@pytest.mark.parametrize("name", ["official_folds", "kfold"])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rate_question_does_not_know_the_held_out_ratings(name, seed):
    benchmark, raw = board(name), made_up(seed)
    for fold, target in enumerate(targets(benchmark, raw)):
        value = raw.value.copy()
        value[target] = 6 - value[target] + 0.5
        other = Raw(raw.user, raw.item, value, raw.time)
        one, two = prepare(benchmark, raw)[fold], prepare(benchmark, other)[fold]
        assert question_hash(one.question) == question_hash(two.question)
        assert one.answers["rate"].value.tolist() != two.answers["rate"].value.tolist()


@pytest.mark.parametrize("name", ["per_user_ratio", "leave_last_out", "held_out_users"])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rank_question_does_not_know_the_held_out_items(name, seed):
    # The held-out items of the test change places, so that the catalogue and its counts stay what they are.
    benchmark, raw = board(name), made_up(seed)
    (target,) = targets(benchmark, raw)
    item, value = raw.item.copy(), raw.value.copy()
    item[target] = np.roll(item[target], 1)
    value[target] = 6 - value[target]
    (one,), (two,) = prepare(benchmark, raw), prepare(benchmark, Raw(raw.user, item, value, raw.time))
    assert question_hash(one.question) == question_hash(two.question)
    if len(set(raw.item[target])) == len(target) > 1:
        assert answer_items(one) != answer_items(two)


@pytest.mark.parametrize("name", SPLIT_RECIPES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_question_and_its_answers_hold_every_row_once(name, seed):
    benchmark, raw = board(name), made_up(seed)
    for prepared in prepare(benchmark, raw):
        check_shape(benchmark, prepared)
        question = prepared.question
        n = len(question.train.interactions) + sum(prepared.dropped.values())
        asks = [(question.asks[a], prepared.answers[a]) for a in question.asks]
        asks += [(v.queries, v.answers) for v in question.train.validation.values()]
        for queries, answers in asks:
            n += len(answers) if isinstance(answers, RateAnswers) else len(answers.relevant.values)
            if name == "held_out_users":
                n += len(queries.history.values)
        assert n == len(raw)


def check_shape(benchmark: Benchmark, prepared: Prepared) -> None:
    """What questions.py promises: types, ranges, sorted rows, no empty answer."""
    question, train = prepared.question, prepared.question.train.interactions
    assert (train.user.dtype, train.item.dtype) == (np.int32, np.int32)
    assert (len(prepared.catalogue.user_ids), len(prepared.catalogue.item_ids)) == (train.n_users, train.n_items)
    assert 0 <= train.user.min() <= train.user.max() < train.n_users
    assert 0 <= train.item.min() <= train.item.max() < train.n_items
    assert (np.diff(train.user) >= 0).all()
    assert (train.value is None) == ("value" not in benchmark.columns)
    assert (train.time is None) == ("time" not in benchmark.columns)
    if train.value is not None:
        assert train.value.dtype == np.float32
    if benchmark.order == "none":
        assert (np.diff(train.user.astype(np.int64) * train.n_items + train.item) > 0).all()
    pairs = [(question.asks[a], prepared.answers[a], benchmark.asks[a]) for a in benchmark.asks]
    pairs += [(v.queries, v.answers, benchmark.asks[a]) for a, v in question.train.validation.items()]
    for queries, answers, ask in pairs:
        assert len(queries) == len(answers) > 0
        if ask.kind == "rate":
            assert (np.diff(queries.user.astype(np.int64) * train.n_items + queries.item) > 0).all()
            assert (queries.time is None) == ("time" not in benchmark.columns)
            continue
        assert (queries.k, queries.n_items, queries.candidates) == (ask.k, train.n_items, None)
        assert queries.history.values.dtype == answers.relevant.values.dtype == np.int32
        assert queries.history.offsets.dtype == np.int64
        assert (answers.relevant.lengths > 0).all()
        if queries.user is not None:
            assert (np.diff(queries.user) > 0).all()
        for row in range(len(queries)):
            seen = queries.exclude[row] if queries.exclude is not None else []
            assert not set(answers.relevant[row]) & set(seen)
            if benchmark.order == "none":
                assert (np.diff(queries.history[row]) > 0).all()


@pytest.mark.parametrize("name", [n for n in benchmark_names(ROOT) if n.startswith("tiny-")])
def test_the_tiny_boards_can_be_played(name):
    benchmark, folds = room.open_benchmark(ROOT, name)
    for prepared in folds:
        check_shape(benchmark, prepared)
        assert prepared.question.train.validation.keys() == (
            set() if "rate" in benchmark.asks else benchmark.asks.keys()
        )
    assert room.availability(ROOT, name).state == "ready"


def test_folds_cannot_be_joined_by_their_numbers():
    one, two = prepare(board("kfold"), made_up(0))
    for mine, other in (
        (one.catalogue.user_ids, two.catalogue.user_ids),
        (one.catalogue.item_ids, two.catalogue.item_ids),
    ):
        assert mine.tolist() != other.tolist()
        assert sorted(mine) == sorted(other), "the catalogue is the same"


def test_the_numbers_are_the_raw_rows():
    benchmark, raw = board("per_user_ratio", columns=["value", "time"]), made_up(0)
    (prepared,) = prepare(benchmark, raw)
    train, catalogue = prepared.question.train.interactions, prepared.catalogue
    (split,) = SPLITS["per_user_ratio"](raw, ratios=[0.6, 0.2, 0.2], seed=1)
    ours = zip(catalogue.user_ids[train.user], catalogue.item_ids[train.item], train.value, train.time, strict=True)
    rows = split.train
    assert set(ours) == set(zip(raw.user[rows], raw.item[rows], raw.value[rows], raw.time[rows], strict=True))
    for row, user in enumerate(prepared.question.asks["top-n"].user):
        mine = split.test.target[raw.user[split.test.target] == catalogue.user_ids[user]]
        assert set(catalogue.item_ids[prepared.answers["top-n"].relevant[row]]) == set(raw.item[mine])


def test_histories_are_oldest_first_and_take_in_the_validation_item():
    user = np.array([9, 9, 9, 9, 4, 4, 4])
    raw = Raw(user, np.array([1, 2, 3, 4, 2, 3, 1]), np.ones(7, np.float32), time=np.array([4, 2, 8, 6, 7, 1, 9]))
    (prepared,) = prepare(board("leave_last_out"), raw)
    queries, validation = prepared.question.asks["top-n"], prepared.question.train.validation["top-n"]
    catalogue = prepared.catalogue
    by_user = {
        int(catalogue.user_ids[u]): catalogue.item_ids[queries.history[r]].tolist() for r, u in enumerate(queries.user)
    }
    assert by_user == {9: [2, 1, 4], 4: [3, 2]}
    assert [catalogue.item_ids[i].tolist() for i in validation.queries.history] == (
        [[2, 1], [3]] if catalogue.user_ids[0] == 9 else [[3], [2, 1]]
    )
    assert queries.exclude is queries.history
    train = prepared.question.train.interactions
    assert catalogue.item_ids[train.histories()[int(np.argmax(catalogue.user_ids == 9))]].tolist() == [2, 1]


def test_times_and_an_order_with_gaps_on_rare_items_give_the_same_question():
    # what the official file and the mirror of MovieLens 1M give: the filter drops exactly the rows without a place
    timed = made_up(6, n_users=30, n_items=40)
    order = np.empty(len(timed), dtype=np.int64)
    order[np.lexsort((timed.time, timed.user))] = np.arange(len(timed))
    count = np.bincount(timed.item)[timed.item]
    assert (count < 5).any()
    ordered = Raw(timed.user, timed.item, timed.value, order=np.where(count < 5, -1, order))
    benchmark = board("leave_last_out", filters=[{"keep": "items", "rows_at_least": 5, "repeat": False}])
    (one,), (two,) = prepare(benchmark, timed), prepare(benchmark, ordered)
    assert question_hash(one.question) == question_hash(two.question)
    assert answer_items(one) == answer_items(two)


@pytest.mark.parametrize(
    ("exclude", "lengths"), [("nothing", None), ("history", [6] * 4), ("history+validation", [8] * 4)]
)
def test_exclude_is_what_the_recipe_says(exclude, lengths):
    n_users = 4
    user, item = np.divmod(np.arange(n_users * 10), 10)
    raw = Raw(user, item, np.ones(len(user), np.float32))
    asks = {"top-n": {"kind": "rank", "metrics": ["ndcg@3"], "k": 3, "exclude": exclude}}
    (prepared,) = prepare(board("per_user_ratio", asks=asks), raw)
    queries = prepared.question.asks["top-n"]
    assert (queries.exclude is queries.history) == (exclude == "history")
    assert (queries.exclude.lengths.tolist() if queries.exclude else None) == lengths
    checked = prepared.question.train.validation["top-n"].queries
    assert checked.exclude is (None if exclude == "nothing" else checked.history)  # nothing was seen later


def test_held_out_users_are_nobody():
    (prepared,) = prepare(board("held_out_users"), made_up(1))
    for queries in (prepared.question.asks["top-n"], prepared.question.train.validation["top-n"].queries):
        assert queries.user is None
    assert prepared.question.train.interactions.n_users == 14 - 6


def test_validation_carries_the_first_metric():
    (prepared,) = prepare(board("leave_last_out"), made_up(2))
    assert prepared.question.train.validation["top-n"].metric == "ndcg@3"


@pytest.mark.parametrize("name", ["kfold", "per_user_ratio", "held_out_users"])
def test_a_number_says_nothing_about_popularity_or_the_raw_id_or_the_file(name):
    rng = np.random.default_rng(5)
    n_users, n_items, n = 3000, 2000, 60_000
    popularity = 1 / np.arange(1, n_items + 1)  # the raw id is the rank in popularity, the worst case
    pairs = np.unique(
        np.column_stack(
            [np.sort(rng.integers(0, n_users, n)), rng.choice(n_items, size=n, p=popularity / popularity.sum())]
        ),
        axis=0,
    )
    raw = Raw(pairs[:, 0], pairs[:, 1], np.ones(len(pairs), np.float32), time=np.arange(len(pairs)))
    raw = raw.take(np.arange(len(raw) - len(raw) % 5))
    prepared = prepare(board(name), raw)[0]
    for ids, column in ((prepared.catalogue.item_ids, raw.item), (prepared.catalogue.user_ids, raw.user)):
        known, first, count = np.unique(column, return_index=True, return_counts=True)
        place = np.searchsorted(known, ids)
        for what in (ids, first[place], count[place]):
            # under a random numbering the correlation has standard deviation 1 / sqrt(n)
            assert abs(spearmanr(np.arange(len(ids)), what).statistic) < 4 / np.sqrt(len(ids))


def test_the_numbering_hangs_on_the_benchmark_and_its_version_only():
    raw = made_up(3)
    ids = [
        prepare(board("kfold", **changes), raw)[0].catalogue.item_ids.tolist()
        for changes in ({}, {"title": "other", "seeds": 3}, {"version": 2}, {"name": "other"})
    ]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2] != ids[3] != ids[0]


def test_what_the_rows_lack_is_named():
    raw = made_up(4)
    bare = Raw(raw.user, raw.item, raw.value)
    with pytest.raises(DataError, match=r'benchmarks/made-up-kfold.toml: columns name "time", but these rows have no'):
        prepare(board("kfold"), bare)
    with pytest.raises(DataError, match=r"benchmarks/made-up-leave_last_out.toml: .*no chronological order"):
        prepare(board("leave_last_out"), bare)
    two_each = Raw(np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2]), np.ones(4, np.float32), time=np.arange(4))
    with pytest.raises(DataError, match="leaves nothing to ask"):
        prepare(board("leave_last_out"), two_each)


# --- the published data, where a mirror is set --------------------------------------------------------------------

# users, items, training rows, queries, held-out rows
PUBLISHED = {
    "ml-100k-rate": (943, 1682, 80_000, 20_000, 20_000),
    "ml-100k-top-n": (943, 1682, 80_808, 943, 9_596),
    "ml-100k-strong": (738, 1415, 43_606, 100, 1_105),
    "ml-100k-next": (943, 1682, 98_114, 943, 943),
    "ml-1m-rate": (6040, 3706, 900_188, 100_021, 100_021),
    "ml-1m-strong": (5034, 3502, 480_438, 500, 8_582),
    "ml-1m-next": (6040, 3416, 987_531, 6040, 6040),
}


@pytest.mark.skipif("RECARENA_MIRROR" not in os.environ, reason="RECARENA_MIRROR is not set")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_boards_have_these_sizes(name, tmp_path):
    benchmark, folds = room.open_benchmark(ROOT, name, cache=tmp_path, say=lambda _: None)
    (ask,) = benchmark.asks
    for prepared in folds:
        train, queries, answers = (
            prepared.question.train.interactions,
            prepared.question.asks[ask],
            prepared.answers[ask],
        )
        held = len(answers) if isinstance(answers, RateAnswers) else len(answers.relevant.values)
        assert (train.n_users, train.n_items, len(train), len(queries), held) == PUBLISHED[name]
    assert [fold.name for fold in folds] == (
        ["u1", "u2", "u3", "u4", "u5"] if name == "ml-100k-rate" else ["fold-0"] if name == "ml-1m-rate" else [""]
    )
    if name == "ml-100k-rate":  # together the five folds ask for every rating once
        assert sum(len(fold.answers["rate"]) for fold in folds) == 100_000


def test_every_published_board_has_its_sizes_here():
    assert set(PUBLISHED) == {n for n in benchmark_names(ROOT) if not n.startswith("tiny-")}
