"""A model's card is read whole or left out with a sentence; what is written is read the same."""

import msgspec
import pytest

from app.gpt2 import Card, card_of, card_toml

CARD = Card(
    title='Friends, "the" one\nwith \\ and \x7f',
    blurb="老友记 é",
    starters=["Joey: How you", "两个 🙂"],
    settings={"temperature": 0.7, "top_k": 40, "ignore_eos": True},
    stop=["\n\n"],
    speakers=["Joey"],
)


@pytest.mark.parametrize("card", [CARD, Card()])
def test_what_is_written_is_read_the_same(tmp_path, card):
    (tmp_path / "card.toml").write_text(card_toml(card), encoding="utf-8")
    assert card_of(tmp_path) == card


def test_every_field_of_a_written_card_says_what_it_is_for():
    lines = card_toml(CARD).splitlines()
    for field in msgspec.structs.fields(Card):
        start = "[settings]" if field.name == "settings" else f"{field.name} = "
        (at,) = [i for i, line in enumerate(lines) if line.startswith(start)]
        assert lines[at - 1].startswith("# ")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"title = ", "Invalid value"),
        (b'titel = "x"', "unknown field `titel`"),
        (b"starters = 3", "Expected `array`, got `int` - at `$.starters`"),
        (b"[settings]\ntemperature = 'hot'", "at `$.settings[...]`"),
        (b'title = "\xff"', "utf-8"),
    ],
)
def test_a_bad_card_is_one_sentence_in_the_log(tmp_path, caplog, content, reason):
    (tmp_path / "card.toml").write_bytes(content)
    for _ in range(2):
        assert card_of(tmp_path) is None
    (record,) = caplog.records
    assert "card.toml is left out: " in record.getMessage() and reason in record.getMessage()


def test_no_card_is_no_word(tmp_path, caplog):
    assert card_of(tmp_path) is None and not caplog.records
