"""Splits: every row in one place, the same every time, and equal to what the authors' own rules give."""

import gzip
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena.contract.arrays import Ragged
from recarena.contract.errors import DataError
from recarena.data import filters, interactions, splits
from recarena.data.folders import load_benchmark, load_dataset
from recarena.data.raw import Candidates, Raw
from recarena.data.recipes import KeepFrequent, KeepRows

ROOT = Path(__file__).parents[1]


def rows_of(pairs: list[tuple[int, int]], times: list[int] | None = None) -> Raw:
    user, item = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    time = np.array(times, dtype=np.int64) if times is not None else np.arange(len(user)) // 3  # ties
    return Raw(user, item, (1 + (user * 7 + item) % 5).astype(np.float32), time=time)


@st.composite
def raws(draw: Callable, min_users: int = 5) -> Raw:
    """Small tables: raw ids with gaps, users of all sizes, rows in any order, times with ties."""
    seed = draw(st.integers(0, 2**32 - 1))
    n_users, n_items = draw(st.integers(min_users, 12)), draw(st.integers(6, 15))
    density = draw(st.sampled_from([0.2, 0.5, 0.9]))
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(rng.random((n_users, n_items)) < density)
    pairs = np.concatenate([pairs, np.column_stack([np.arange(n_users), rng.integers(0, n_items, n_users)])])
    pairs = np.unique(pairs, axis=0)
    rng.shuffle(pairs)
    pairs = pairs[: len(pairs) - len(pairs) % 5] * [3, 7] + 2
    return rows_of(pairs.tolist(), rng.integers(0, 30, len(pairs)).tolist())


def divided(raw: Raw, parts: tuple[int, ...]) -> Raw:
    """As if the authors had divided the rows: by turns, whatever they are."""
    return replace(raw, part=np.resize(np.array(parts, dtype=np.int8), len(raw)))


def with_candidates(raw: Raw) -> Raw:
    """As if the authors had held out some rows and frozen four candidates for each user of these."""
    raw = divided(raw, (0, 2, 0, 0, 0))
    asked = np.unique(raw.user[raw.part == 2])[::-1]  # in no particular order
    items = np.random.default_rng(0).choice(np.unique(raw.item), (len(asked), 4))
    return replace(raw, candidates=Candidates(asked, Ragged.from_lists(items.tolist())))


ALL: dict[str, Callable[[Raw], list[splits.RowSplit]]] = {
    "official_folds": lambda raw: splits.official_folds(raw, n_folds=5),
    "kfold": lambda raw: splits.kfold(raw, n_folds=4, seed=42, folds=range(4)),
    "per_user_ratio": lambda raw: splits.per_user_ratio(raw, ratios=[0.6, 0.2, 0.2], seed=1),
    "row_ratio": lambda raw: splits.row_ratio(raw, ratios=[0.6, 0.2, 0.2], seed=1),
    "leave_last_out": splits.leave_last_out,
    "held_out_users": lambda raw: splits.held_out_users(raw, n_validation=2, n_test=2),
    "activity_shift": lambda raw: splits.activity_shift(raw, n_validation=1),
    "official_files": lambda raw: splits.official_files(divided(raw, (0, 2, 1, 0, 0))),
    "sampled_candidates": lambda raw: splits.sampled_candidates(with_candidates(raw)),
    "global_time": lambda raw: splits.global_time(raw, train_fraction=0.6, validation_fraction=0.2),
}
TOO_THIN = (
    "has five rows|are to be held out of a half|are to be held out of|split global_time: no|is earlier than the moment"
)


def attempt(name: str, raw: Raw) -> list[splits.RowSplit]:
    """Split, or give up on a table too thin for a split, which says so."""
    try:
        return ALL[name](raw)
    except DataError as error:
        assert re.search(TOO_THIN, str(error))
        return []


