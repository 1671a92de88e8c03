"""Words encoded one by one are the whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer

from app.gpt2 import Tokenizer
from app.training.corpus import words as module
from app.training.corpus.vocabulary import new_vocabulary
from app.training.corpus.words import Words
from tests.training.conftest import story

GPT2 = Tokenizer.gpt2()
OURS = new_vocabulary([story(0), "A dash -- and “quotes” … it’s"], 600)
# all that could move a border: white space of every kind, marks that vanish or compose, digits
PARTS = [
    "a",
    ",",
    '"',
    "--",
    "’s",
    "'s",
    "12",
    "²",
    "!",
    "-",
    "…",
    "é",
    "e\u0301",
    "\u0301",
    "世",
    "<|endoftext|>",
]
SPACES = [" ", "  ", "\n", "\r", "\r\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u2003", "\u2028"]
INVISIBLE = ["\u200b", "\u00ad", "\ufeff", "\u180e"]
texts = st.lists(st.sampled_from(PARTS + SPACES + INVISIBLE), max_size=30).map("".join)


@pytest.mark.parametrize("tokenizer", [GPT2, OURS], ids=["gpt2", "with typography"])
def test_words_give_the_ids_of_the_whole(tokenizer):
    words = Words(tokenizer)

    @given(st.lists(texts, max_size=3))
    def check(texts):
        assert [ids.tolist() for ids in words.encode(texts)] == tokenizer.encode_many(texts)

    check()
    assert words._known


def test_a_tokenizer_of_other_rules_gets_whole_texts():
    says = json.loads(GPT2.to_json())
    says["pre_tokenizer"]["add_prefix_space"] = True
    other = Tokenizer(RustTokenizer.from_str(json.dumps(says)))
    assert [ids.tolist() for ids in Words(other).encode(["one two"])] == other.encode_many(
        ["one two"]
    )


def test_rare_and_long_words_are_not_remembered(monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 3)
    words = Words(GPT2)
    words.encode(["one two", "x" * 40])
    words.encode([" three"])
    assert [ids.tolist() for ids in words.encode(["one four"])] == [GPT2.encode("one four")]
    assert set(words._known) == {"one", " two", " three"}
