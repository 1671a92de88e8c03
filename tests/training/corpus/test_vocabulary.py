"""A new vocabulary: of the asked size, and blind to the typographer's marks."""

import pytest

from app.training.corpus.vocabulary import new_vocabulary
from tests.training.conftest import story

TEXTS = [
    " ".join(story(n) for n in range(20)),
    "“It’s late,” she said—twice … " * 30,
    "The door opened, and the door closed." * 30,
]


@pytest.fixture(scope="module")
def tokenizer():
    return new_vocabulary(TEXTS, 320, ["<BOS>"])


@pytest.mark.parametrize(
    "typed, printed",
    [("\"It's", "“It’s"), ("...", "…"), ("a b", "a\u00a0b"), ("—", "--"), ("a\nb", "a\r\nb")],
)
def test_both_kinds_of_marks_are_the_same_tokens(tokenizer, typed, printed):
    assert tokenizer.encode(typed) == tokenizer.encode(printed)


def test_offsets_are_places_in_the_text_as_sent(tokenizer):
    sent = "“It’s … late,” she"
    _, offsets = tokenizer.encode_with_offsets(sent)
    spans = sorted(set(offsets))
    assert "".join(sent[a:b] for a, b in spans) == sent


def test_size_specials_and_any_byte(tokenizer):
    assert tokenizer.n_tokens == 320
    assert set(tokenizer.specials) == {"<|endoftext|>", "<BOS>"}
    assert tokenizer.decode(tokenizer.encode("世界 \x00é")) == "世界 \x00é"
