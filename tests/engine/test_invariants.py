"""Random arrivals, cancels and faults against what must always hold. No thread, no real model."""

import hashlib
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine import Ended, Failed, Params, Slid, Started, Token, is_last
from app.engine.turns.cache import PAGE, page_keys
from app.engine.turns.lane import Lane
from app.engine.turns.prepare import prepare
from app.gpt2 import Config, Logits, Tokenizer
from tests.engine.reading import of_kind

WINDOW, V, MAX_ROWS = 128, 300, 4
CONFIG = Config(
    vocab_size=V,
    n_positions=WINDOW,
    n_embd=64,
    n_layer=1,
    n_head=1,
    bos_token_id=V - 1,
    eos_token_ids=(V - 1,),
)
CHECKPOINT = SimpleNamespace(config=CONFIG, tokenizer=Tokenizer.gpt2())


class FakeModel:
    """Keeps tokens in its pages instead of keys and values, and reads them from there.

    `broken` collects what a kernel would do in silence: an exception would end as a failed turn.
    """

    page_bytes = 1
    longest = 512

    def allocate(self, n_pages):
        self.tokens = np.full((n_pages, PAGE), -1)
        self.will_fail = False
        self.broken = []

    def copy_page(self, source, target):
        self.tokens[target] = self.tokens[source]

    def forward(self, feeds):
        if self.will_fail:
            self.will_fail = False
            raise RuntimeError("a planted fault")
        assert len(feeds) <= MAX_ROWS
        written = [page for feed in feeds for page in self.write(feed)]
        if len(written) != len(set(written)):
            self.broken.append("two rows wrote into one page")
        rows = [self.score(feed, back) for feed in feeds for back in range(feed.wanted)[::-1]]
        logits = np.array(rows, np.float32).reshape(-1, V)
        top_ids = np.argsort(-logits, axis=1, kind="stable")[:, :64]
        return Logits(logits, top_ids, np.take_along_axis(logits, top_ids, axis=1))

    def write(self, feed):
        """A token a slot; as a kernel would, past the row's own pages into whatever follows."""
        end = feed.past + len(feed.ids)
        if end > len(feed.pages) * PAGE:
            self.broken.append(f"{end} tokens in {len(feed.pages)} pages")
        for at, id in enumerate(feed.ids, start=feed.past):
            self.tokens[feed.pages[at // PAGE % len(feed.pages)], at % PAGE] = id
        return feed.pages[feed.past // PAGE : -(-end // PAGE)]

    def score(self, feed, back):
        """Logits that depend on every token that the row sees."""
        end = feed.past + len(feed.ids) - back
        seen = self.tokens[feed.pages[: -(-end // PAGE)]].ravel()[:end]
        digest = hashlib.blake2b(seen.tobytes(), digest_size=8).digest()
        return 3 * np.random.default_rng(int.from_bytes(digest, "big")).normal(size=V)


class Cut:
    """Instead of what turns of a fake take: prompts in pieces of all sizes."""

    def __init__(self):
        self.budgets = itertools.cycle([8, 1, 33, 40, 512, 0])

    def budget(self, n_writing, n_running):
        return next(self.budgets)

    def note(self, n_tokens, seconds):
        pass


class House:
    """A lane with the fake model, and everything that was ever told to its readers."""

    def __init__(self, n_pages, n_guesses=4):
        model = FakeModel()
        model.n_guesses = n_guesses
        self.lane = Lane(CHECKPOINT, model, n_pages, MAX_ROWS)
        self.lane.scheduler.pace = Cut()
        self.requests, self.told, self.asked = [], [], []
        self.meaning = {}  # of a page's key: the tokens it stands for
        self.retire, self.lane.scheduler.retire = self.lane.scheduler.retire, self.note_and_retire

    def submit(self, prompt, params):
        events = []
        request = prepare(
            prompt, params, CONFIG, self.lane.vocabulary, "", events.append, 0.0, 1e12
        )
        self.note(request.keys, request.rows[0].ids)
        if self.lane.scheduler.fits(request):
            self.lane.add(request)
            self.requests.append(request)
            self.told.append(events)
            self.asked.append((prompt, params))

    def note(self, keys, ids):
        self.meaning |= {key: ids[k * PAGE : (k + 1) * PAGE] for k, key in enumerate(keys)}

    def note_and_retire(self, row):
        self.note(page_keys(row.ids), row.ids)  # what it wrote is known once it has gone
        self.retire(row)

    def step(self):
        self.lane.step()
        cache, model = self.lane.scheduler.cache, self.lane.model
        held = {
            page
            for row in self.lane.scheduler.rows()
            for page in (*row.place.pages, *row.place.spare)
        }
        assert len(held) == cache.n_held, "pages leaked or were lost"
        assert model.broken == []
        for key, page in cache._page_of.items():
            assert model.tokens[page].tolist() == self.meaning[key], "a page is not what it says"

    def run(self):
        while self.lane.has_work:
            self.step()


def written(events):
    """What a reader was given of each choice: ids, texts, odds, slides and the end."""
    told = {}
    for event in of_kind(events, Token | Slid | Ended):
        told.setdefault(event.choice, []).append(event)
    return told


def alone(prompt, params):
    """What the same request is told in an empty house, a token at a time."""
    house = House(n_pages=4 * MAX_ROWS, n_guesses=0)
    house.submit(prompt, params)
    house.run()
    [events] = house.told
    return written(events)


def prompts(n, length, common, as_text):
    """Alike at first as often as not, so that pages are shared; a text's end can be healed."""
    common = min(common, length)
    if as_text:
        return " t" * common + [" a", " s", " o", " in"][n % 4] * (length - common - 1) + " t"
    return [7] * common + [100 + n] * (length - common)


PARAMS = st.builds(
    lambda max_tokens, **others: Params(
        max_tokens=max_tokens, min_tokens=min(others.pop("min_tokens"), max_tokens), **others
    ),
    max_tokens=st.integers(0, 140),
    min_tokens=st.sampled_from([0, 0, 0, 20]),
    temperature=st.sampled_from([0, 0.7, 1, 2]),
    top_k=st.sampled_from([0, 1, 40, 100]),
    top_p=st.sampled_from([1.0, 1.0, 0.9]),
    min_p=st.sampled_from([0.0, 0.0, 0.05]),
    typical_p=st.sampled_from([1.0, 1.0, 0.9]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.2]),
    presence_penalty=st.sampled_from([0.0, 0.0, 1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.5]),
    penalty_range=st.sampled_from([0, 0, 10]),
    banned=st.sampled_from([[], [], [" the", 17]]),
    logit_bias=st.sampled_from([{}, {}, {5: 4.0}, {5: 100.0, 6: 100.0}]),  # guessed right or not
    stop=st.sampled_from([[], [], ["e", "tx"]]),
    stop_token_ids=st.sampled_from([[], [], [256, 40]]),  # 256 is " t", a prompt's own last token
    include_stop=st.booleans(),
    seed=st.integers(0, 5),
    n=st.integers(1, 3),
    logprobs=st.sampled_from([None, None, 2]),
    prompt_logprobs=st.sampled_from([None, None, None, 1]),
    healing=st.booleans(),
    finish_sentence=st.sampled_from([0, 0, 7]),
    banned_phrases=st.sampled_from([[], [], ["e", "t a"], [" the", "x", "in", "on"]]),
    dry_multiplier=st.sampled_from([0.0, 0.0, 1.0]),
    no_repeat_ngram=st.sampled_from([0, 0, 2]),
    xtc_probability=st.sampled_from([0.0, 0.0, 0.5]),
)
ACTIONS = st.one_of(
    st.tuples(
        st.just("submit"),
        st.integers(1, 140),
        st.sampled_from([0, 40, 70, 200]),
        st.booleans(),
        PARAMS,
    ),
    st.tuples(st.just("step"), st.integers(1, 30)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("fault")),
)


@settings(max_examples=60, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=25), n_pages=st.sampled_from([4, 7, 16]))
def test_whatever_happens_the_invariants_hold(actions, n_pages):
    house = House(n_pages)
    for action, *values in actions:
        if action == "submit":
            length, common, as_text, params = values
            house.submit(prompts(len(house.told), length, common, as_text), params)
        elif action == "step":
            for _ in range(values[0]):
                house.step()
        elif action == "cancel" and values[0] < len(house.requests):
            house.requests[values[0]].is_cancelled = True
        elif action == "fault":
            house.lane.model.will_fail = True
    house.run()

    assert house.lane.scheduler.cache.n_held == 0
    for (prompt, params), events in zip(house.asked, house.told, strict=True):
        assert [is_last(event) for event in events].count(True) == 1 and is_last(events[-1])
        expected = alone(prompt, params)
        for choice, told in written(events).items():
            is_whole = isinstance(told[-1], Ended) and told[-1].reason != "cancelled"
            n_told = len(told) if is_whole else len(of_kind(told, Token | Slid))
            assert told[:n_told] == expected[choice][:n_told]
            assert not is_whole or n_told == len(expected[choice])
            text = "".join(event.text for event in told if not isinstance(event, Slid)).lower()
            assert not any(phrase in text for phrase in params.banned_phrases)


@pytest.mark.parametrize("n_prompt", [2, 32, 33])
def test_a_healed_prompt_never_feeds_more_than_its_pages(n_prompt):
    """One whose cut token is drawn again fed one token more than it had reserved, at the ends of
    pages: into the next row's first page."""
    for max_tokens in range(1, PAGE + 2):
        house = House(n_pages=16)
        own = Params(temperature=0, max_tokens=max_tokens, ignore_eos=True, logit_bias={256: 100})
        house.submit(" t" * n_prompt, own)
        house.submit([9] * 40, Params(temperature=0, max_tokens=max_tokens, ignore_eos=True))
        house.run()
        for events, (prompt, params) in zip(house.told, house.asked, strict=True):
            assert written(events) == alone(prompt, params), max_tokens


def test_a_healed_prompt_as_long_as_the_window_leaves_no_wrong_page_behind():
    """Its pages were published as never to be rewritten, and then it slid after all: the next
    reader of the same prompt went on from somebody else's text."""
    house = House(n_pages=16)
    prompt = " a" * 70 + " t"
    params = Params(temperature=0, max_tokens=WINDOW - 69, ignore_eos=True, logit_bias={256: 100})
    house.submit(prompt, params)
    house.run()
    house.submit(prompt, params)
    house.run()
    assert written(house.told[0]) == written(house.told[1]) == alone(prompt, params)


@pytest.mark.parametrize("n_prompt", [1, 31, 33, 90, 127])
def test_right_guesses_save_turns_and_wrong_ones_change_nothing(n_prompt):
    for max_tokens in (1, 2, 30, 100):
        for bias in ({5: 100.0}, {5: 100.0, 6: 100.0}):
            house = House(n_pages=16)
            house.submit(
                [7] * n_prompt, Params(temperature=0, max_tokens=max_tokens, logit_bias=bias)
            )
            house.run()
            assert written(house.told[0]) == alone(*house.asked[0]), (max_tokens, bias)
            if max_tokens == 100 and n_prompt < 90:
                assert house.lane.tally.turns < 0.9 * max_tokens


def test_where_every_token_that_heals_would_repeat_the_prompt_stays_as_it_is():
    """The request failed: nothing was left to draw."""
    house = House(n_pages=16)
    vocabulary = house.lane.vocabulary
    alike = [vocabulary.bytes_of(id).decode() for id in vocabulary.agreeing(b" t").tolist()]
    house.submit("".join(alike) + " t", Params(no_repeat_ngram=1, max_tokens=3, ignore_eos=True))
    house.run()
    assert len(of_kind(house.told[0], Token)) == 3


def test_requests_start_in_order_of_arrival():
    house, order = House(n_pages=8), []
    for i in range(12):
        house.submit([100 + i] * (10 + i), Params(temperature=0, max_tokens=5 + i % 3, n=1 + i % 2))
        house.requests[-1].put = lambda event, i=i: (
            order.append(i) if isinstance(event, Started) else None
        )
    house.run()
    assert order == list(range(12))


def test_a_row_that_has_ended_is_not_waited_for():
    """One that had ended counted among those that still held rows and pages."""
    house = House(n_pages=16)
    house.submit([7] * 40, Params(temperature=0, max_tokens=60, ignore_eos=True, n=2))
    [request], lane = house.requests, house.lane
    while request.n_written < 20:
        house.step()
    whole = lane._need(request, 0.0)
    lane.scheduler.retire(request.rows[0])
    rest = lane._need(request, 0.0)
    assert (whole.rows, rest.rows) == (2, 1) and rest.pages < whole.pages


def test_a_failed_turn_fails_who_was_in_it_and_no_one_else():
    house = House(n_pages=4)
    for _ in range(2):  # four pages each: the second waits
        house.submit([7] * 100, Params(temperature=0, max_tokens=28, ignore_eos=True))
    house.step()
    house.lane.model.will_fail = True
    house.run()
    assert isinstance(house.told[0][-1], Failed)
    assert len(of_kind(house.told[1], Token)) == 28
