from app.engine.turns.cache import PAGE, PageCache, page_keys, pages_for

IDS = list(range(100))  # three whole pages and four tokens more


def filled(cache, ids=IDS):
    """A row that came, prefilled its whole pages, and went."""
    keys = page_keys(ids)
    pages = cache.take(pages_for(len(ids)))
    for page, key in zip(pages, keys, strict=False):
        cache.publish(page, key)
    cache.release(pages)
    return pages


def test_a_key_stands_for_all_tokens_before_it():
    ours, theirs = page_keys(IDS), page_keys([99, *IDS[1:]])
    assert len(ours) == 3
    assert not set(ours) & set(theirs)
    assert page_keys(IDS[: 2 * PAGE]) == ours[:2]


def test_a_known_beginning_is_found_as_far_as_it_goes():
    cache = PageCache(10)
    pages = filled(cache)
    assert cache.find(page_keys(IDS)) == pages[:3]
    assert cache.find(page_keys(IDS[:70] + [0] * 30)) == pages[:2]
    assert cache.find(page_keys([7] * 64)) == []


def test_idle_pages_are_available_and_the_least_recently_used_go_first():
    cache = PageCache(6)
    old, new = filled(cache, IDS[:64]), filled(cache, [5] * 64)
    assert cache.n_available == 6
    cache.take(3)  # two free ones and the oldest idle one
    assert cache.find(page_keys([5] * 64)) == new
    assert cache.find(page_keys(IDS[:64])) == old[:1]  # its end was forgotten first


def test_using_an_idle_page_again_makes_it_recent():
    cache = PageCache(4)
    old, new = filled(cache, IDS[:32]), filled(cache, [5] * 32)
    cache.hold(old)
    cache.release(old)
    cache.take(3)
    assert cache.find(page_keys(IDS[:32])) == old
    assert cache.find(page_keys([5] * 32)) == []
    assert new


def test_a_held_page_is_never_given_away():
    cache = PageCache(3)
    pages = filled(cache, IDS[:32])
    cache.hold(pages)
    assert cache.n_available == 2
    assert not set(cache.take(2)) & set(pages)


def test_a_page_held_twice_is_free_after_two_releases():
    cache = PageCache(2)
    pages = cache.take(1)
    cache.hold(pages)
    cache.release(pages)
    assert cache.n_held == 1
    cache.release(pages)
    assert cache.n_held == 0


def test_the_same_tokens_in_two_pages_are_known_once():
    cache = PageCache(4)
    [key] = page_keys(IDS[:32])
    first, second = cache.take(2)
    cache.publish(first, key)
    cache.publish(second, key)
    assert cache.find([key]) == [first]
    cache.release([first, second])
    cache.take(4)
    assert cache.find([key]) == []
