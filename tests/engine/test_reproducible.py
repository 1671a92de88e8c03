"""The same request gives the same tokens alone and in any company, in every precision."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from app.engine import Ended, Engine, EngineOptions, Params, Slid, Token
from tests.engine.reading import ids_of, of_kind, read, started_of
from tests.tiny import TINY, make_tiny

LENGTHS = [1, 2, 31, 32, 33, 34, 63, 64, 65, 66, 95, 96, 97, 98, 127, 128, 129, 130]
N_REQUESTS = 200
STARTER = Path(__file__).parents[2] / "models" / "starter"
N_IDS = 8192  # that both models have
SAMPLED = Params(temperature=1, top_k=0, max_tokens=64, ignore_eos=True)


@pytest.fixture(scope="module")
def wider(tmp_path_factory):
    """A window of 256, so that the longest prompts need not slide."""
    config = dataclasses.replace(TINY, n_positions=256)
    return make_tiny(tmp_path_factory.mktemp("models") / "wider", config)


@pytest.fixture(scope="module", params=["float32", "int8"])
def precision(request):
    return request.param


@pytest.fixture(scope="module", params=["wider", pytest.param("starter", marks=pytest.mark.soak)])
def engine(request, precision, wider):
    models = {request.param: str(wider if request.param == "wider" else STARTER)}
    options = EngineOptions(models=models, precision=precision, threads=2)
    engine = Engine(options)
    yield engine
    engine.close()


WORDS = " the house was old and stood where a river met its other arm".split()
HEALED = "window"  # both models have two tokens that begin so
# What clients send, besides a seed and a length.
SETTINGS = [
    {},
    {"temperature": 0},
    {"temperature": 1, "top_k": 0},
    {"temperature": 1, "top_k": 0, "top_p": 0.95},
    {"top_k": 100, "top_p": 0.92, "repetition_penalty": 1.1},
    {"min_p": 0.05, "top_k": 0},
    {"typical_p": 0.9},
    {"presence_penalty": 0.5, "frequency_penalty": 0.5, "penalty_range": 20},
    {"stop": ["e", " a"], "min_tokens": 10, "max_tokens": 20},
    {"n": 3},
    {"prompt_logprobs": 2},
    {"logprobs": 3, "ignore_eos": True},
    {"n": 2, "max_tokens": 300},  # past the window
]


def make_requests(n, seed=1):
    """Ids and texts by turns. The texts end in a word that is as likely as not drawn again."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        length = LENGTHS[i % len(LENGTHS)]
        n_new = 64 if i % 4 == 0 else int(rng.integers(2, 20))  # so that neighbours leave
        if i % 2:
            n_new = 1 + i % 37  # with the prompts' lengths: every place where a page can end
            params = Params(**{"seed": i, "max_tokens": n_new} | SETTINGS[i // 2 % len(SETTINGS)])
            words = [*rng.choice(WORDS, length - 1), HEALED]
            yield "".join(f" {word}" for word in words), params
        else:
            prompt = rng.integers(0, N_IDS, length).tolist()
            yield prompt, replace(SAMPLED, seed=i, max_tokens=n_new)


def told(completion):
    """All that depends on the model, by choice: rows of a request do not wait for each other."""
    events = read(completion)
    rest = of_kind(events, Token | Slid | Ended)
    return started_of(events).prompt, sorted(rest, key=lambda event: event.choice)


def test_200_of_200_requests_give_the_same_tokens_alone_and_under_load(engine):
    """Under load they come 24 at a time, beside prompts of 250 tokens that nobody asked about."""
    requests = list(make_requests(N_REQUESTS))
    alone = [told(engine.submit(*request)) for request in requests]
    rng, running, loaded = np.random.default_rng(2), {}, {}
    for i, request in enumerate(requests):
        running[i] = engine.submit(*request)
        if i % 5 == 0:
            long = rng.integers(0, N_IDS, 250).tolist()
            running[f"long {i}"] = engine.submit(long, replace(SAMPLED, max_tokens=3))
        if len(running) >= 24:
            oldest = next(iter(running))
            loaded[oldest] = told(running.pop(oldest))
    loaded |= {key: told(completion) for key, completion in running.items()}
    differing = [(i, requests[i]) for i in range(N_REQUESTS) if loaded[i] != alone[i]]
    assert differing == []


def test_a_cached_beginning_changes_no_token(engine):
    rng = np.random.default_rng(3)
    for length in LENGTHS:
        prompt = rng.integers(0, N_IDS, length).tolist()
        params = replace(SAMPLED, seed=length, max_tokens=24)
        fresh, cached = (read(engine.submit(prompt, params)) for _ in range(2))
        assert started_of(cached).cached_tokens == (length - 1) // 32 * 32
        assert ids_of(cached) == ids_of(fresh), length


def test_going_on_from_what_was_written_reads_nothing_again_and_changes_no_token(engine):
    rng = np.random.default_rng(6)
    for length in (1, 20, 33, 64):
        prompt = rng.integers(0, N_IDS, length).tolist()
        greedy = replace(SAMPLED, temperature=0, max_tokens=100)
        written = ids_of(read(engine.submit(prompt, greedy)))
        so_far = prompt + written[:70]
        going_on = read(engine.submit(so_far, replace(greedy, max_tokens=30)))
        assert started_of(going_on).cached_tokens == (len(so_far) - 1) // 32 * 32
        assert ids_of(going_on) == written[70:], length


def test_each_of_n_rows_is_what_its_seed_gives_alone(engine):
    rng = np.random.default_rng(4)
    for length in (1, 31, 64, 97):
        prompt = rng.integers(0, N_IDS, length).tolist()
        params = replace(SAMPLED, seed=length, max_tokens=24)
        together = read(engine.submit(prompt, replace(params, n=3)))
        for choice, seed in enumerate(started_of(together).seeds):
            alone = read(engine.submit(prompt, replace(params, seed=seed)))
            assert ids_of(alone) == ids_of(together, choice), (length, choice)


def test_sliding_past_the_window_changes_no_token_in_company(engine):
    requests = [([i, i + 1, i + 2], replace(SAMPLED, seed=i, max_tokens=400)) for i in range(3)]
    alone = [ids_of(read(engine.submit(*request))) for request in requests]
    together = [engine.submit(*request) for request in requests]
    assert [ids_of(read(completion)) for completion in together] == alone
