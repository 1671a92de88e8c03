"""The encoding of a text is told from its bytes."""

import pytest

from app.training.corpus.encodings import encoding_of

CHINESE = "床前明月光，疑是地上霜。举头望明月，低头思故乡。" * 4
FRENCH = "Où est-elle allée, la fille aux cheveux d’été ? Là-bas, à côté.\n" * 4


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("plain letters\n", "utf-8"),
        (CHINESE, "utf-8"),
        (FRENCH, "utf-8-sig"),
        (FRENCH, "utf-16"),
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
        (FRENCH, "utf-32"),
        (CHINESE, "gb18030"),
        (FRENCH, "cp1252"),
        ("Stra\xdfe, M\xe4dchen, sch\xf6n\n", "latin-1"),
    ],
)
def test_text_survives_in_every_encoding(text, encoding):
    raw = text.encode(encoding)
    assert raw.decode(encoding_of(raw)).lstrip("\ufeff") == text


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, bytes(range(256)) * 8])
def test_what_is_no_text_has_no_encoding(raw):
    assert encoding_of(raw) is None


def test_one_broken_letter_does_not_change_the_encoding():
    raw = FRENCH.encode() * 20
    assert encoding_of(raw + b"\xff") == "utf-8"


def test_a_letter_cut_by_the_sample_is_not_an_error():
    assert encoding_of("é".encode() * 50 + "é".encode()[:1]) == "utf-8"
