"""Each user's rows at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recarena.contract.arrays import Floats, Ints
from recarena.data.grouping import groups
from recarena.data.raw import Raw
from recarena.data.splits.rows import Held, RowSplit


def per_user_ratio(raw: Raw, *, ratios: Sequence[float], seed: int) -> list[RowSplit]:
    """Cut each user's rows at random into train, validation and test; the counts are RecBole's (``ratio_counts``).

    At the test a model is given the training rows only, as RecBole's models are; the benchmark's ``exclude`` says
    whether the validation items may be listed.
    """
    user = groups(raw.user)
    n_rows = np.bincount(user)
    # The key of a row depends on its place in the file alone, never on its item.
    key = np.random.default_rng(seed).random(len(raw))
    size = np.zeros((n_rows.max() + 1, 3), dtype=np.int64)
    for n in np.flatnonzero(np.bincount(n_rows)):
        size[n] = ratio_counts(int(n), ratios)
    n_train, n_validation, _ = size[n_rows].T
    train, validation, test = _lowest(user, key, [n_train, n_train + n_validation])
    return [RowSplit("", train, Held(validation, train), Held(test, train))]


def ratio_counts(n: int, ratios: Sequence[float]) -> list[int]:
    """Return how many of a user's n rows go to each part, by RecBole 1.2.1's rule.

    Every part but the first is rounded down; then, from the last part on, a part that should have got a fraction
    of a row takes one whole row from the first, as long as the first keeps at least one.
    """
    shares = [ratio / sum(ratios) for ratio in ratios]
    counts = [int(share * n) for share in shares]
    counts[0] = n - sum(counts[1:])
    for part in range(len(shares) - 1, 0, -1):
        if counts[0] <= 1:
            break
        if 0 < shares[part] * n < 1:
            counts[part] += 1
            counts[0] -= 1
    return counts


def _lowest(user: Ints, key: Floats, ends: Sequence[Ints]) -> list[Ints]:
    """Cut each user's rows by their rank in ascending key, ties by row.

    Args:
        user: (n,) integers below n_users.
        key: (n,) in [0, 1).
        ends: for every cut, (n_users,) how many rows of each user lie below it; ascending.

    Returns:
        ``len(ends) + 1`` arrays of ascending row numbers.
    """
    # Only the keys at the cuts are wanted, not the order: sort (user, leading bits of the key), without row numbers.
    key_bits = 64 - int(user.max()).bit_length()
    packed = (key * 2.0 ** min(key_bits, 53)).astype(np.uint64)
    packed |= user.astype(np.uint64) << np.uint64(key_bits)
    ordered = np.sort(packed)
    start = np.cumsum(np.bincount(user)) - np.bincount(user)
    part = np.zeros(len(user), dtype=np.int8)
    for end in ends:
        inside = start + end < len(ordered)
        at = np.minimum(start + end, len(ordered) - 1)
        if np.any(inside & (end > 0) & (ordered[at] == ordered[at - 1])):
            return _lowest_by_rank(user, key, ends)  # two rows with the same leading bits at a cut
        # a cut above a user's last row lies at the next user's first one, which is above every key of this user
        first_above = np.where(inside, ordered[at], np.uint64(2**64 - 1))
        part += packed >= first_above[user]
    return [np.flatnonzero(part == p) for p in range(len(ends) + 1)]


def _lowest_by_rank(user: Ints, key: Floats, ends: Sequence[Ints]) -> list[Ints]:
    """As ``_lowest``, by a full sort."""
    order = np.lexsort((key, user))
    count = np.bincount(user)
    rank = np.empty(len(user), dtype=np.int64)
    rank[order] = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    part = sum((rank >= end[user]).astype(np.int8) for end in ends)
    return [np.flatnonzero(part == p) for p in range(len(ends) + 1)]
