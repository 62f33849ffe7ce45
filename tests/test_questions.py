"""Law 1, from data to question: nothing that is held out shows in what an implementation may see."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from recarena.contract.answers import RateAnswers
from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.contract.folder import question_hash
from recarena.data import interactions
from recarena.data import prepare as room
from recarena.data.folders import benchmark_names, load_dataset
from recarena.data.prepare import Prepared, prepare
from recarena.data.raw import Candidates, Raw
from recarena.data.recipes import Benchmark
from recarena.data.splits import SPLITS

ROOT = Path(__file__).parents[1]
RATE = {"rate": {"kind": "rate", "metrics": ["rmse"]}}

SPLIT_RECIPES = {
    "official_folds": {"name": "official_folds", "n_folds": 5},
    "kfold": {"name": "kfold", "n_folds": 4, "seed": 42, "folds": [0, 2]},
    "per_user_ratio": {"name": "per_user_ratio", "ratios": [0.6, 0.2, 0.2], "seed": 1},
    "row_ratio": {"name": "row_ratio", "ratios": [0.6, 0.2, 0.2], "seed": 1},
    "leave_last_out": {"name": "leave_last_out"},
    "held_out_users": {"name": "held_out_users", "n_validation": 3, "n_test": 3},
    "activity_shift": {"name": "activity_shift", "n_validation": 5},
    "official_files": {"name": "official_files"},
    "sampled_candidates": {"name": "sampled_candidates"},
    "global_time": {"name": "global_time", "train_fraction": 0.6, "validation_fraction": 0.2},
}


def board(split: str, **changes: object) -> Benchmark:
    exclude = "nothing" if split == "sampled_candidates" else "history+validation"
    rank = {"top-n": {"kind": "rank", "metrics": ["ndcg@3"], "k": 3, "exclude": exclude}}
    rates = split in {"official_folds", "kfold", "row_ratio"}
    words = {
        "name": f"made-up-{split}",
        "title": "T",
        "describe": "D",
        "dataset": "made-up",
        "version": 1,
        "split": SPLIT_RECIPES[split],
        "columns": ["value", "time"] if rates else [],
        "order": "time" if split in {"leave_last_out", "global_time"} else "none",
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
    time = rng.integers(0, 40, len(user))
    # as if authors had divided the rows and frozen four items, of which one may be the target, for each user
    part = rng.choice(np.array([0, 0, 0, 1, 2], np.int8), len(user))
    return Raw(user, item, value, time=time, part=part)


def with_candidates(raw: Raw, seed: int) -> Raw:
    """As if authors had held out one row of each user and frozen three or four items, sometimes the target too."""
    rng = np.random.default_rng(seed)
    users, first = np.unique(raw.user, return_index=True)
    part = np.zeros(len(raw), dtype=np.int8)
    part[first] = 2
    rows = [rng.choice(np.unique(raw.item), size=rng.integers(3, 5)).tolist() for _ in users]  # with repeats
    return replace(raw, part=part, candidates=Candidates(users, Ragged.from_lists(rows)))


def made_up_for(split: str, seed: int) -> Raw:
    if split == "activity_shift":  # enough users that each half knows every item
        return made_up(seed, n_users=60)
    return with_candidates(made_up(seed), seed) if split == "sampled_candidates" else made_up(seed)


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
        other = replace(raw, value=value)
        one, two = prepare(benchmark, raw)[fold], prepare(benchmark, other)[fold]
        assert question_hash(one.question) == question_hash(two.question)
        assert one.answers["rate"].value.tolist() != two.answers["rate"].value.tolist()


@pytest.mark.parametrize(
    "name", ["per_user_ratio", "leave_last_out", "held_out_users", "official_files", "global_time"]
)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rank_question_does_not_know_the_held_out_items(name, seed):
    # The held-out items of the test change places, so that the catalogue and its counts stay what they are.
    benchmark, raw = board(name), made_up(seed)
    (target,) = targets(benchmark, raw)
    item, value = raw.item.copy(), raw.value.copy()
    item[target] = np.roll(item[target], 1)
    value[target] = 6 - value[target]
    (one,), (two,) = prepare(benchmark, raw), prepare(benchmark, replace(raw, item=item, value=value))
    assert question_hash(one.question) == question_hash(two.question)
    if len(set(raw.item[target])) == len(target) > 1:
        assert answer_items(one) != answer_items(two)


@pytest.mark.parametrize("name", SPLIT_RECIPES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_question_and_its_answers_hold_every_row_once(name, seed):
    benchmark, raw = board(name), made_up_for(name, seed)
    for prepared in prepare(benchmark, raw):
        check_shape(benchmark, prepared)
        question = prepared.question
        n = len(question.train.interactions) + sum(prepared.dropped.values())
        asks = [(question.asks[a], prepared.answers[a]) for a in question.asks]
        asks += [(v.queries, v.answers) for v in question.train.validation.values()]
        for queries, answers in asks:
            n += len(answers) if isinstance(answers, RateAnswers) else len(answers.relevant.values)
            if name in {"held_out_users", "activity_shift"}:
                n += len(queries.history.values)
        assert n == len(raw)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_question_does_not_know_which_candidate_is_the_target(seed):
    benchmark, rng = board("sampled_candidates"), np.random.default_rng(seed)
    raw = with_candidates(made_up(seed), seed)
    (test,) = targets(benchmark, raw)
    test = test[np.argsort(raw.user[test])]
    negatives = np.array([rng.choice(np.setdiff1d(raw.item, raw.item[row]), 4, replace=False) for row in test])
    item, swapped = raw.item.copy(), negatives.copy()
    which = rng.integers(0, 4, len(test))  # in every list another place
    item[test], swapped[np.arange(len(test)), which] = negatives[np.arange(len(test)), which], raw.item[test]
    (one,), (two,) = (
        prepare(
            benchmark, replace(raw, item=i, candidates=Candidates(np.unique(raw.user), Ragged.from_lists(n.tolist())))
        )
        for i, n in ((raw.item, negatives), (item, swapped))
    )
    assert question_hash(one.question) == question_hash(two.question)
    assert all(mine != other for mine, other in zip(answer_items(one), answer_items(two), strict=True))


def test_candidates_are_the_sorted_set_of_the_frozen_items_and_the_target():
    # the target is 5; user 2's list names the target (7), as 156 of NCF's do, and an item twice; 9 occurs nowhere else
    raw = Raw(np.array([1, 1, 2, 2]), np.array([5, 6, 7, 6]), part=np.array([2, 0, 2, 0], np.int8))
    frozen = Candidates(np.array([2, 1]), Ragged.from_lists([[7, 8, 8], [9, 8, 6]]))
    (prepared,) = prepare(board("sampled_candidates"), replace(raw, candidates=frozen))
    catalogue, queries = prepared.catalogue, prepared.question.asks["top-n"]
    assert sorted(catalogue.item_ids) == [5, 6, 7, 8, 9]
    found = {
        int(catalogue.user_ids[u]): sorted(catalogue.item_ids[queries.candidates[row]].tolist())
        for row, u in enumerate(queries.user)
    }
    assert found == {1: [5, 6, 8, 9], 2: [7, 8]}
    assert all((np.diff(row) > 0).all() for row in queries.candidates)
    assert queries.exclude is None


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
        if ask.kind == "detect":
            assert queries.n_items == train.n_items and set(answers.value) == {0, 1}
            assert all((np.diff(row) > 0).all() for row in queries.history)
            continue
        assert (queries.k, queries.n_items) == (ask.k, train.n_items)
        assert (queries.candidates is not None) == (benchmark.split.name == "sampled_candidates")
        assert queries.history.values.dtype == answers.relevant.values.dtype == np.int32
        assert queries.history.offsets.dtype == np.int64
        assert (answers.relevant.lengths > 0).all()
        if queries.user is not None:
            assert (np.diff(queries.user) > 0).all()
        for row in range(len(queries)):
            seen = queries.exclude[row] if queries.exclude is not None else []
            assert not set(answers.relevant[row]) & set(seen)
            if queries.candidates is not None:
                assert set(answers.relevant[row]) <= set(queries.candidates[row])
            if benchmark.order == "none":
                assert (np.diff(queries.history[row]) > 0).all()


@pytest.mark.parametrize("name", [n for n in benchmark_names(ROOT) if n.startswith("tiny-")])
def test_the_tiny_boards_can_be_played(name):
    benchmark, folds = room.open_benchmark(ROOT, name)
    for prepared in folds:
        check_shape(benchmark, prepared)
        without = benchmark.split.name in {"kfold", "sampled_candidates"} or "detect" in name
        assert prepared.question.train.validation.keys() == (set() if without else benchmark.asks.keys())
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


def test_items_keep_their_published_places_where_a_board_says_so():
    raw = made_up(3)
    (shuffled,), (published,) = (
        prepare(board("leave_last_out", numbering=numbering), raw) for numbering in ("shuffled", "as-published")
    )
    assert published.catalogue.item_ids.tolist() == sorted(set(raw.item.tolist()))
    assert shuffled.catalogue.item_ids.tolist() != published.catalogue.item_ids.tolist()
    assert shuffled.catalogue.user_ids.tolist() == published.catalogue.user_ids.tolist()
    assert [shuffled.catalogue.item_ids[row].tolist() for row in shuffled.answers["top-n"].relevant] == (
        [published.catalogue.item_ids[row].tolist() for row in published.answers["top-n"].relevant]
    )


def test_popularity_is_counted_where_novelty_is_asked():
    ask = {"kind": "rank", "metrics": ["ndcg@3", "novelty@3"], "k": 3, "exclude": "history"}
    benchmark = board("leave_last_out", asks={"top-n": ask})
    (prepared,) = prepare(benchmark, made_up(3))
    train = prepared.question.train.interactions
    for answers in (prepared.answers["top-n"], prepared.question.train.validation["top-n"].answers):
        assert answers.popularity.tolist() == np.bincount(train.item, minlength=train.n_items).tolist()
        assert answers.popularity.dtype == np.int64
    (plain,) = prepare(board("leave_last_out"), made_up(3))
    assert plain.answers["top-n"].popularity is None


@pytest.mark.parametrize("name", ["per_user_ratio", "global_time"])
def test_ratings_become_labels_in_training_and_answers(name):
    # the click-through boards: 3 is dropped, 4 and 5 are a yes, 1 and 2 a no
    benchmark = board(
        name,
        columns=["value"],
        filters=[{"keep": "rows", "value_not": 3}],
        label={"value_at_least": 4},
        asks={"click": {"kind": "rate", "metrics": ["auc", "log_loss"]}},
    )
    raw = made_up(8, n_users=30)
    (prepared,) = prepare(benchmark, raw)
    train, catalogue = prepared.question.train, prepared.catalogue
    yes = {(u, i): float(v >= 4) for u, i, v in zip(raw.user, raw.item, raw.value, strict=True) if v != 3}
    parts = [(train.interactions, train.interactions.value)]
    parts += [(prepared.question.asks["click"], prepared.answers["click"].value)]
    parts += [(train.validation["click"].queries, train.validation["click"].answers.value)]
    n = 0
    for rows, value in parts:
        assert value.dtype == np.float32
        ours = zip(catalogue.user_ids[rows.user], catalogue.item_ids[rows.item], value, strict=True)
        assert all(yes[u, i] == v for u, i, v in ours)
        n += len(value)
    assert n + sum(prepared.dropped.values()) == len(raw)
    assert prepared.dropped["value equal to 3"] == len(raw) - len(yes)


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
    with pytest.raises(DataError, match=r"made-up-kfold.toml: asks for values, but the rows of made-up have none"):
        prepare(board("kfold"), replace(raw, value=None))
    with pytest.raises(DataError, match=r'columns name "value", but the rows of made-up have none'):
        prepare(board("leave_last_out", columns=["value"]), replace(raw, value=None))
    gaps = replace(bare, order=np.where(np.arange(len(raw)) == 7, -1, 1))
    with pytest.raises(DataError, match=rf"1 of \d+ rows .* row 7: user {raw.user[7]}, item {raw.item[7]}\)"):
        prepare(board("leave_last_out"), gaps)
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
    "ml-1m-ctr": (6040, 3668, 591_210, 73_901, 73_901),
    "ml-1m-shift": (2767, 3483, 446_652, 3017, 16_806),
    "ml-1m-strong": (5034, 3502, 480_438, 500, 8_582),
    "ml-1m-next": (6040, 3416, 987_531, 6040, 6040),
    "ml-100k-rate-kfold": (943, 1682, 80_000, 20_000, 20_000),
    "ml-1m-rate-kfold": (6040, 3706, 800_167, 200_042, 200_042),  # the last fold is a row smaller
    "ml-1m-top-n": (6033, 3123, 673_059, 6033, 80_695),
    "ml-1m-ncf": (6040, 3706, 994_169, 6040, 6040),
    "gowalla-top-n": (29_858, 40_981, 810_128, 29_858, 217_242),
    "beauty-next": (22_363, 12_101, 198_502 - 2 * 22_363, 22_363, 22_363),
    "sports-next": (35_598, 18_357, 296_337 - 2 * 35_598, 35_598, 35_598),
    "toys-next": (19_412, 11_924, 167_597 - 2 * 19_412, 19_412, 19_412),
}
NOT_AT_HAND = {"ml-20m-strong"}
SEVERAL_ASKS = {"ml-1m-anomaly": (4534, 3483, 435_180, 1000)}  # users, items, training rows, queries of each


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
        found = (train.n_users, train.n_items, len(train), len(queries), held)
        if (name, prepared.name) == ("ml-1m-rate-kfold", "fold-4"):
            found = (*found[:2], found[2] - 1, found[3] + 1, found[4] + 1)
        if (name, prepared.name) == ("ml-1m-shift", "to-heavy"):  # as many users, who show and hide more
            assert (len(train), train.n_items, held) == (82_727, 2893, 94_753)
            continue
        assert found == PUBLISHED[name]
    assert tuple(fold.name for fold in folds) == benchmark.folds
    if name == "ml-1m-ncf":  # 156 of the authors' lists name the target itself
        assert np.bincount(queries.candidates.lengths)[99:].tolist() == [156, 5884]
    if name == "ml-100k-rate":  # together the five folds ask for every rating once
        assert sum(len(fold.answers["rate"]) for fold in folds) == 100_000


@pytest.mark.skipif("RECARENA_MIRROR" not in os.environ, reason="RECARENA_MIRROR is not set")
@pytest.mark.parametrize("name", SEVERAL_ASKS)
def test_boards_of_several_asks_have_these_sizes(name, tmp_path):
    _, (prepared,) = room.open_benchmark(ROOT, name, cache=tmp_path, say=lambda _: None)
    train = prepared.question.train.interactions
    for queries in prepared.question.asks.values():
        assert (train.n_users, train.n_items, len(train), len(queries)) == SEVERAL_ASKS[name]


def test_every_published_board_has_its_sizes_here():
    assert set(PUBLISHED) | set(SEVERAL_ASKS) | NOT_AT_HAND == {
        n for n in benchmark_names(ROOT) if not n.startswith("tiny-")
    }


@pytest.mark.skipif("RECARENA_MIRROR" not in os.environ, reason="RECARENA_MIRROR is not set")
def test_a_board_by_time_refuses_the_mirror_of_movielens_1m(tmp_path):
    # half of its times are missing: it gives an order within each user, which does not say who came first
    by_time = board("global_time", dataset="ml-1m")
    assert by_time.needs == {"time", "order"}
    ml_1m = load_dataset(ROOT, "ml-1m")
    mirror = ml_1m.model_copy(update={"sources": tuple(s for s in ml_1m.sources if s.kind == "mirror")})
    with pytest.raises(DataError, match="lacks real times"):
        interactions.load(mirror, tmp_path, needs=by_time.needs, say=lambda _: None)
    raw = interactions.load(mirror, tmp_path, say=lambda _: None).raw
    with pytest.raises(DataError, match=r"made-up-global_time\.toml: split global_time: these rows have no times"):
        prepare(by_time, raw)
