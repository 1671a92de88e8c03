"""Which pages of the cache hold whose tokens. Plain Python; touches no tensor.

A page holds the keys and values of 32 tokens and is named by a number. It is free, held by one or
more rows, or idle: held by no row, but its tokens are known, so a prompt that begins alike can
reuse it. When free pages run out, the least recently used idle ones are taken.

A page's key is a digest of its tokens and of all tokens before them, since keys and values depend
on those too:

    >>> cache = PageCache(4)
    >>> pages = cache.take(2)
    >>> keys = page_keys(list(range(70)))  # two whole pages; the last six tokens fill none
    >>> cache.publish(pages[0], keys[0])
    >>> cache.release(pages)
    >>> cache.find(page_keys(list(range(40)))) == pages[:1]
    True
"""

import hashlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Sequence

from app.gpt2 import PAGE


def page_keys(ids: Sequence[int]) -> list[bytes]:
    """A key for each whole page of `ids`."""
    keys, digest = [], hashlib.blake2b(digest_size=16)
    for end in range(PAGE, len(ids) + 1, PAGE):
        digest.update(array("q", ids[end - PAGE : end]).tobytes())
        keys.append(digest.digest())
    return keys


def pages_for(n_tokens: int) -> int:
    return -(-n_tokens // PAGE)


class PageCache:
    def __init__(self, n_pages: int) -> None:
        self.n_pages = n_pages
        self._free = list(range(n_pages))
        self._holders: Counter[int] = Counter()  # page -> how many rows hold it
        self._idle: OrderedDict[int, None] = OrderedDict()  # the least recently used first
        self._page_of: dict[bytes, int] = {}
        self._key_of: dict[int, bytes] = {}

    @property
    def n_available(self) -> int:
        """Pages that take() could give."""
        return len(self._free) + len(self._idle)

    @property
    def n_held(self) -> int:
        return self.n_pages - self.n_available

    def find(self, keys: Sequence[bytes]) -> list[int]:
        """The longest run of known pages from the beginning."""
        pages = []
        for key in keys:
            if key not in self._page_of:
                break
            pages.append(self._page_of[key])
        return pages

    def hold(self, pages: Sequence[int]) -> None:
        """Add a holder to each page."""
        for page in pages:
            self._holders[page] += 1
            self._idle.pop(page, None)

    def take(self, n: int) -> list[int]:
        """n pages, held by one row. The caller has checked n_available."""
        assert n <= self.n_available, f"{n} pages asked for, {self.n_available} available"
        pages = []
        for _ in range(n):
            if not self._free:
                page, _nothing = self._idle.popitem(last=False)
                del self._page_of[self._key_of.pop(page)]
                self._free.append(page)
            pages.append(self._free.pop())
        self.hold(pages)
        return pages

    def publish(self, page: int, key: bytes) -> None:
        """The page is full of tokens that will not change: others may find it by this key."""
        if key not in self._page_of and page not in self._key_of:
            self._page_of[key] = page
            self._key_of[page] = key

    def forget(self, pages: Sequence[int]) -> None:
        """Their only holder is about to rewrite them, so their old tokens must not be found."""
        for page in pages:
            assert self._holders[page] == 1, f"page {page} is shared and must not be rewritten"
            if (key := self._key_of.pop(page, None)) is not None:
                del self._page_of[key]

    def release(self, pages: Sequence[int]) -> None:
        """Remove a holder, back to front, so that a text's end is evicted before its start."""
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page]:
                continue
            del self._holders[page]
            if page in self._key_of:
                self._idle[page] = None
            else:
                self._free.append(page)
