"""Situations of the scheduler, as tables: no model, no thread, no clock."""

import pytest

from app.engine import Params
from app.engine.turns.cache import PageCache, page_keys
from app.engine.turns.pace import STALL_S
from app.engine.turns.request import Request, Row
from app.engine.turns.scheduler import MAX_SCORED, Scheduler
from app.engine.turns.written import Written

WINDOW = 128


def make(n_pages=100, max_running=64, window=WINDOW):
    return Scheduler(PageCache(n_pages), window, max_running)


def request(n_tokens=10, first=0, **params):
    """A request whose prompt is first, first + 1, ..."""
    ids = list(range(first, first + n_tokens))
    params = Params(**{"max_tokens": 20} | params)
    made = Request(
        id="", params=params, put=lambda event: None, submitted=0, deadline=0,
        prompt_tokens=n_tokens, n_dropped=0, context_start=0, ends={}, banned=[],
        keys=page_keys(ids),
    )  # fmt: skip
    made.rows = [Row(made, k, k, list(ids), Written(params)) for k in range(params.n)]
    return made


SIXTY_FOUR = {"n_tokens": 1, "seconds": STALL_S / 64}  # so many are read beside one who writes


def turn(scheduler):
    """One turn as the lane takes it, each writing row writing 7; what was fed, as (row, n)."""
    fed = []
    for step in scheduler.plan():
        row = step.row
        fed.append((row, step.end - row.place.n_computed))
        scheduler.advance(step)
        if row.place.is_prefilling:
            continue
        if not row.request.is_prefilled:
            scheduler.fork(row)
        for writer in row.request.rows if row.written.ids == [] and row.choice == 0 else [row]:
            writer.ids.append(7)
            writer.written.ids.append(7)
    return fed


def add(scheduler, *requests):
    for each in requests:
        scheduler.add(each)
    return scheduler.admit()


def retire(scheduler, made):
    for row in made.rows:
        scheduler.retire(row)
    scheduler.remove(made)


# ---- cutting prompts ----


@pytest.mark.parametrize("budget", [1, 9, 32, 64, 512])
def test_a_prompt_is_read_to_its_end_in_pieces_of_any_size(budget, monkeypatch):
    scheduler = make(window=1024)
    monkeypatch.setattr(scheduler.pace, "budget", lambda *args: budget)
    made = request(600)
    add(scheduler, made)
    fed = []
    while made.rows[0].place.is_prefilling:
        [(_, n)] = turn(scheduler)
        fed.append(n)
    assert sum(fed) == 600 and set(fed[:-1]) <= {budget}


# ---- coming ----


def test_requests_start_in_the_order_in_which_they_came():
    scheduler = make(max_running=2)
    first, second, third = request(), request(), request()
    assert add(scheduler, first, second, third) == [first, second]
    retire(scheduler, first)
    assert scheduler.admit() == [third]


def test_a_small_request_does_not_overtake_a_large_one():
    scheduler = make(max_running=4)
    running, large, small = request(n=3), request(n=3), request()
    add(scheduler, running, large, small)
    assert scheduler.admit() == []
    retire(scheduler, running)
    assert scheduler.admit() == [large, small]


def test_pages_are_reserved_for_the_longest_that_a_row_can_become():
    for n_tokens, max_tokens, n_pages in [
        (10, 20, 1),
        (10, 23, 1),  # the last token is never fed
        (10, 24, 2),
        (100, 1000, 4),  # a window, however long it goes on
        (10, None, 4),
    ]:
        scheduler = make()
        add(scheduler, request(n_tokens, max_tokens=max_tokens))
        assert scheduler.cache.n_held == n_pages, (n_tokens, max_tokens)


def test_a_request_waits_until_its_pages_are_free():
    scheduler = make(n_pages=5)
    first, second = request(max_tokens=100), request(max_tokens=100)  # four pages each
    assert add(scheduler, first, second) == [first]
    retire(scheduler, first)
    assert scheduler.admit() == [second]


def test_what_can_never_fit_is_known_at_once():
    scheduler = make(n_pages=4, max_running=8)
    assert scheduler.fits(request(max_tokens=None))
    assert not scheduler.fits(request(max_tokens=None, n=2))
    assert scheduler.fits(request(n=4))
    assert not scheduler.fits(request(n=9))


# ---- turns ----


def test_a_lone_prompt_is_read_at_once_and_then_written_from_token_by_token():
    scheduler = make(window=1024)
    only = request(500)
    add(scheduler, only)
    assert turn(scheduler) == [(only.rows[0], 500)]
    assert turn(scheduler) == [(only.rows[0], 1)]