def test_every_split_is_tested_here():
    assert set(ALL) == set(splits.SPLITS)


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=60)
@given(raw=raws())
def test_every_row_is_in_exactly_one_place(name, raw):
    for split in attempt(name, raw):
        held = [split.test] + ([split.validation] if split.validation else [])
        parts = [split.train, *(h.target for h in held), *split.dropped.values()]
        parts += [h.history for h in held if not h.known_users]
        placed = np.concatenate(parts)
        assert sorted(placed.tolist()) == list(range(len(raw)))
        for h in held:
            assert not set(h.target) & set(h.history)
            if h.known_users:  # what is shown of a known user is training, or the validation rows at the test
                shown = set(split.validation.target) if split.validation else set()
                assert set(h.history) <= set(split.train) | shown


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=20)
@given(raw=raws())
def test_a_split_is_the_same_every_time(name, raw):
    np.random.seed(3)  # the global stream neither matters nor is touched
    before = np.random.get_state()[1].copy()
    for one, two in zip(attempt(name, raw), attempt(name, raw), strict=True):
        assert one.train.tolist() == two.train.tolist()
        assert one.test.target.tolist() == two.test.target.tolist()
        assert one.test.history.tolist() == two.test.history.tolist()
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=30)
@given(raw=raws(), seed=st.integers(0, 1000))
def test_which_rows_are_held_out_does_not_depend_on_their_items(name, raw, seed):
    if name in {"held_out_users", "activity_shift", "global_time"}:
        return  # their vocabulary does depend on the training rows' items; test_questions.py has the law for them
    other = Raw(raw.user, np.random.default_rng(seed).permutation(raw.item), raw.value, raw.time)
    for one, two in zip(attempt(name, raw), attempt(name, other), strict=True):
        assert one.test.target.tolist() == two.test.target.tolist()


# --- official folds and k folds -----------------------------------------------------------------------------------


def test_official_folds_are_blocks_of_the_file():
    raw = rows_of([(u, i) for u in range(2) for i in range(5)])
    folds = splits.official_folds(raw, n_folds=5)
    assert [fold.name for fold in folds] == ["u1", "u2", "u3", "u4", "u5"]
    assert [fold.test.target.tolist() for fold in folds] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert folds[1].train.tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    with pytest.raises(DataError, match="10 rows do not divide into 4 equal blocks"):
        splits.official_folds(raw, n_folds=4)


def test_kfold_is_scikit_learns():
    # printed by sklearn.model_selection.KFold(3, shuffle=True, random_state=42).split(range(10))
    raw = rows_of([(u, i) for u in range(2) for i in range(5)])
    folds = splits.kfold(raw, n_folds=3, seed=42, folds=[0, 1, 2])
    assert [fold.test.target.tolist() for fold in folds] == [[0, 1, 5, 8], [2, 7, 9], [3, 4, 6]]
    assert [fold.name for fold in splits.kfold(raw, n_folds=3, seed=42, folds=[2])] == ["fold-2"]


def test_kfold_is_surprises():
    # printed by surprise.model_selection.KFold(5, random_state=0) (Surprise 1.1.5) on a dataset of eleven rows
    raw = rows_of([(u, 0) for u in range(11)])
    folds = splits.kfold(raw, n_folds=5, seed=0, folds=range(5))
    assert [fold.test.target.tolist() for fold in folds] == [[2, 4, 9], [6, 10], [1, 7], [3, 8], [0, 5]]


@settings(deadline=None, max_examples=60)
@given(raw=raws(), seed=st.integers(0, 99), ratios=st.sampled_from([(8, 1, 1), (6, 2, 2), (1, 1, 1)]))
def test_per_user_ratio_deals_each_users_rows_in_the_order_of_one_permutation(raw, seed, ratios):
    (split,) = splits.per_user_ratio(raw, ratios=ratios, seed=seed)
    words = np.random.RandomState(seed).randint(0, 2**32, size=len(raw), dtype=np.uint32)
    shuffled = list(range(len(raw)))
    for place, word in enumerate(words.tolist()):
        other = place + word % (len(raw) - place)
        shuffled[place], shuffled[other] = shuffled[other], shuffled[place]
    parts = [[], [], []]
    for user in np.unique(raw.user):
        rows = [row for row in shuffled if raw.user[row] == user]
        n_train, n_validation, _ = splits.ratio_counts(len(rows), ratios)
        for part, row in enumerate(np.split(rows, [n_train, n_train + n_validation])):
            parts[part] += row.tolist()
    assert [split.train.tolist(), split.validation.target.tolist(), split.test.target.tolist()] == [
        sorted(part) for part in parts
    ]


