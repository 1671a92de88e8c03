"""What is proposed for a model's card."""

import pytest

from app.engine.cards import card_data
from app.gpt2 import card_of
from app.training.corpus.corpus import Rules
from app.training.corpus.prepare import Files, prepare
from app.training.corpus.sources import find
from app.training.run.card import language_of, speakers_of, starters_of
from tests.training.conftest import story


def test_training_writes_a_card_from_the_corpus(begin, caplog):
    _, run = begin()
    card = card_of(run.result)
    assert card.title == "run" and "trained on" in card.blurb
    assert 1 <= len(card.starters) <= 5
    stories = [story(n) for n in range(20)]
    assert all(any(text.startswith(line) for text in stories) for line in card.starters)
    assert card_data(str(run.result))["settings"] == {"temperature": 0.8, "top_k": 40}
    assert not caplog.records


@pytest.mark.parametrize(
    "opening, starter",
    [
        ("CHAPTER ONE\n\nThe Return\n\nIt was late when he came.", "It was late when he came."),
        ("word " * 40, ("word " * 12).strip()),
        (
            "庆历四年春，滕子京谪守巴陵郡。越明年",
            "庆历四年春，滕子京谪守巴陵郡。越明年",
        ),
        ("XIV", ""),
    ],
)
def test_a_starter_is_how_a_text_begins(opening, starter):
    assert starters_of(iter([opening])) == ([starter] if starter else [])


def test_a_corpus_of_one_text_gives_starters_from_inside(tmp_path, begin):
    script = "".join(f"Joey: {story(n)[:50]}\nRachel: {story(n + 99)[:50]}\n" for n in range(60))
    (tmp_path / "script.txt").write_text(script, encoding="utf-8")
    found = Files(find([str(tmp_path / "script.txt")], (), tmp_path))
    corpus = prepare(found, None, Rules(new_vocabulary=300), tmp_path / "cache", print)
    _, run = begin(on=corpus, steps=2)
    card = card_of(run.result)
    assert len(card.starters) == 5 and card.speakers == ["Joey", "Rachel"]
    assert all(line.startswith(("Joey: ", "Rachel: ")) for line in card.starters)


def test_who_speaks_in_a_script():
    script = "Joey: How you doing?\nRachel: Fine.\n[They laugh.]\n" * 20
    assert speakers_of(script) == ["Joey", "Rachel"]
    assert speakers_of("He said: no.\nThen he went home.\nIt rained.\nAll day.\n" * 20) == []


@pytest.mark.parametrize(
    "text, language",
    [
        ("It was the best of times, and that was to be with the rest. " * 3, "en"),
        ("Der Mann und die Frau, das ist nicht mit der Zeit. " * 3, "de"),
        ("庆历四年春，滕子京谪守巴陵郡。", "zh"),
        ("Однажды весною, в час небывало жаркого заката", "ru"),
        ("xyzzy plugh", ""),
    ],
)
def test_the_language_of_a_text(text, language):
    assert language_of(text) == language
