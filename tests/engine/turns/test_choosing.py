"""Draws as they were first recorded: texts that people keep by their seed stay theirs."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.engine import Params
from app.engine.turns.choosing import Drawing, choose
from app.engine.turns.prepare import prepare
from app.engine.turns.vocabulary import Vocabulary
from app.gpt2 import Config, Logits, Tokenizer, open_drawer
from app.gpt2.sampling import candidates

RECORDED = Path(__file__).with_name("recorded_draws.json")
V, N = 50257, 12
CONFIG = Config(vocab_size=V, n_positions=128, n_embd=64, n_layer=1, n_head=1)
SETTINGS = [
    {},
    {"temperature": 0},
    {"temperature": 1, "top_k": 0},
    {"temperature": 2, "top_k": 0},
    {"top_k": 64},
    {"top_k": 100},
    {"top_k": 5000},
    {"temperature": 1, "top_k": 0, "top_p": 0.5},
    {"temperature": 1, "top_k": 0, "top_p": 0.95},
    {"temperature": 1, "top_k": 0, "top_p": 0.999},
    {"temperature": 1, "top_k": 100, "top_p": 0.92},
    {"temperature": 1, "top_k": 1000, "top_p": 0.92},
    {"temperature": 1, "top_k": 0, "min_p": 0.05},
    {"temperature": 1, "top_k": 0, "min_p": 1e-5},
    {"temperature": 1, "top_k": 0, "typical_p": 0.3},
    {"temperature": 1, "top_k": 0, "typical_p": 0.95},
    {"temperature": 1, "top_k": 500, "typical_p": 0.9, "min_p": 0.001},
    {"typical_p": 0.9},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.5, "top_k": 0},
    {"presence_penalty": 1.5, "frequency_penalty": 0.7},
    {"presence_penalty": -4, "top_k": 0, "top_p": 0.9},
    {"repetition_penalty": 1.2, "frequency_penalty": 0.5, "penalty_range": 7, "top_k": 0},
    {"logit_bias": {17: 9.0, 4000: -50.0, 50256: 7.5}},
    {"banned": [5, 262, 11], "temperature": 1, "top_k": 0},
    {"min_tokens": 100, "stop_token_ids": [13, 198]},
    {"healing": True, "prompt": "The hou"},
    {"healing": True, "prompt": "It was a", "top_k": 0, "repetition_penalty": 1.5},
]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(Tokenizer.gpt2(), V)


@pytest.fixture(scope="module")
def logits():
    """Half of the rows peaked, as a model's are, half flat. Every number is a 1,024th."""
    rng = np.random.default_rng(8)
    rows = rng.normal(0, np.where(np.arange(N) % 2, 3.0, 1.0)[:, None], (N, V))
    return (np.rint(rows * 1024) / 1024).astype(np.float32)


def draw_all(logits, vocabulary, k=64, draw_row=None):
    """What each setting draws from each row of logits, all of a setting in one turn."""
    top_ids = np.stack([candidates(row, k) for row in logits])
    top_scores = np.take_along_axis(logits, top_ids, axis=1)
    turn = Logits(logits, top_ids, top_scores, draw_row=draw_row)
    return [draw(setting, turn, vocabulary) for setting in SETTINGS]


def fail(row, error):
    raise error


def draw(setting, turn, vocabulary):
    setting = dict(setting)
    prompt = setting.pop("prompt", [*range(20, 60), 262, 11, 262])
    drawing = []
    for at in range(N):
        params = Params(**{"seed": at, "max_tokens": 200} | setting)
        made = prepare(prompt, params, CONFIG, vocabulary, "", print, 0.0, 60.0)
        [row] = made.rows
        if row.written.heal is None:
            row.written.ids += turn.top_ids[at][:at].tolist() + [262] * (at // 2)
            row.ids += row.written.ids
        drawing.append(Drawing(row, at))
    return [drawn.id for drawn in choose(drawing, turn, fail)]


def test_every_setting_draws_what_it_always_drew(logits, vocabulary):
    recorded = json.loads(RECORDED.read_text())
    for setting, then, now in zip(SETTINGS, recorded, draw_all(logits, vocabulary), strict=True):
        assert now == then, setting


def test_how_many_candidates_a_model_names_changes_no_draw(logits, vocabulary):
    assert draw_all(logits, vocabulary, k=128) == json.loads(RECORDED.read_text())


def test_the_kernel_draws_what_was_always_drawn(logits, vocabulary, tmp_path):
    drawn = draw_all(logits, vocabulary, k=128, draw_row=open_drawer(V, tmp_path))
    assert drawn == json.loads(RECORDED.read_text())
