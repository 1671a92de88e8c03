import numpy as np
import pytest

from app.engine.turns.vocabulary import Vocabulary
from app.gpt2 import Tokenizer


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(Tokenizer.gpt2(), 50257)


def spell(vocabulary, ids):
    return {vocabulary.bytes_of(id) for id in ids.tolist()}


def test_agreeing_tokens_begin_with_the_bytes(vocabulary):
    assert spell(vocabulary, vocabulary.agreeing(b" upo")) == {b" upon"}


@pytest.mark.parametrize("rest", [b"a", b" ", b"\xff", b"\xc3", b"zq", b" the"])
def test_the_sorted_table_finds_what_looking_at_every_token_finds(vocabulary, rest):
    every = {vocabulary.bytes_of(id) for id in range(50256)}
    expected = {token for token in every if token.startswith(rest)}
    assert spell(vocabulary, vocabulary.agreeing(rest)) == expected


def test_top_names_tokens_with_their_odds(vocabulary):
    logprobs = np.linspace(0, -9, 50257, dtype=np.float32)
    [first, other] = vocabulary.top(logprobs, np.array([0, 50256]))
    assert (first.bytes, first.logprob, other.logprob) == (b"!", 0.0, -9.0)
