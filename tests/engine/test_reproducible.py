"""The same request gives the same tokens alone and in any company, in every precision."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from app.engine import Engine, EngineOptions, Params
from tests.engine.reading import ids_of, read, started_of
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


def make_requests(n, seed=1):
    rng = np.random.default_rng(seed)
    for i in range(n):
        length = LENGTHS[i % len(LENGTHS)]
        n_new = 64 if i % 4 == 0 else int(rng.integers(2, 20))  # so that neighbours leave
        yield rng.integers(0, N_IDS, length).tolist(), replace(SAMPLED, seed=i, max_tokens=n_new)


def test_200_of_200_requests_give_the_same_tokens_alone_and_under_load(engine):
    """Under load they come 24 at a time, beside prompts of 250 tokens that nobody asked about."""
    requests = list(make_requests(N_REQUESTS))
    alone = [ids_of(read(engine.submit(*request))) for request in requests]
    rng, running, loaded = np.random.default_rng(2), {}, {}
    for i, request in enumerate(requests):
        running[i] = engine.submit(*request)
        if i % 5 == 0:
            long = rng.integers(0, N_IDS, 250).tolist()
            running[f"long {i}"] = engine.submit(long, replace(SAMPLED, max_tokens=3))
        if len(running) >= 24:
            oldest = next(iter(running))
            loaded[oldest] = ids_of(read(running.pop(oldest)))
    loaded |= {key: ids_of(read(completion)) for key, completion in running.items()}
    differing = [(i, len(requests[i][0])) for i in range(N_REQUESTS) if loaded[i] != alone[i]]
    assert differing == []


def test_a_cached_beginning_changes_no_token(engine):
    rng = np.random.default_rng(3)
    for length in LENGTHS:
        prompt = rng.integers(0, N_IDS, length).tolist()
        params = replace(SAMPLED, seed=length, max_tokens=24)
        fresh, cached = (read(engine.submit(prompt, params)) for _ in range(2))
        assert started_of(cached).cached_tokens == max(0, (length - 2) // 32 * 32)
        assert ids_of(cached) == ids_of(fresh), length


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