def test_a_long_prompt_is_read_in_pieces_beside_those_who_write():
    scheduler = make(window=1024)
    scheduler.pace.note(**SIXTY_FOUR)
    writer, long = request(), request(1000, first=5000)
    add(scheduler, writer)
    turn(scheduler)
    add(scheduler, long)
    for _ in range(15):
        assert turn(scheduler) == [(writer.rows[0], 1), (long.rows[0], 64)]
    assert turn(scheduler) == [(writer.rows[0], 1), (long.rows[0], 40)]
    assert turn(scheduler) == [(writer.rows[0], 1), (long.rows[0], 1)]


def test_prompts_share_a_turn_in_order_of_arrival():
    scheduler = make(window=1024)
    scheduler.pace.note(**SIXTY_FOUR)
    writer, a, b = request(), request(40, first=100), request(60, first=300)
    add(scheduler, writer)
    turn(scheduler)
    add(scheduler, a, b)
    assert turn(scheduler) == [(writer.rows[0], 1), (a.rows[0], 40), (b.rows[0], 24)]
    assert turn(scheduler) == [(writer.rows[0], 1), (a.rows[0], 1)]  # what two take is not known
    scheduler.pace.note(n_tokens=2, seconds=STALL_S / 64)
    assert turn(scheduler)[2:] == [(b.rows[0], 36)]


def test_many_writers_leave_room_for_longer_pieces():
    scheduler = make(n_pages=1000, window=1024)
    writers = [request(first=100 * k) for k in range(32)]
    add(scheduler, *writers)
    turn(scheduler)
    scheduler.pace.note(n_tokens=32, seconds=0.05)
    add(scheduler, request(1000, first=9000))
    assert turn(scheduler)[-1][1] == 56  # 33 tokens take 52 ms, and 33 and 50 up to 2.6 times that


def test_a_short_prompt_does_not_wait_for_a_long_one():
    scheduler = make(window=1024)
    scheduler.pace.note(**SIXTY_FOUR)
    writer, long, short = request(), request(1000, first=2000), request(20, first=300)
    add(scheduler, writer)
    turn(scheduler)
    add(scheduler, long, short)
    assert turn(scheduler) == [(writer.rows[0], 1), (long.rows[0], 44), (short.rows[0], 20)]


def test_the_first_prompt_is_read_however_many_shorter_ones_come():
    scheduler = make(window=1024)
    scheduler.pace.note(**SIXTY_FOUR)
    writer, long = request(), request(1000, first=2000)
    add(scheduler, writer)
    turn(scheduler)
    add(scheduler, long, *(request(60, first=100 * k) for k in range(1, 20)))
    assert (long.rows[0], 32) in turn(scheduler)


def test_what_is_scored_is_read_last_and_one_after_another():
    scheduler = make(window=1024)
    first, second, text = (
        request(500, first=2000, prompt_logprobs=0),
        request(500, first=5000, prompt_logprobs=0),
        request(40, first=300),
    )
    add(scheduler, first, second, text)
    assert turn(scheduler) == [(text.rows[0], 40), (first.rows[0], 64)]


def test_scores_that_wait_hold_up_no_text():
    scheduler = make()
    scores = [request(first=100 * k, prompt_logprobs=0) for k in range(MAX_SCORED + 1)]
    text = request(first=9000)
    assert add(scheduler, *scores, text) == [*scores[:-1], text]
    assert list(scheduler.waiting) == scores[-1:]


# ---- one prompt, several rows ----


def test_rows_of_a_request_share_what_was_prefilled():
    scheduler = make()
    made = request(70, n=3)
    add(scheduler, made)
    assert scheduler.cache.n_held == 2 + 3 * 1  # two whole pages once, then a page each
    assert turn(scheduler) == [(made.rows[0], 70)]
    assert [row.place.pages[:2] for row in made.rows] == [made.rows[0].place.pages[:2]] * 3
    assert len({row.place.pages[2] for row in made.rows}) == 3
    assert turn(scheduler) == [(row, 1) for row in made.rows]


def test_forking_copies_the_page_that_is_not_full():
    for n_tokens, n_copies in [(70, 2), (64, 0)]:
        scheduler = make()
        made = request(n_tokens, n=3)
        add(scheduler, made)
        [step] = scheduler.plan()
        scheduler.advance(step)
        copies = scheduler.fork(made.rows[0])
        assert len(copies) == n_copies
        assert {copy.source for copy in copies} <= {made.rows[0].place.pages[-1]}


# ---- what is known already ----


