"""Documents, lines and prose; and that text cut into pieces has the tokens of the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gpt2 import Tokenizer
from app.training.corpus import documents as text
from app.training.corpus.seen import Seen

SEPARATED = "one\n<|endoftext|>\ntwo\nlines\n<|endoftext|>\n\n<|endoftext|>\nthree <|endoftext|> x"
GPT2 = Tokenizer.gpt2()


def whole(pieces):
    """Pieces -> documents."""
    found, parts = [], []
    for piece in pieces:
        if piece is None:
            found.append("".join(parts))
            parts = []
        else:
            parts.append(piece)
    assert not parts, "the last document was not ended"
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 13, 1000])
def test_a_separator_line_separates_and_elsewhere_it_is_text(monkeypatch, size):
    monkeypatch.setattr(text, "PIECE", 25)
    chunks = [SEPARATED[i : i + size] for i in range(0, len(SEPARATED), size)]
    documents = [document.strip("\n") for document in whole(text.documents(chunks, Seen()))]
    assert documents == ["one", "two\nlines", "", "three <|endoftext|> x"]


@given(st.text("ab \n.é世\t'<|>", min_size=1, max_size=300), st.integers(2, 40))
def test_pieces_have_the_tokens_of_the_whole(document, size):
    before, text.PIECE = text.PIECE, size
    try:
        pieces = [p for p in text.documents(iter([document]), Seen()) if p]
        again = [document[i : i + size] for i in range(0, len(document), size)]
        chunked = [p for p in text.documents(iter(again), Seen()) if p]
    finally:
        text.PIECE = before
    assert "".join(pieces) == "".join(chunked) == document
    assert sum((GPT2.encode(piece) for piece in pieces), []) == GPT2.encode(document)


def test_long_text_in_pieces_has_the_tokens_of_the_whole(monkeypatch):
    monkeypatch.setattr(text, "PIECE", 50)
    document = "It was late.\n\n\n  The  door   opened,\nand nobody 'd come in. " * 40 + "\n\nEnd."
    chunks = [document[i : i + 33] for i in range(0, len(document), 33)]
    pieces = [piece for piece in text.documents(chunks, Seen()) if piece]
    assert len(pieces) > 20
    assert sum((GPT2.encode(piece) for piece in pieces), []) == GPT2.encode(document)


def test_every_line_is_a_document():
    chunks = ["first  line\n\n  seco", "nd\n<|endoftext|>\nthird"]
    assert whole(text.lines(chunks, (), Seen())) == ["first line", "second", "third"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_separator_at_the_end_of_a_line_separates(size):
    """200 texts as gpt-2-simple has them were one, with the separator spelled in 7 tokens."""
    written = "one <|endoftext|>\ntwo<|endoftext|>\nthree and <|endoftext|> x\n<|endoftext|>"
    chunks = [written[i : i + size] for i in range(0, len(written), size)]
    seen = Seen()
    found = [document.strip("\n") for document in whole(text.documents(chunks, seen))]
    assert found == ["one", "two", "three and <|endoftext|> x", ""]
    assert seen.separators == 1


def test_marks_that_lines_have_already_are_taken_off_and_counted():
    """Lines of `<BOS> ... <EOS>` got marks around marks that were spelled out."""
    seen = Seen()
    lines = "<BOS> one two <EOS>\nthree<EOS>\n<BOS>a <EOS> b\n<BOS><EOS>\nfour<|endoftext|>\n"
    found = whole(text.lines([lines], ("<BOS>", "<EOS>", "<PAD>"), seen))
    assert found == ["one two", "three", "a <EOS> b", "four"]
    assert seen.marks == 6


@pytest.mark.parametrize(
    "chapter, prose",
    [
        ("XIV\n\nThe Return\n\nIt was late.", "It was late."),
        ("Chapter 3.\n\n“Who goes there?”\n\nNobody.", "“Who goes there?”\n\nNobody."),
        ("It was late.\n\nII\n\nHe went.", "It was late.\n\nHe went."),
        ("I\n\nI went\n\nI came home, and there was no one in the house.", None),
    ],
)
def test_prose_has_no_heads(chapter, prose):
    expected = prose or "I came home, and there was no one in the house."
    assert whole(text.without_heads(text.documents([chapter], Seen()))) == [expected]