def test_per_user_ratio_draws_as_torch_does():
    # torch.manual_seed(seed); torch.randperm(12), of torch 2.13: here twelve rows of one user, six for training
    known = {2020: [8, 0, 9, 3, 7, 10, 2, 11, 4, 6, 1, 5], 7: [3, 4, 0, 5, 7, 9, 11, 6, 8, 1, 10, 2]}
    raw = rows_of([(0, i) for i in range(12)])
    for seed, permuted in known.items():
        (split,) = splits.per_user_ratio(raw, ratios=(2, 1, 1), seed=seed)
        assert split.train.tolist() == sorted(permuted[:6])
        assert split.validation.target.tolist() == sorted(permuted[6:9])


# --- per-user ratio -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "counts"),
    [
        (1, [1, 0, 0]),  # the first part keeps its only row
        (2, [1, 0, 1]),  # 0.2 of a row for the test becomes a row; then the first has one left and keeps it
        (3, [1, 1, 1]),
        (5, [3, 1, 1]),
        (9, [7, 1, 1]),
        (10, [8, 1, 1]),
        (19, [17, 1, 1]),  # 1.9 rows are rounded down
        (20, [16, 2, 2]),
    ],
)
def test_ratio_counts_are_recboles(n, counts):
    assert splits.ratio_counts(n, [0.8, 0.1, 0.1]) == counts


def test_ratios_need_not_sum_to_one():
    assert splits.ratio_counts(20, [8, 1, 1]) == [16, 2, 2]


def test_activity_shift_learns_from_one_half_and_asks_the_other():
    raw = rows_of([(u, i) for u in range(6) for i in range(5 + u)])
    light, heavy = splits.activity_shift(raw, n_validation=1)
    assert (light.name, heavy.name) == ("to-light", "to-heavy")
    assert set(raw.user[light.test.target]) == {0, 1, 2} and set(raw.user[heavy.test.target]) == {3, 4, 5}
    for fold, known in ((light, {3, 4, 5}), (heavy, {0, 1, 2})):
        (validated,) = set(raw.user[fold.validation.target])
        assert set(raw.user[fold.train]) | {validated} == known
    with pytest.raises(DataError, match="3 users are to be held out of a half of 3"):
        splits.activity_shift(raw, n_validation=3)


def test_row_ratio_cuts_one_permutation_in_three():
    permuted = [8, 0, 9, 3, 7, 10, 2, 11, 4, 6, 1, 5]  # torch.randperm(12) after torch.manual_seed(2020)
    raw = rows_of([(u, i) for u in range(4) for i in range(3)])
    (split,) = splits.row_ratio(raw, ratios=(2, 1, 1), seed=2020)
    assert split.train.tolist() == split.test.history.tolist() == sorted(permuted[:6])
    assert split.validation.target.tolist() == sorted(permuted[6:9])
    assert split.test.target.tolist() == sorted(permuted[9:])


def test_per_user_ratio_shows_the_training_rows_only():
    raw = rows_of([(u, i) for u in range(3) for i in range(10)])
    (split,) = splits.per_user_ratio(raw, ratios=[0.8, 0.1, 0.1], seed=0)
    assert split.test.history.tolist() == split.train.tolist() == split.validation.history.tolist()
    for rows, n in ((split.train, 8), (split.validation.target, 1), (split.test.target, 1)):
        assert np.bincount(raw.user[rows]).tolist() == [n, n, n]


# --- leave last out -----------------------------------------------------------------------------------------------


def test_leave_last_out_goes_by_time_and_ties_by_row():
    raw = rows_of([(1, 10), (1, 11), (1, 12), (1, 13), (2, 10), (2, 11)], [5, 9, 9, 1, 0, 1])
    (split,) = splits.leave_last_out(raw)
    assert split.test.target.tolist() == [2]  # time 9, the later row
    assert split.validation.target.tolist() == [1]
    assert split.validation.history.tolist() == [0, 3, 4, 5]
    assert split.test.history.tolist() == [0, 1, 3, 4, 5]
    assert split.train.tolist() == [0, 3, 4, 5]  # user 2 has two rows: training, and no question


