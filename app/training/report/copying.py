"""How much of a text is copied word for word from the corpus: a sign of overfitting.

The corpus is read once, in pieces of tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.gpt2 import Tokenizer
from app.training.corpus.tokens import TokenFile

SHINGLE = 8  # tokens, about 30 characters: shorter runs are common phrases
PIECE = 4 << 20  # tokens examined together
SIEVE = 1 << 22
MULTIPLIER = np.uint64(6364136223846793005)


@dataclass(frozen=True)
class Copied:
    share: float  # of the tokens, in runs of at least SHINGLE found in the corpus
    longest: str  # the longest such run


def copied(texts: Sequence[Sequence[int]], corpus: TokenFile, tokenizer: Tokenizer) -> Copied:
    """Over all of `texts`, given as ids."""
    arrays = [np.asarray(text, np.int64) for text in texts]
    covered = [np.zeros(len(array), bool) for array in arrays]
    longest = np.zeros(0, np.int64)
    for which, at, start in _meetings(arrays, corpus.ids):
        length = _common(arrays[which][at:], corpus.ids[start : start + len(arrays[which])])
        covered[which][at : at + length] = True
        if length > len(longest):
            longest = arrays[which][at : at + length]
    n_copied = sum(int(each.sum()) for each in covered)
    share = n_copied / max(1, sum(map(len, arrays)))
    return Copied(share, tokenizer.decode(longest.tolist()))


def _meetings(texts: list[np.ndarray], ids: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(text, place in it, place in the corpus) of each run of SHINGLE tokens in both."""
    places: dict[int, list[tuple[int, int]]] = {}
    for which, text in enumerate(texts):
        for at, number in enumerate(_hashes(text).tolist()):
            places.setdefault(number, []).append((which, at))
    seen = np.zeros(SIEVE, bool)  # most of the corpus is ruled out by a few bits of the number
    seen[[number % SIEVE for number in places]] = True
    for start in range(0, max(1, len(ids) - SHINGLE + 1), PIECE):
        hashes = _hashes(ids[start : start + PIECE + SHINGLE - 1])
        for hit in np.flatnonzero(seen[hashes % np.uint64(SIEVE)]).tolist():
            for which, at in places.get(int(hashes[hit]), ()):
                yield which, at, start + hit


def _hashes(ids: np.ndarray) -> np.ndarray:
    """A number for each run of SHINGLE tokens; equal runs have equal numbers."""
    total = np.zeros(max(0, len(ids) - SHINGLE + 1), np.uint64)
    for k in range(SHINGLE):
        total *= MULTIPLIER  # wraps around, as a hash should
        total += ids[k : k + len(total)].astype(np.uint64) + np.uint64(1)
    return total ^ (total >> np.uint64(29))


def _common(text: np.ndarray, other: np.ndarray) -> int:
    """Length of the common prefix."""
    n = min(len(text), len(other))
    differ = np.flatnonzero(text[:n] != other[:n])
    return int(differ[0]) if len(differ) else n
