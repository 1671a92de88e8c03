"""What a request is made of: here, when the prompt's last token is taken back."""

import pytest

from app.engine import Params
from app.engine.turns.prepare import prepare
from app.engine.turns.vocabulary import Vocabulary
from app.gpt2 import Config, Tokenizer

CONFIG = Config(vocab_size=50257, n_positions=128, n_embd=64, n_layer=1, n_head=1)


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(Tokenizer.gpt2(), 50257)


def heal(vocabulary, prompt, **params):
    made = prepare(prompt, Params(**params), CONFIG, vocabulary, "", print, 0.0, 60.0)
    return made.rows[0].written.heal


def test_only_a_token_that_another_begins_with_is_taken_back(vocabulary):
    assert heal(vocabulary, "the hous").data == b" hous"
    assert heal(vocabulary, "new telecommunications") is None
    assert heal(vocabulary, "end<|endoftext|>") is None
    assert heal(vocabulary, "the hous", healing=False) is None
    assert heal(vocabulary, "the hous", prompt_logprobs=0) is None


def test_nothing_is_taken_back_where_every_longer_token_is_banned_or_an_end(vocabulary):
    """A ban of all of them left any token to be drawn, and its first bytes were swallowed."""
    agreeing = vocabulary.agreeing(b" world").tolist()
    [world] = vocabulary.tokenizer.encode(" world")
    longer = [id for id in agreeing if id != world]
    assert len(longer) > 1
    assert heal(vocabulary, "Hello world", banned=agreeing) is None
    assert heal(vocabulary, "Hello world", stop_token_ids=longer) is None
    left = heal(vocabulary, "Hello world", banned=longer[1:])
    assert sorted(left.ids.tolist()) == sorted([world, longer[0]])