@settings(deadline=None, max_examples=60)
@given(raw=raws(), scale=st.sampled_from([1, 1000, 1 << 57]))
def test_leave_last_out_takes_the_last_two_in_order_of_time_and_row(raw, scale):
    (split,) = splits.leave_last_out(replace(raw, time=raw.time * scale))
    table = pd.DataFrame({"user": raw.user, "time": raw.time}).sort_values("time", kind="stable")
    table = table[table.groupby("user")["user"].transform("size") >= 3]
    assert split.test.target.tolist() == sorted(table.groupby("user").nth(-1).index)
    assert split.validation.target.tolist() == sorted(table.groupby("user").nth(-2).index)


def test_leave_last_out_takes_an_order_for_want_of_times_but_refuses_gaps():
    timed = rows_of([(1, i) for i in range(5)], [4, 2, 0, 1, 3])
    ordered = Raw(timed.user, timed.item, timed.value, order=timed.time * 10)
    assert splits.leave_last_out(ordered)[0].test.target.tolist() == [0]
    unknown = Raw(timed.user, timed.item, timed.value, order=np.array([4, 2, -1, 1, 3]))
    with pytest.raises(DataError, match=r"1 of 5 rows have no known place .*row 2: user 1, item 2.*filter these rows"):
        splits.leave_last_out(unknown)
    with pytest.raises(DataError, match="have no chronological order"):
        splits.leave_last_out(Raw(timed.user, timed.item, timed.value))


# --- the authors' own files ---------------------------------------------------------------------------------------


def test_official_files_are_the_authors_parts():
    raw = rows_of([(1, i) for i in range(6)])
    (split,) = splits.official_files(replace(raw, part=np.array([0, 2, 1, 0, 2, 0], dtype=np.int8)))
    assert split.train.tolist() == [0, 3, 5]
    assert (split.validation.target.tolist(), split.test.target.tolist()) == ([2], [1, 4])
    assert split.test.history is split.validation.history is split.train
    assert splits.official_files(divided(raw, (0, 2)))[0].validation is None


def test_what_the_authors_files_lack_is_named():
    raw = rows_of([(1, 1), (1, 2), (2, 1), (2, 3)])
    with pytest.raises(DataError, match="split official_files: this dataset's source is not divided"):
        splits.official_files(raw)
    with pytest.raises(DataError, match="split official_files: no test row is left"):
        splits.official_files(divided(raw, (0,)))
    with pytest.raises(DataError, match="no frozen candidates"):
        splits.sampled_candidates(divided(raw, (0, 2)))
    frozen = with_candidates(raw)  # row 1 is the test row: of user 1
    with pytest.raises(DataError, match="1 rows are for validation"):
        splits.sampled_candidates(replace(frozen, part=np.array([0, 2, 1, 0], dtype=np.int8)))
    lists = Candidates(np.array([2]), Ragged.from_lists([[1]]))
    with pytest.raises(DataError, match=r"1 users have a test row but no list .*first is 1\)"):
        splits.sampled_candidates(replace(frozen, candidates=lists))
    lists = Candidates(np.array([2, 1]), Ragged.from_lists([[1], [3]]))
    with pytest.raises(DataError, match=r"1 users have a list of candidates but no test row .*first is 2\)"):
        splits.sampled_candidates(replace(frozen, candidates=lists))
    lists = Candidates(np.array([1, 1]), Ragged.from_lists([[1], [3]]))
    with pytest.raises(DataError, match="user 1 has 2 lists"):
        splits.sampled_candidates(replace(frozen, candidates=lists))


# --- global time --------------------------------------------------------------------------------------------------


