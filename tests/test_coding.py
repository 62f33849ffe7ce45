"""Integer coding: what np.unique gives, for every kind of id."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recarena.data.coding import codes, n_distinct


def same(ids: np.ndarray) -> None:
    unique, code = codes(ids)
    wanted, inverse = np.unique(ids, return_inverse=True)
    assert (unique.dtype, code.dtype) == (ids.dtype, np.int32)
    assert unique.tolist() == wanted.tolist()
    assert code.tolist() == inverse.tolist()
    assert n_distinct(ids) == len(wanted)


def test_by_hand():
    unique, code = codes(np.array([30, 10, 30, 20]))
    assert unique.tolist() == [10, 20, 30]
    assert code.tolist() == [2, 0, 2, 1]


@given(st.lists(st.integers(-50, 50)))
def test_a_small_span_goes_by_table(ids):
    same(np.array(ids, dtype=np.int64))


@given(st.lists(st.integers(-(2**62), 2**62)))
def test_a_wide_span_goes_by_a_sort(ids):
    same(np.array(ids, dtype=np.int64))


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)))
def test_text_sorts_by_code_point(ids):
    same(np.array(ids, dtype=str))


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.uint64])
@pytest.mark.parametrize("low", [0, 7, 2**21])
def test_any_width(kind, low):
    if low <= np.iinfo(kind).max:
        same(np.array([low + 3, low, low + 3], dtype=kind))
