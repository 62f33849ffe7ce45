"""Grouping: what numpy's stable sort and unique give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena.data.grouping import groups, places, rows_by


@settings(deadline=None)  # numba compiles at the first call
@given(st.lists(st.integers(0, 20)), st.sampled_from([np.int32, np.int64]))
def test_rows_by_is_a_stable_sort(group, kind):
    group = np.array(group, dtype=kind)
    assert rows_by(group).tolist() == np.argsort(group, kind="stable").tolist()


def test_places_by_hand():
    # the first part has 2 rows of group 0 and 1 of group 2, the second 1 of group 0 and 3 of group 1
    place, stops = places(np.array([[2, 0, 1], [1, 3, 0]]))
    assert place.tolist() == [[0, 3, 6], [2, 3, 7]]
    assert stops.tolist() == [3, 6, 7]


def test_groups_are_small_and_keep_the_order():
    small = np.array([5, 0, 5, 3])
    assert groups(small) is small
    for ids in (np.array([2**40, -1, 2**40, 7]), np.array(["c", "a", "c", "b"])):
        assert groups(ids).tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_groups_of_few_rows_come_back_as_they_are(kind):
    ids = np.array([100, 3], dtype=kind)
    assert groups(ids) is ids
