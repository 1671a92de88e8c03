"""Which documents are trained on, which validate, which test.

Decided by a hash of the document's own text against fixed bounds: it stays in its part when others
are added, in any vocabulary, and two copies of a text never lie on both sides. That holds where
documents are many; a few large ones are each cut by the shares.
"""

import numpy as np

PARTS = ("train", "validation", "test")


def parts_of(hashes: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """The part of each document, 0 to 2, from its 64-bit hash."""
    ends = np.cumsum(shares)[:-1] / sum(shares)
    return np.searchsorted(ends, hashes / 2.0**64, side="right")


def is_fair(parts: np.ndarray, sizes: np.ndarray, shares: tuple[float, ...]) -> bool:
    """Every part has at least half of what it should; false where documents are few or uneven."""
    had = np.bincount(parts, weights=sizes, minlength=len(shares)) / max(1, sizes.sum())
    return all(had[i] >= share / sum(shares) / 2 for i, share in enumerate(shares))


def cuts(start: int, end: int, shares: tuple[float, ...]) -> list[tuple[int, int]]:
    """One document cut by the shares: its beginning to train, its end to test."""
    at = start + np.cumsum((0, *shares)) / sum(shares) * (end - start)
    places = [int(round(place)) for place in at]
    return list(zip(places, places[1:], strict=False))
