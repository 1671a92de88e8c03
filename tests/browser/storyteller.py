"""An engine that tells stories: a fake whose tokens are words, with odds and alternatives.

The same seed after the same prompt tells the same. `allow(n)` lets it write n more words in each
choice and then stand still; without it, it writes on.
"""

import itertools
import random
import re
import threading

from app.engine import (
    Ended,
    Failed,
    PromptToken,
    Queued,
    Started,
    Token,
    Tokenized,
    TopToken,
)
from tests.fake_engine import FakeEngine

WORDS = (
    " the", " old", " lamp", " and", " river", " boats", " she", " said", " dark", " windows",
    " lane", " water", " church", " ladder", " listen", " night", ",", ".", " children", " road",
)  # fmt: skip
WINDOW = 1024  # as the fake says of itself


class Storyteller(FakeEngine):
    def __init__(self):
        super().__init__()
        self.story = None  # words to tell instead, over and over
        self.requests = []  # (prompt, params) as they came, but for scores
        self._words = [""]  # by id
        self._allowed = None
        self._moved = threading.Condition()

    def allow(self, words):
        with self._moved:
            self._allowed = words if self._allowed is None else self._allowed + words
            self._moved.notify_all()

    def flow(self):
        with self._moved:
            self._allowed = None
            self._moved.notify_all()

    def submit(self, prompt, params, model=None, id=None):
        if params.prompt_logprobs is None:
            self.requests.append((prompt, params))
        return super().submit(prompt, params, model, id)

    def _events(self, prompt, params, stop):
        if not self.begin.is_set():
            yield Queued(ahead=2, wait_s=3.0)
        while not self.begin.wait(0.005) and not stop.is_set():
            pass
        first = random.randrange(2**32) if params.seed is None else params.seed
        seeds = [first + choice for choice in range(params.n)]
        yield self._started(prompt, seeds, params.prompt_logprobs)
        tellers = [random.Random(f"{seed} {prompt}") for seed in seeds]
        limit = itertools.count() if params.max_tokens is None else range(params.max_tokens)
        written, reason = 0, "length"
        for written in limit:
            if self.fails_after == written:
                yield Failed("engine_error", "The engine stumbled.")
                return
            if not self._may_write(written, stop):
                reason = "cancelled"
                break
            for choice, teller in enumerate(tellers):
                yield self._token(choice, teller, written, params)
        for choice in range(params.n):
            yield Ended(choice, reason)
        yield self._finished(prompt, written + 1)

    def _started(self, prompt, seeds, top):
        words = _split(prompt) if isinstance(prompt, str) else [self._words[id] for id in prompt]
        dropped = max(0, len(words) - WINDOW)
        start = sum(len(word) for word in words[:dropped])
        scored = None if top is None else _score(words, top)
        return Started(len(words), 0, dropped > 0, dropped, start, seeds, scored)

    def _may_write(self, written, stop):
        with self._moved:
            while self._allowed is not None and written >= self._allowed and not stop.is_set():
                self._moved.wait(0.005)
        return not stop.is_set()

    def _token(self, choice, teller, written, params):
        drawn = teller.choice(WORDS)
        if self.story is not None:
            drawn = self.story[written % len(self.story)]
        top = _alternatives(drawn, teller, params.logprobs or 0)
        logprob = next((token.logprob for token in top if token.bytes == drawn.encode()), -3.0)
        return Token(choice, 1, drawn, drawn.encode(), logprob, top)

    def tokenize(self, text, model=None):
        self._check(model)
        words = _split(text)
        ends = list(itertools.accumulate(len(word) for word in words))
        return Tokenized(
            [self._id(word) for word in words], list(zip([0, *ends], ends, strict=False))
        )

    def _id(self, word):
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)


def _split(text):
    return re.findall(r"\s*[^\W_]+|\s*[^\w\s]|\s+|_+", text)


def _alternatives(drawn, teller, count):
    others = [word for word in teller.sample(WORDS, count + 1) if word != drawn][
        : max(0, count - 1)
    ]
    odds = [-0.9 - 0.6 * place for place in range(count)]
    place = teller.randrange(count) if count else 0
    words = [*others[:place], drawn, *others[place:]]
    return [
        TopToken(i, word.encode(), odd)
        for i, (word, odd) in enumerate(zip(words, odds, strict=False))
    ]


def _score(words, top):
    teller = random.Random(" ".join(words))
    first, *others = [_scored(word, teller, top) for word in words]
    return [PromptToken(first.id, first.bytes, None, []), *others]


def _scored(word, teller, top):
    return PromptToken(
        1, word.encode(), -teller.expovariate(0.35), _alternatives(word, teller, top)
    )
