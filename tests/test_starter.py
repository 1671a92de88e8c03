"""The model that comes along is what its card says."""

from pathlib import Path

import pytest

from app import gpt2
from app.engine import Engine, EngineOptions

STARTER = Path(__file__).parent.parent / "models" / "starter"
PROSE = (
    "The rain had stopped when they came to the inn. An old man was sitting by the fire with his "
    "hat upon his knees, and he did not look up until the door was shut behind them."
)


@pytest.fixture(scope="module")
def engine():
    engine = Engine(EngineOptions(models={"starter": str(STARTER)}))
    yield engine
    engine.close()


def test_the_starter_is_a_small_gpt2_of_half_precision():
    config, weights, *_ = gpt2.load(STARTER)
    assert (config.n_positions, config.vocab_size) == (1024, 8192)
    assert set(weights) == set(config.shapes())
    assert (STARTER / "pytorch_model.bin").stat().st_size < 30e6


def test_the_starter_knows_prose_from_noise(engine):
    words = PROSE.split()
    in_order, backwards = engine.score("", [PROSE, " ".join(reversed(words))])
    assert in_order.bits / len(PROSE) < 2.0  # chance would be 3.3
    assert backwards.bits > 1.4 * in_order.bits


def test_the_starter_loses_little_in_int8(engine):
    [served] = engine.info().models
    assert (served.precision, served.notes) == ("int8", [])
    assert served.perplexity_loss < 0.01


def test_the_card_names_every_work_it_learned_from():
    rows = (STARTER / "SOURCES.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(rows) == 203
    assert all("public domain" in row for row in rows)
