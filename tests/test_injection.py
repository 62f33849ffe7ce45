"""Tampered histories: what is replaced, by what, and that nothing else tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena.contract.arrays import Ragged
from recarena.contract.folder import question_hash, read_question, write_question
from recarena.data.injection import tampered
from recarena.data.prepare import prepare
from recarena.data.raw import Raw
from recarena.data.recipes import Benchmark

N_ITEMS = 40


@st.composite
def histories(draw) -> Ragged:
    rows = draw(st.lists(st.sets(st.integers(0, N_ITEMS - 1), min_size=1, max_size=12), min_size=2, max_size=12))
    return Ragged.from_lists([sorted(row) for row in rows])


@settings(deadline=None, max_examples=60)
@given(
    before=histories(),
    profile=st.sampled_from(["random", "popular", "average"]),
    strength=st.sampled_from([0.01, 0.25, 0.5, 1.0]),
    fraction=st.sampled_from([0.1, 0.5, 0.9]),
    seed=st.integers(0, 9),
)
def test_lengths_stay_and_only_the_chosen_change_by_what_is_said(before, profile, strength, fraction, seed):
    popularity = np.arange(N_ITEMS)
    after, chosen = tampered(before, popularity, profile, strength, fraction, np.random.default_rng(seed))
    assert after.lengths.tolist() == before.lengths.tolist()
    assert chosen.sum() == max(1, round(fraction * len(before)))
    for row, (old, new) in enumerate(zip(before, after, strict=True)):
        assert np.all(np.diff(new) > 0)
        n_new = max(1, round(strength * len(old))) if chosen[row] else 0
        assert len(np.intersect1d(old, new)) >= len(old) - n_new
    again, same = tampered(before, popularity, profile, strength, fraction, np.random.default_rng(seed))
    assert again.values.tolist() == after.values.tolist() and same.tolist() == chosen.tolist()


def test_profiles_draw_what_they_are_named_for():
    popularity = np.concatenate([np.zeros(20, int), np.full(10, 1), np.full(6, 10), np.full(4, 1000)])
    before = Ragged.from_lists([[0, 1]] * 4000)
    drawn = {}
    for profile in ("random", "popular", "average"):
        after, chosen = tampered(before, popularity, profile, 0.5, 0.5, np.random.default_rng(0))
        new = np.array([np.setdiff1d(row, [0, 1]) for row, yes in zip(after, chosen, strict=True) if yes], dtype=object)
        drawn[profile] = np.bincount(np.concatenate([row.astype(int) for row in new]), minlength=N_ITEMS)
    assert drawn["popular"][:36].sum() == 0 and (drawn["popular"][36:] > 400).all()  # the tenth, equally
    assert (drawn["random"][2:] > 25).all()
    share = drawn["average"] / drawn["average"].sum()
    np.testing.assert_allclose(share[36:], 1000 / popularity.sum(), atol=0.03)  # 4,070 events, one item drawn of each
    assert share[:20].sum() == 0


def test_a_profile_that_runs_out_of_items_goes_on_with_others():
    after, chosen = tampered(
        Ragged.from_lists([list(range(30))] * 2), np.arange(N_ITEMS), "popular", 1.0, 0.5, np.random.default_rng(0)
    )
    (row,) = (after[n] for n in np.flatnonzero(chosen))
    assert set(range(36, 40)) <= set(row.tolist()) and len(row) == 30


def board(**changes: object) -> Benchmark:
    ask = {"kind": "detect", "profile": "random", "strength": 0.5, "fraction": 0.5}
    words = {
        "name": "made-up", "title": "T", "describe": "D", "dataset": "made-up", "version": 1, "columns": [],
        "split": {"name": "held_out_users", "n_validation": 2, "n_test": 6}, "order": "none",
        "asks": {"one": ask, "two": ask}, "seeds": 1, "time_limit_s": 1, "memory_limit_bytes": 1,
    }  # fmt: skip
    return Benchmark.model_validate(words | changes)


def rows() -> Raw:
    rng = np.random.default_rng(0)
    lists = [np.sort(rng.choice(N_ITEMS, 8, replace=False)) for _ in range(30)]
    return Raw(np.repeat(np.arange(30), 8), np.concatenate(lists))


def test_a_question_asks_for_suspicion_and_tells_nobody_what_tampering_looks_like(tmp_path):
    (fold,) = prepare(board(), rows())
    assert fold.question.train.validation == {}
    one, two = (fold.question.asks[name] for name in ("one", "two"))
    assert len(one) == len(fold.answers["one"]) == 6
    assert fold.answers["one"].value.sum() == 3
    assert one.history.values.tolist() != two.history.values.tolist()  # every ask is tampered with anew
    write_question(fold.question, tmp_path / "q")
    assert question_hash(read_question(tmp_path / "q")) == question_hash(fold.question)


def test_only_held_out_users_are_tampered_with():
    with pytest.raises(ValueError, match="write split held_out_users"):
        board(split={"name": "leave_last_out"}, order="time")
