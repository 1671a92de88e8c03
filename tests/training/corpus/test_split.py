"""Every document is in exactly one part, near the shares, and copies are never on both sides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.training.corpus import split

SHARES = (70.0, 20.0, 10.0)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 100)), min_size=1, max_size=200))
def test_copies_stay_together(documents):
    hashes = np.array([h for h, _ in documents], np.uint64)
    lengths = np.array([length for _, length in documents])
    parts = split.parts_of(hashes, lengths, SHARES)
    assert set(parts) <= {0, 1, 2}
    assert all(len(set(parts[hashes == h])) == 1 for h in hashes)


def test_many_documents_come_near_the_shares():
    draw = np.random.default_rng(0)
    hashes, lengths = draw.integers(0, 1 << 63, 2000, np.uint64), draw.integers(1, 500, 2000)
    parts = split.parts_of(hashes, lengths, SHARES)
    had = np.bincount(parts, weights=lengths) / lengths.sum() * 100
    assert np.abs(had - SHARES).max() < 1
    assert split.is_fair(parts, lengths, SHARES)


def test_one_document_is_cut_in_three():
    assert split.cuts(100, 200, SHARES) == [(100, 170), (170, 190), (190, 200)]
