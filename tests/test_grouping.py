"""Grouping: what numpy's lexsort and unique give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena.data.grouping import groups, rows_by


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(0, 50),
    seed=st.integers(0, 2**32 - 1),
    # together these need one sort, two, or numpy's own
    spans=st.sampled_from(
        [(1, 1), (5, 5), (5, 1 << 30), (1 << 20, 1 << 37), (1 << 31, 1 << 40), (5, 1 << 62), (1 << 62, 1 << 62)]
    ),
    low=st.sampled_from([0, 7, -7]),
)
def test_rows_by_is_lexsort(n, seed, spans, low):
    rng = np.random.default_rng(seed)
    group, key = (low + rng.integers(0, 8, n) * span // 8 + rng.integers(0, min(span, 2), n) for span in spans)
    assert rows_by(group, key).tolist() == np.lexsort((key, group)).tolist()
    assert rows_by(group).tolist() == np.argsort(group, kind="stable").tolist()


@pytest.mark.parametrize(
    ("group", "key"), [(np.int32, np.int64), (np.int64, np.int32), (np.int16, np.uint8), (np.int32, np.int32)]
)
def test_rows_by_takes_any_width(group, key):
    ours = rows_by(np.array([2, 0, 2, 0], dtype=group), np.array([9, 8, 7, 8], dtype=key))
    assert ours.tolist() == [1, 3, 2, 0]


def test_groups_are_small_and_keep_the_order():
    small = np.array([5, 0, 5, 3])
    assert groups(small) is small
    for ids in (np.array([2**40, -1, 2**40, 7]), np.array(["c", "a", "c", "b"])):
        assert groups(ids).tolist() == [2, 0, 2, 1]
