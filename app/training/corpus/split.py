"""Split documents into those that train, validate and test.

A hash of the document's text decides, so a document stays in its part when others are added, in any
vocabulary, and copies of a text are always in the same part. A few large documents are each cut by
the shares instead.
"""

import numpy as np

PARTS = ("train", "validation", "test")


def parts_of(hashes: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """The part of each document, 0 to 2, from its 64-bit hash."""
    ends = np.cumsum(shares)[:-1] / sum(shares)
    return np.searchsorted(ends, hashes / 2.0**64, side="right")


def is_fair(parts: np.ndarray, sizes: np.ndarray, shares: tuple[float, ...]) -> bool:
    """Whether every part has at least half of its share; not so if documents are few or uneven."""
    had = np.bincount(parts, weights=sizes, minlength=len(shares)) / max(1, sizes.sum())
    return all(had[i] >= share / sum(shares) / 2 for i, share in enumerate(shares))


def cuts(start: int, end: int, shares: tuple[float, ...]) -> list[tuple[int, int]]:
    """Cut one document by the shares: its beginning trains, its end tests."""
    at = start + np.cumsum((0, *shares)) / sum(shares) * (end - start)
    places = [int(round(place)) for place in at]
    return list(zip(places, places[1:], strict=False))
