"""The model that comes along is what its card says."""

import math
from pathlib import Path

import pytest

from app import gpt2
from app.engine import Ended, Engine, EngineOptions, Params, Started, Token, make_params
from app.engine.cards import card_data

STARTER = Path(__file__).parent.parent / "models" / "starter"
SHAPE = (10, 448, 1024, 8192)
PROSE = (
    "The rain had stopped when they came to the inn. An old man was sitting by the fire with his "
    "hat upon his knees, and he did not look up until the door was shut behind them."
)


@pytest.fixture(scope="module")
def engine():
    engine = Engine(EngineOptions(models={"starter": str(STARTER)}))
    yield engine
    engine.close()


def test_the_starter_is_a_small_gpt2_in_a_byte_a_weight():
    config, weights, _, facts = gpt2.load(STARTER)
    assert (config.n_layer, config.n_embd, config.n_positions, config.vocab_size) == SHAPE
    assert set(weights) == set(config.shapes())
    assert facts.dtype == "int8" and facts.path.stat().st_size < 30e6


def test_its_card_opens_and_its_settings_are_a_requests():
    card = card_data(str(STARTER))
    assert card["title"] and card["blurb"] and card["language"] == "en"
    assert card["starters"] and card["settings"] and card["licence"] and card["warning"]


def test_the_starter_knows_prose_from_noise(engine):
    words = PROSE.split()
    in_order, backwards = _bits(engine, PROSE), _bits(engine, " ".join(reversed(words)))
    assert in_order / len(PROSE) < 2.0  # chance would be 3.3
    assert backwards > 1.4 * in_order


def _bits(engine, text):
    ids = [engine.info().models[0].bos_token_id, *engine.tokenize(text).ids]
    events = engine.submit(ids, Params(max_tokens=0, prompt_logprobs=0))
    [started] = [event for event in events if isinstance(event, Started)]
    return -sum(token.logprob for token in started.prompt[1:]) / math.log(2)


def test_the_starter_loses_little_in_int8(engine):
    [served] = engine.info().models
    assert (served.precision, served.notes) == ("int8", [])
    assert served.perplexity_loss < 0.01


def test_after_a_year_it_goes_on_in_words(engine):
    """Its vocabulary spells numbers in digits, and "In the year 1887" went on as "18875"."""
    settings = card_data(str(STARTER))["settings"] | {"max_tokens": 1}
    asked = [(f"In the year {year}", seed) for year in (1815, 1887, 1900) for seed in range(8)]
    running = [engine.submit(p, make_params(settings | {"seed": seed})) for p, seed in asked]
    texts = ["".join(e.text for e in one if isinstance(e, Token | Ended)) for one in running]
    assert not any(text[:1].isdigit() for text in texts)


def test_a_year_cut_short_goes_on_in_digits(engine):
    running = [
        engine.submit("In the year 188", make_params({"max_tokens": 1, "seed": seed}))
        for seed in range(8)
    ]
    texts = ["".join(e.text for e in one if isinstance(e, Token | Ended)) for one in running]
    assert all(text.isdigit() for text in texts)


def test_the_card_names_every_work_it_learned_from():
    rows = (STARTER / "SOURCES.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(rows) == 203
    assert all("public domain" in row for row in rows)
