"""Every document is in exactly one part, near the shares, and copies are never on both sides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.training.corpus import split

SHARES = (70.0, 20.0, 10.0)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=200))
def test_copies_stay_together(numbers):
    hashes = np.array(numbers, np.uint64) << np.uint64(58)
    parts = split.parts_of(hashes, SHARES)
    assert set(parts) <= {0, 1, 2}
    assert all(len(set(parts[hashes == h])) == 1 for h in hashes)


def test_many_documents_come_near_the_shares():
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, (1 << 64) - 1, 5000, np.uint64)
    lengths = draw.integers(1, 500, 5000)
    parts = split.parts_of(hashes, SHARES)
    had = np.bincount(parts, weights=lengths) / lengths.sum() * 100
    assert np.abs(had - SHARES).max() < 2
    assert split.is_fair(parts, lengths, SHARES)


def test_a_document_stays_in_its_part_when_others_are_added():
    """The bounds were quantiles of what was there: 40 more documents moved 3 of 200."""
    hashes = np.random.default_rng(0).integers(0, (1 << 64) - 1, 240, np.uint64)
    few, many = split.parts_of(hashes[:200], SHARES), split.parts_of(hashes, SHARES)
    assert (many[:200] == few).all() and len(set(few)) == 3


def test_one_document_is_cut_in_three():
    assert split.cuts(100, 200, SHARES) == [(100, 170), (170, 190), (190, 200)]
