"""Random arrivals, cancels and faults against what must always hold. No thread, no real model."""

import hashlib
import itertools
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine import Ended, Failed, Params, Started, is_last
from app.engine.cache import PAGE
from app.engine.lane import Lane
from app.engine.prepare import prepare
from app.gpt2 import Config, Logits, Tokenizer
from tests.engine.reading import ids_of, of_kind

WINDOW, V, MAX_ROWS = 128, 300, 4
CONFIG = Config(vocab_size=V, n_positions=WINDOW, n_embd=64, n_layer=1, n_head=1)
CHECKPOINT = SimpleNamespace(config=CONFIG, tokenizer=Tokenizer.gpt2())


def next_id(ids):
    """The fake model's only opinion: a token that depends on all that it sees."""
    return int.from_bytes(hashlib.blake2b(bytes(str(ids), "ascii")).digest()[:4], "big") % V


class FakeModel:
    """Keeps tokens in its pages instead of keys and values, and reads them from there."""

    page_bytes = 1

    def allocate(self, n_pages):
        self.tokens = np.full((n_pages, PAGE), -1)
        self.will_fail = False

    def copy_page(self, source, target):
        self.tokens[target] = self.tokens[source]

    def forward(self, feeds):
        if self.will_fail:
            self.will_fail = False
            raise RuntimeError("a planted fault")
        assert len(feeds) <= MAX_ROWS
        touched = [page for feed in feeds for page in self.write(feed)]
        assert len(touched) == len(set(touched)), "two rows wrote into one page"
        n_wanted = sum(feed.wanted for feed in feeds)
        logits = np.zeros((n_wanted, V), np.float32)
        seen = [self.seen(feed, back) for feed in feeds for back in range(feed.wanted)[::-1]]
        for row, ids in zip(logits, seen, strict=True):
            row[next_id(ids)] = 1
        top_ids = np.argsort(-logits, axis=1, kind="stable")[:, :64]
        return Logits(logits, top_ids, np.take_along_axis(logits, top_ids, axis=1))

    def write(self, feed):
        for at, id in enumerate(feed.ids, start=feed.past):
            self.tokens[feed.pages[at // PAGE], at % PAGE] = id
        first, last = feed.past // PAGE, (feed.past + len(feed.ids) - 1) // PAGE
        return feed.pages[first : last + 1]

    def seen(self, feed, back):
        end = feed.past + len(feed.ids) - back
        return self.tokens[feed.pages[: -(-end // PAGE)]].ravel()[:end].tolist()


def expected(prompt, max_tokens):
    """What a row should write, whatever goes on around it."""
    ids, written = list(prompt), []
    while len(written) < max_tokens:
        if len(ids) > WINDOW:
            ids = ids[-WINDOW // 2 :]
        written.append(next_id(ids))
        ids.append(written[-1])
    return written


class Cut:
    """Instead of what turns of a fake take: prompts in pieces of all sizes."""

    def __init__(self):
        self.budgets = itertools.cycle([8, 24, 40, 512, 0])

    def budget(self, n_writing, n_running):
        return next(self.budgets)

    def note(self, n_tokens, seconds):
        pass


class House:
    """A lane with the fake model, and everything that was ever told to its readers."""

    def __init__(self, n_pages):
        self.lane = Lane(CHECKPOINT, FakeModel(), n_pages, MAX_ROWS)
        self.lane.scheduler.pace = Cut()
        self.requests, self.told, self.asked = [], [], []

    def submit(self, length, max_tokens, n, common):
        """Prompts begin alike as often as not, so that pages are shared."""
        prompt = [7] * min(common, length) + [100 + len(self.told)] * max(0, length - common)
        events = []
        params = Params(temperature=0, max_tokens=max_tokens, n=n, ignore_eos=True)
        request = prepare(
            prompt, params, CONFIG, self.lane.vocabulary, "", events.append, 0.0, 1e12
        )
        if self.lane.scheduler.fits(request):
            self.lane.add(request)
            self.requests.append(request)
            self.told.append(events)
            self.asked.append((prompt, max_tokens))

    def step(self):
        self.lane.step()
        cache = self.lane.scheduler.cache
        held = {page for row in self.lane.scheduler.rows() for page in (*row.pages, *row.spare)}
        assert len(held) == cache.n_held, "pages leaked or were lost"


ACTIONS = st.one_of(
    st.tuples(
        st.just("submit"),
        st.integers(1, 140),
        st.integers(0, 90),
        st.integers(1, 3),
        st.sampled_from([0, 40, 70, 200]),
    ),
    st.tuples(st.just("step"), st.integers(1, 30)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("fault")),
)


@settings(max_examples=100)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=25), n_pages=st.sampled_from([4, 7, 16]))
def test_whatever_happens_the_invariants_hold(actions, n_pages):
    house = House(n_pages)
    for action, *values in actions:
        if action == "submit":
            house.submit(*values)
        elif action == "step":
            for _ in range(values[0]):
                house.step()
        elif action == "cancel" and values[0] < len(house.requests):
            house.requests[values[0]].is_cancelled = True
        elif action == "fault":
            house.lane.model.will_fail = True
    while house.lane.has_work:
        house.step()

    assert house.lane.scheduler.cache.n_held == 0
    for (prompt, max_tokens), events in zip(house.asked, house.told, strict=True):
        assert [is_last(event) for event in events].count(True) == 1 and is_last(events[-1])
        for ended in of_kind(events, Ended):
            written = expected(prompt[-WINDOW:], max_tokens)
            ids = ids_of(events, ended.choice)
            assert ids == written if ended.reason == "length" else ids == written[: len(ids)]


def test_requests_start_in_order_of_arrival():
    house, order = House(n_pages=8), []
    for i in range(12):
        house.submit(length=10 + i, max_tokens=5 + i % 3, n=1 + i % 2, common=0)
        house.requests[-1].put = lambda event, i=i: (
            order.append(i) if isinstance(event, Started) else None
        )
    while house.lane.has_work:
        house.step()
    assert order == list(range(12))


def test_a_failed_turn_fails_who_was_in_it_and_no_one_else():
    house = House(n_pages=4)
    for _ in range(2):  # four pages each: the second waits
        house.submit(length=100, max_tokens=28, n=1, common=0)
    house.step()
    house.lane.model.will_fail = True
    while house.lane.has_work:
        house.step()
    assert isinstance(house.told[0][-1], Failed)
    assert len(ids_of(house.told[1])) == 28