def test_global_time_parts_no_equal_times_and_drops_what_has_no_past():
    raw = rows_of(
        [(1, 1), (2, 2), (1, 3), (2, 1), (1, 2), (2, 4), (3, 1), (1, 9), (2, 3), (3, 9)],
        [10, 20, 30, 60, 40, 40, 50, 70, 80, 90],
    )
    # in order of time the fifth row has 40 and so has the fourth: both are after the moment; the eighth has 70
    (split,) = splits.global_time(raw, train_fraction=0.4, validation_fraction=0.3)
    assert split.train.tolist() == split.validation.history.tolist() == [0, 1, 2]
    assert split.validation.target.tolist() == [3, 4]
    assert (split.test.target.tolist(), split.test.history.tolist()) == ([8], [0, 1, 2, 3, 4])
    assert {reason: rows.tolist() for reason, rows in split.dropped.items()} == {
        "later rows of users without a training row": [6, 9],
        "later rows with items no training row has": [5, 7],
    }
    (split,) = splits.global_time(raw, train_fraction=0.7)  # no validation
    assert (split.validation, split.test.target.tolist()) == (None, [8])
    assert split.train.tolist() == split.test.history.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_global_time_wants_real_times_and_rows_in_every_part():
    raw = rows_of([(1, 1), (1, 2), (1, 3), (1, 4)], [5, 5, 5, 9])
    with pytest.raises(
        DataError, match="these rows have no times, or not all of them: a place in each user's own order"
    ):
        splits.global_time(replace(raw, time=None, order=raw.time), train_fraction=0.5)
    with pytest.raises(DataError, match=r"none of the 4 rows is earlier than the moment at 0\.5"):
        splits.global_time(raw, train_fraction=0.5)
    with pytest.raises(DataError, match="no test row has a user and an item of the training rows"):
        splits.global_time(raw, train_fraction=0.75)


# --- held-out users -----------------------------------------------------------------------------------------------


def liang(raw: Raw, n_validation: int, n_test: int, seed: int = 98765) -> dict[str, set[tuple[int, int]]]:
    """The published procedure, user by user on data frames, with numpy's global legacy stream."""
    table = pd.DataFrame({"user": raw.user, "item": raw.item})
    users = np.array(sorted(table["user"].unique()))
    np.random.seed(seed)
    users = users[np.random.permutation(len(users))]
    parts = {"validation": users[len(users) - n_test - n_validation : len(users) - n_test], "test": users[-n_test:]}
    training = table[table["user"].isin(users[: len(users) - n_test - n_validation])]
    found = {"train": set(map(tuple, training.to_numpy().tolist()))}
    for part, members in parts.items():
        rows = table[table["user"].isin(members) & table["item"].isin(training["item"].unique())]
        np.random.seed(seed)
        found[part + " history"], found[part + " target"] = set(), set()
        for _, group in rows.groupby("user"):
            n = len(group)
            target = np.zeros(n, dtype=bool)
            if n >= 5:
                target[np.random.choice(n, size=int(0.2 * n), replace=False).astype("int64")] = True
                # users without a target are dropped here, where the original would get a mean of NaN
                found[part + " history"] |= set(map(tuple, group[~target].to_numpy().tolist()))
                found[part + " target"] |= set(map(tuple, group[target].to_numpy().tolist()))
    return found


@settings(deadline=None, max_examples=60)
@given(raw=raws(min_users=8), n_test=st.integers(1, 3))
def test_held_out_users_are_liangs_draw_for_draw(raw, n_test):
    try:
        (split,) = splits.held_out_users(raw, n_validation=2, n_test=n_test)
    except DataError as error:
        assert re.search("has five rows|are to be held out of", str(error))
        return
    expected = liang(raw, 2, n_test)
    for name, rows in {
        "train": split.train,
        "validation history": split.validation.history,
        "validation target": split.validation.target,
        "test history": split.test.history,
        "test target": split.test.target,
    }.items():
        assert {(int(raw.user[r]), int(raw.item[r])) for r in rows} == expected[name], name


def test_held_out_users_leave_someone_to_learn_from():
    raw = rows_of([(u, i) for u in range(4) for i in range(5)])
    with pytest.raises(DataError, match=r"2 \+ 2 users are to be held out of 4"):
        splits.held_out_users(raw, n_validation=2, n_test=2)


# --- filters ------------------------------------------------------------------------------------------------------


def step(**words: object) -> KeepRows | KeepFrequent:
    return (KeepRows if words["keep"] == "rows" else KeepFrequent).model_validate(words)


def test_the_threshold_itself_passes_or_not_as_the_recipe_says():
    raw = Raw(np.arange(4), np.arange(4), np.array([3, 3.5, 4, 5], dtype=np.float32))
    assert filters.keep(raw, [step(keep="rows", value_at_least=4)])[0].tolist() == [2, 3]
    assert filters.keep(raw, [step(keep="rows", value_above=4)])[0].tolist() == [3]
    assert filters.keep(raw, [step(keep="rows", value_above=3.5)])[0].tolist() == [2, 3]
    kept, dropped = filters.keep(raw, [step(keep="rows", value_not=3)])
    assert (kept.tolist(), dropped) == ([1, 2, 3], {"value equal to 3": 1})
    with pytest.raises(DataError, match="a filter looks at the rows' values, but this dataset's source gives none"):
        filters.keep(replace(raw, value=None), [step(keep="rows", value_not=3)])


