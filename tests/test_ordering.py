"""Ordering: what numpy's lexsort and plain masks give, on few rows and on enough for several threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena.data import ordering, passes
from recarena.data.ordering import Order, ordered, tally


def made(n: int, seed: int, span: int | None, n_users: int = 5, n_items: int = 400):
    """Rows of distinct pairs, the order made of them, and the same order by lexsort: row numbers and items."""
    rng = np.random.default_rng(seed)
    pair = rng.permutation(n_users * n_items)[:n]
    user, item = (pair // n_items).astype(np.int32), (pair % n_items).astype(np.int32)
    bits = rng.choice([0, 1, 1, 1, 2, 4, 6], n).astype(np.int8)
    key = None if span is None else rng.integers(-7, span, n)
    found = tally(user, item, bits, n_users, n_items)
    users = rng.permutation(np.flatnonzero(found.user_bits))
    number = rng.permutation(n_items).astype(np.int32)
    order = ordered(user, item, bits, found, users, number, key)
    kept = np.flatnonzero(bits)
    user_number = np.argsort(users)[np.searchsorted(np.sort(users), user[kept])] if len(kept) else kept
    rows = kept[np.lexsort((number[item[kept]] if key is None else key[kept], user_number))]
    return order, rows, np.sort(user_number), number[item[rows]], bits[rows]


def same(order: Order, rows: np.ndarray, user: np.ndarray, item: np.ndarray, bits: np.ndarray) -> None:
    n_users = len(order.stops)
    column = np.arange(order.packed.size + 1_000_000, dtype=np.int64) * 3
    for wanted in (1, 2, 3, 7, 8):
        chosen = (bits & wanted) != 0
        lengths = order.lengths(wanted)
        assert lengths.tolist() == np.bincount(user[chosen], minlength=n_users).tolist()
        assert order.holds(wanted) == chosen.any()
        assert order.items(wanted, lengths).tolist() == item[chosen].tolist()
        assert order.column(column, wanted, lengths).tolist() == (rows[chosen] * 3).tolist()
        by_item = np.lexsort((item[chosen], user[chosen]))
        assert order.items(wanted, lengths, by_item=True).tolist() == item[chosen][by_item].tolist()
        picked, row = order.pick(wanted, lengths)
        assert picked.tolist() == item[chosen][by_item].tolist()
        assert row.tolist() == rows[chosen][by_item].tolist()
        asked = np.arange(n_users) % 2 == 0
        lists = order.lists(wanted, asked)
        assert [part.tolist() for part in lists] == [item[chosen & (user == u)].tolist() for u in np.flatnonzero(asked)]


# keys of no order, with ties, of one to five digits, and too wide for 32 bits
SPANS = st.sampled_from([None, 1, 5, 1 << 10, 1 << 20, 1 << 31, 1 << 40])


@settings(deadline=None, max_examples=60)  # numba compiles at the first call
@given(st.integers(1, 600), st.integers(0, 2**32 - 1), SPANS)
def test_it_is_lexsort(n, seed, span):
    same(*made(n, seed, span))


@pytest.mark.parametrize("span", [None, 1 << 31])
def test_parts_change_nothing(span, monkeypatch):
    whole = made(100_000, 0, span, 700, 900)
    same(*whole)
    monkeypatch.setattr(ordering, "cuts", lambda n: [(n * p // 5, n * (p + 1) // 5) for p in range(5)])
    monkeypatch.setattr(passes, "cuts", lambda n: [(n * p // 5, n * (p + 1) // 5) for p in range(5)])
    parted = made(100_000, 0, span, 700, 900)
    assert len(parted[0].parts) == 5
    same(*parted)
    assert parted[0].packed.tolist() == whole[0].packed.tolist()


def test_passes_are_numpy():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 50, 300_000).astype(np.int32)
    assert passes.count(code, 60).tolist() == np.bincount(code, minlength=60).tolist()
    part = rng.integers(0, 3, 300_000).astype(np.int8)
    assert [rows.tolist() for rows in passes.rows_of_parts(part, 3)] == [
        np.flatnonzero(part == p).tolist() for p in range(3)
    ]
    bits = np.zeros(300_000, np.int8)
    for p, rows in enumerate(passes.rows_of_parts(part, 3)):
        passes.mark(bits, rows, 1 << p)
    assert bits.tolist() == (1 << part).tolist()
    assert passes.group_cuts(np.array([], dtype=np.int64)) == [(0, 0)]
