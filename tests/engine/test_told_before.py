"""A text that an engine began and another one goes on with: the very same, to its end."""

import re

import pytest
from msgspec.structs import replace

from app.engine import Ended, Engine, EngineOptions, Params, Slid, Token
from tests.engine.reading import ended_of, ids_of, read, text_of

PROMPT = "Once upon a time there was a hou"
CASES = {
    "plain": {"healing": False},
    "greedy": {"temperature": 0},
    "three choices": {"n": 3},
    "past the window": {"max_tokens": 300, "keep": 4},
    "healing": {"healing": True},
    "penalties past the window": {
        "max_tokens": 300, "repetition_penalty": 1.3, "presence_penalty": 0.5,
        "frequency_penalty": 0.5, "penalty_range": 100, "healing": True,
        "logit_bias": dict.fromkeys(range(300, 340), 20.0),  # so that few are drawn, often
    },
    "repetitions": {"dry_multiplier": 1.0, "no_repeat_ngram": 2},
    "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.0001, "min_tokens": 60},
    "scored": {"prompt_logprobs": 2, "logprobs": 2},
    "to the sentence's end": {"finish_sentence": 50},
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny):
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, precision="float32", threads=1))
    yield engine
    engine.close()


def told(events, choice):
    """What its reader sees, without how likely it was."""
    kinds = {Token: ("id", "text", "bytes"), Slid: ("dropped_tokens",), Ended: ("reason", "text")}
    return [
        (type(event), *(getattr(event, name) for name in kinds[type(event)]))
        for event in events
        if type(event) in kinds and event.choice == choice
    ]


def assert_the_same(engine, params):
    whole = read(engine.submit(PROMPT, params))
    ids = [ids_of(whole, choice) for choice in range(params.n)]
    for share in (0.02, 0.5, 0.98, 1.0):  # of each choice another length, as if they had run apart
        before = [
            some[: max(0, int(share * len(some)) - choice)] for choice, some in enumerate(ids)
        ]
        again = read(engine.submit(PROMPT, params, told_before=before))
        for choice in range(params.n):
            assert told(again, choice) == told(whole, choice), share
        assert again[-1].usage.completion_tokens == whole[-1].usage.completion_tokens
    return whole


@pytest.mark.parametrize("options", CASES.values(), ids=list(CASES))
def test_it_goes_on_as_it_would_have(engine, options):
    options = {"max_tokens": 60, "seed": 7, "ignore_eos": True} | options
    assert_the_same(engine, Params(**options))


@pytest.mark.parametrize("healing", [False, True])
def test_a_banned_phrase_and_a_stop_text_are_found_across_the_gap(engine, healing):
    free = Params(max_tokens=60, seed=7, ignore_eos=True, healing=healing)
    written = read(engine.submit(PROMPT, free))
    text = text_of(written)
    stop = re.search(r"\w{4}", text[70:], re.ASCII)
    stopped = assert_the_same(engine, replace(free, stop=[stop[0]]))
    assert ended_of(stopped).reason == "stop"
    banned = re.findall(r"\w{3}", text[:50], re.ASCII)
    kept = assert_the_same(engine, replace(free, banned_phrases=banned))
    assert text_of(kept) != text


def test_what_was_told_is_only_read(engine):
    params = Params(max_tokens=120, seed=7, ignore_eos=True, presence_penalty=0.1)  # no guesses
    ids = ids_of(read(engine.submit("A", params)))
    before = engine.stats().turns
    read(engine.submit("A", params, told_before=[ids[:110]]))
    assert engine.stats().turns - before < 60