def test_counts_once_or_until_nothing_falls():
    # user 1 has items 1 2 3, user 2 has 1 2, user 3 has 3 4; item 4 has one row
    raw = rows_of([(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 3), (3, 4)])
    both = {"keep": "users and items", "rows_at_least": 2}
    once, dropped = filters.keep(raw, [step(**both, repeat=False)])
    assert once.tolist() == [0, 1, 2, 3, 4, 5]  # only (3, 4) falls: item 4 has one row
    assert dropped == {"users and items with fewer than 2 rows": 1}
    core, dropped = filters.keep(raw, [step(**both, repeat=True)])
    assert core.tolist() == [0, 1, 3, 4]  # then user 3 has one row, then item 3 has one row
    assert dropped == {"users and items with fewer than 2 rows, repeated": 3}
    items = filters.keep(raw, [step(keep="items", rows_at_least=2, repeat=False)])[0]
    assert items.tolist() == [0, 1, 2, 3, 4, 5]


@settings(deadline=None, max_examples=60)
@given(
    raw=raws(),
    least=st.integers(2, 6),
    repeat=st.booleans(),
    what=st.sampled_from(["users", "items", "users and items"]),
)
def test_cores_are_what_counting_again_and_again_gives(raw, least, repeat, what):
    table = pd.DataFrame({"users": raw.user, "items": raw.item})
    while True:
        good = np.logical_and.reduce([table.groupby(c)[c].transform("size") >= least for c in what.split(" and ")])
        table = table[good]
        if not repeat or good.all():
            break
    try:
        rows, dropped = filters.keep(raw, [step(keep=what, rows_at_least=least, repeat=repeat)])
    except DataError as error:
        assert "leaves no row at all" in str(error)
        assert len(table) == 0
        return
    assert rows.tolist() == table.index.tolist()
    assert sum(dropped.values()) == len(raw) - len(rows)


def test_the_order_of_the_steps_counts():
    raw = Raw(np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2]), np.array([5, 1, 5, 5], dtype=np.float32))
    value, users = step(keep="rows", value_at_least=4), step(keep="users", rows_at_least=2, repeat=False)
    assert filters.keep(raw, [value, users])[0].tolist() == [2, 3]
    assert filters.keep(raw, [users, value])[0].tolist() == [0, 2, 3]
    with pytest.raises(DataError, match="the filter 'value below 6' leaves no row at all"):
        filters.keep(raw, [step(keep="rows", value_at_least=6)])


# --- the drawings of docs/splits.md -------------------------------------------------------------------------------


def six_users() -> Raw:
    """Six users with 6, 5, 7, 5, 2 and 5 rows; the file's order is not the order of time."""
    pairs = [(u, i) for u, n in zip(range(1, 7), (6, 5, 7, 5, 2, 5), strict=True) for i in range(n)]
    shuffled = np.random.default_rng(0).permutation(len(pairs))
    return rows_of([pairs[p] for p in shuffled], [int(p) for p in np.random.default_rng(1).permutation(len(pairs))])


def six_users_with_files() -> Raw:
    """The same six users, their rows divided by authors."""
    raw = six_users()
    return replace(raw, part=np.random.default_rng(4).choice(np.array([0, 0, 0, 1, 2], np.int8), len(raw)))


def six_users_with_candidates() -> Raw:
    """The same six users, one row of each held out by authors, who froze two items for each."""
    raw = six_users()
    part = np.zeros(len(raw), dtype=np.int8)
    part[[np.flatnonzero(raw.user == u)[1] for u in range(1, 7)]] = 2
    return replace(raw, part=part, candidates=Candidates(np.arange(1, 7), Ragged.from_lists([[0, 1]] * 6)))