def prefilled(scheduler, n_tokens, **params):
    """A request of that many tokens came, was read, wrote a little, and went."""
    made = request(n_tokens, **params)
    add(scheduler, made)
    while made.rows[0].place.n_computed < n_tokens + 3:
        turn(scheduler)
    retire(scheduler, made)


@pytest.mark.parametrize(
    "before, n_tokens, n_cached",
    [
        (100, 100, 96),
        (100, 40, 32),
        (100, 97, 96),
        (100, 96, 64),  # none would remain, and the last one's logits are wanted
        (100, 66, 64),
        (100, 33, 32),
        (100, 32, 0),
        (100, 1, 0),
        (31, 60, 0),  # no whole page was known
    ],
)
def test_a_known_beginning_is_not_read_again(before, n_tokens, n_cached):
    scheduler = make()
    prefilled(scheduler, before)
    made = request(n_tokens)
    add(scheduler, made)
    assert made.cached_tokens == n_cached
    assert turn(scheduler) == [(made.rows[0], n_tokens - n_cached)]


def test_what_was_written_is_known_like_what_was_read():
    scheduler = make(window=1024)
    made = request(40, max_tokens=100)
    add(scheduler, made)
    for _ in range(60):
        turn(scheduler)
    ids = list(made.rows[0].ids)
    retire(scheduler, made)
    again = request(len(ids))
    again.rows[0].ids, again.keys = ids, page_keys(ids)
    add(scheduler, again)
    assert len(ids) == 100 and again.cached_tokens == 96


def test_a_page_is_shared_while_its_first_owner_still_writes():
    scheduler = make()
    first, second = request(70), request(70)
    add(scheduler, first)
    turn(scheduler)
    add(scheduler, second)
    assert second.rows[0].place.pages[:2] == first.rows[0].place.pages[:2]
    retire(scheduler, first)
    assert scheduler.cache.n_held == 3


def test_a_prompt_that_is_to_be_scored_is_read_whole():
    scheduler = make()
    prefilled(scheduler, 100)
    add(scheduler, made := request(100, prompt_logprobs=0))
    assert made.cached_tokens == 0


# ---- past the window ----


def test_a_row_past_the_window_keeps_its_newer_half_and_reads_it_again():
    scheduler = make()
    made = request(100, max_tokens=None)
    add(scheduler, made)
    [row] = made.rows
    while len(row.ids) <= WINDOW:
        turn(scheduler)
    expected, held = row.ids[-64:], scheduler.cache.n_held
    assert scheduler.slide(row) == 65
    assert row.ids == expected
    assert scheduler.cache.n_held == held
    assert turn(scheduler) == [(row, 64)]
    assert turn(scheduler) == [(row, 1)]


def test_what_a_request_keeps_of_its_prompt_stays_in_front_however_often_it_slides():
    scheduler = make()
    made = request(100, max_tokens=None, keep=10)
    add(scheduler, made)
    [row] = made.rows
    prompt = list(row.ids)
    for _ in range(3):
        while len(row.ids) <= WINDOW:
            turn(scheduler)
        newest = row.ids[-54:]
        scheduler.slide(row)
        assert row.ids == prompt[:10] + newest


@pytest.mark.parametrize(("keep", "kept"), [(1_000_000, 32), (20, 20)])
def test_what_is_kept_leaves_most_of_the_window_to_the_text(keep, kept):
    scheduler = make()
    add(scheduler, made := request(100, max_tokens=None, keep=keep))
    [row] = made.rows
    while len(row.ids) <= WINDOW:
        turn(scheduler)
    before = list(row.ids)
    scheduler.slide(row)
    assert row.ids == before[:kept] + before[len(before) - 64 + kept :]


def test_a_row_that_slides_leaves_shared_pages_as_they_are():
    scheduler = make()
    prefilled(scheduler, 100)
    first = request(100, max_tokens=None, n=2)
    add(scheduler, first)
    while len(first.rows[0].ids) <= WINDOW:
        turn(scheduler)
    shared = set(first.rows[1].place.pages[:3])
    scheduler.slide(first.rows[0])
    assert len(first.rows[0].place.pages) == 4
    assert not shared & set(first.rows[0].place.pages)
    assert set(first.rows[1].place.pages[:3]) == shared


# ---- going ----


def test_when_all_have_gone_every_page_is_free():
    scheduler = make()
    requests = [request(70, n=3), request(100, max_tokens=None), request(5, first=900)]
    add(scheduler, *requests)
    for _ in range(50):
        turn(scheduler)
        for row in [row for row in scheduler.rows() if len(row.ids) > WINDOW]:
            scheduler.slide(row)
    for made in requests:
        retire(scheduler, made)
    assert scheduler.cache.n_held == 0
    assert scheduler.running == []
