"""Which documents are trained on, which validate, which test: a rule that forgets no document.

By a hash of the document's own tokens: a document stays in its part when others are added, and two
copies of a text can never lie on both sides.
"""

import numpy as np

PARTS = ("train", "validation", "test")


def parts_of(hashes: np.ndarray, lengths: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """The part of each document, 0 to 2, so that the parts' tokens come near to the shares."""
    order = np.argsort(hashes, kind="stable")
    middle = np.cumsum(lengths[order]) - lengths[order] / 2  # of each document, in tokens
    ends = np.cumsum(shares)[:-1] / sum(shares) * lengths.sum()
    sorted_parts = np.searchsorted(ends, middle, side="right")
    _, first, group = np.unique(hashes[order], return_index=True, return_inverse=True)
    parts = np.empty(len(hashes), np.int64)
    parts[order] = sorted_parts[first][group]  # copies go where the first of them goes
    return parts


def is_fair(parts: np.ndarray, lengths: np.ndarray, shares: tuple[float, ...]) -> bool:
    """Every part has at least half of what it should; false where documents are few or uneven."""
    had = np.bincount(parts, weights=lengths, minlength=len(shares)) / lengths.sum()
    return all(had[i] >= share / sum(shares) / 2 for i, share in enumerate(shares))


def cuts(start: int, end: int, shares: tuple[float, ...]) -> list[tuple[int, int]]:
    """One document cut by the shares: its beginning to train, its end to test."""
    at = start + np.cumsum((0, *shares)) / sum(shares) * (end - start)
    places = [int(round(place)) for place in at]
    return list(zip(places, places[1:], strict=False))