DRAWN = {
    "official_folds": lambda raw: splits.official_folds(raw)[0],
    "kfold": lambda raw: splits.kfold(raw, n_folds=5, seed=42, folds=[0])[0],
    "per_user_ratio": lambda raw: splits.per_user_ratio(raw, ratios=[0.6, 0.2, 0.2], seed=0)[0],
    "row_ratio": lambda raw: splits.row_ratio(raw, ratios=[0.6, 0.2, 0.2], seed=0)[0],
    "leave_last_out": lambda raw: splits.leave_last_out(raw)[0],
    "held_out_users": lambda raw: splits.held_out_users(raw, n_validation=1, n_test=2)[0],
    "activity_shift": lambda raw: splits.activity_shift(raw, n_validation=1)[0],
    "official_files": lambda _: splits.official_files(six_users_with_files())[0],
    "sampled_candidates": lambda _: splits.sampled_candidates(six_users_with_candidates())[0],
    "global_time": lambda raw: splits.global_time(raw, train_fraction=0.6, validation_fraction=0.2)[0],
}


def test_the_drawings_in_the_docs_are_what_the_splits_do():
    text = (ROOT / "docs" / "splits.md").read_text(encoding="utf-8")
    drawn = dict(re.findall(r"^## `(\w+)`.*?^```text\n(.*?)\n```", text, flags=re.MULTILINE | re.DOTALL))
    assert drawn == {name: splits.draw(six_users(), split(six_users())) for name, split in DRAWN.items()}
    assert set(drawn) == set(splits.SPLITS)


# --- the published data, where a mirror is set --------------------------------------------------------------------

needs_mirror = pytest.mark.skipif("RECARENA_MIRROR" not in os.environ, reason="RECARENA_MIRROR is not set")


def published(name: str, cache: Path) -> Raw:
    return interactions.load(load_dataset(ROOT, name), cache, say=lambda _: None).raw


@needs_mirror
def test_the_official_folds_are_grouplens_own_files(tmp_path):
    raw = published("ml-100k", tmp_path)
    for k, fold in enumerate(splits.official_folds(raw), start=1):
        for rows, part in ((fold.test.target, "test"), (fold.train, "base")):
            packed = Path(os.environ["RECARENA_MIRROR"], "ml-100k", f"u{k}.{part}.gz")
            lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
            ours = zip(raw.user[rows], raw.item[rows], raw.value[rows], raw.time[rows], strict=True)
            assert {f"{u}\t{i}\t{v:.0f}\t{t}" for u, i, v, t in ours} == set(lines)
            assert len(rows) == len(lines)


@needs_mirror
def test_the_next_item_data_are_sasrecs_file(tmp_path):
    benchmark = load_benchmark(ROOT, "ml-1m-next")
    raw = published("ml-1m", tmp_path)
    with pytest.raises(DataError, match="598 of 1,000,209 rows have no known place"):
        splits.leave_last_out(raw)
    rows, dropped = filters.keep(raw, benchmark.filters)
    raw = raw.take(rows)
    assert (len(raw), len(np.unique(raw.item))) == (999_611, 3_416)
    assert dropped == {"items with fewer than 5 rows": 598}
    folder = Path(os.environ["RECARENA_MIRROR"], "ml-1m")
    sas, users, items = (
        pd.read_csv(folder / f"{name}.txt.gz", sep=r"\s+", header=None).to_numpy()
        for name in ("sasrec_ml-1m", "sas_to_original_users", "sas_to_original_items")
    )
    original_user, original_item = dict(users.tolist()), dict(items.tolist())
    theirs = pd.DataFrame(
        {"user": pd.Series(sas[:, 0]).map(original_user), "item": pd.Series(sas[:, 1]).map(original_item)}
    )
    theirs = theirs.sort_values("user", kind="stable")
    ours = np.lexsort((raw.places(), raw.user))
    assert (theirs["user"].to_numpy() == raw.user[ours]).all()
    assert (theirs["item"].to_numpy() == raw.item[ours]).all()


@needs_mirror
def test_held_out_users_on_the_published_data_are_liangs(tmp_path):
    benchmark = load_benchmark(ROOT, "ml-100k-strong")
    raw = published("ml-100k", tmp_path)
    raw = raw.take(filters.keep(raw, benchmark.filters)[0])
    (split,) = splits.held_out_users(raw, n_validation=100, n_test=100)
    expected = liang(raw, 100, 100)
    assert {(int(raw.user[r]), int(raw.item[r])) for r in split.test.target} == expected["test target"]
    assert {(int(raw.user[r]), int(raw.item[r])) for r in split.validation.target} == expected["validation target"]
