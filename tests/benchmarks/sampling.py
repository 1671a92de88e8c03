"""What choosing 16 rows' next tokens costs the engine's thread, by what their requests ask for.

Microseconds of processor time for a turn, the least of several: texts of 600 tokens, a vocabulary
of 50,257, logits as peaked as a model's and flat ones.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from app.engine import Params
from app.engine.turns.choosing import Drawing, choose
from app.engine.turns.prepare import prepare
from app.engine.turns.request import Row
from app.engine.turns.vocabulary import Vocabulary
from app.gpt2 import Config, Logits, NativeModel, Tokenizer
from app.gpt2.sampling import candidates

V, ROWS, TURNS = 50257, 16, 15
CONFIG = Config(vocab_size=V, n_positions=1024, n_embd=64, n_layer=1, n_head=1)
FREE = {"temperature": 1, "top_k": 0}  # OpenAI's default
SETTINGS = [
    {},
    {"temperature": 0},
    FREE,
    FREE | {"top_p": 0.95},
    FREE | {"min_p": 0.05},
    FREE | {"typical_p": 0.9},
    FREE | {"xtc_probability": 0.5},
    {"typical_p": 0.9},
    {"top_k": 100, "top_p": 0.92},  # KoboldCpp's default
    {"top_k": 100, "top_p": 0.92, "repetition_penalty": 1.1},
    {"top_k": 1000},
    {"repetition_penalty": 1.1},
    {"frequency_penalty": 0.1},
    FREE | {"presence_penalty": 0.5},
    {"min_tokens": 1000},
    {"logit_bias": {5: 1.0}},
    {"banned_phrases": ["heart of hearts"]},
    {"no_repeat_ngram": 3},
    {"dry_multiplier": 0.8},
    {"xtc_probability": 0.5},
]


def make_turn(rng: np.random.Generator, is_peaked: bool, model: NativeModel) -> Logits:
    logits = rng.normal(0, 2 if is_peaked else 1, (ROWS, V)).astype(np.float32)
    if is_peaked:  # a few hundred tokens that are possible at all, some much likelier than others
        for row in logits:
            row[rng.choice(V, 300, replace=False)] += 3 + rng.exponential(2.5, 300)
    top_ids = np.stack([candidates(row, 128) for row in logits])
    top_scores = np.take_along_axis(logits, top_ids, axis=1)
    return Logits(logits, top_ids, top_scores, draw_row=model.draw_row)


def make_rows(rng: np.random.Generator, vocabulary: Vocabulary, setting: dict) -> list[Row]:
    rows = []
    for seed in range(ROWS):
        params = Params(**{"seed": seed, "max_tokens": 1000} | setting)
        prompt = rng.integers(0, V, 400).tolist()
        [row] = prepare(prompt, params, CONFIG, vocabulary, "", print, 0.0, 60.0).rows
        row.written.ids += rng.integers(0, V, 200).tolist()
        row.ids += row.written.ids
        rows.append(row)
    return rows


def fail(row: Row, error: Exception) -> None:
    raise error


def measure(rng: np.random.Generator, rows: list[Row], turn: Logits) -> float:
    seconds = []
    for _ in range(TURNS):
        for row in rows:
            row.ids.append(int(rng.integers(0, V)))
            row.written.ids.append(row.ids[-1])
        drawing = [Drawing(row, at) for at, row in enumerate(rows)]
        began = time.thread_time()
        choose(drawing, turn, fail)
        seconds.append(time.thread_time() - began)
    return min(seconds)


def main() -> None:
    rng, vocabulary = np.random.default_rng(0), Vocabulary(Tokenizer.gpt2(), V)
    weights = {name: np.zeros(shape, np.float32) for name, shape in CONFIG.shapes().items()}
    with tempfile.TemporaryDirectory() as folder:
        model = NativeModel(CONFIG, weights, threads=1, folder=Path(folder))
        turns = [make_turn(rng, is_peaked, model) for is_peaked in (True, False)]
    print("| settings | peaked | flat |\n|---|--:|--:|")
    for setting in SETTINGS:
        found = [measure(rng, make_rows(rng, vocabulary, setting), turn) for turn in turns]
        text = ", ".join(f"{name} {value}" for name, value in setting.items()) or "the defaults"
        print(f"| {text} |", " | ".join(f"{1e6 * s:,.0f}" for s in found), "|", flush=True)
