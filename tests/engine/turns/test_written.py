import numpy as np

from app.engine import Params
from app.engine.turns.phrases import Phrases
from app.engine.turns.written import Heal, Written


def take(written, *texts):
    for text in texts:
        written.take(len(written.ids), text.encode(), None, None)


def told(written):
    return [text for _, text in written.release(written.count_certain())]


def test_the_token_taken_back_from_the_prompt_writes_nothing_when_it_is_drawn_again():
    written = Written(Params(), heal=Heal(5, b" wor", np.array([5, 6])))
    assert written.rebuild(5) and written.heal is None
    assert written.ids == []


def test_a_longer_token_in_its_place_tells_only_what_the_prompt_has_not():
    written = Written(Params(), heal=Heal(5, b" wor", np.array([5, 6])))
    assert not written.rebuild(6)
    take(written, " world")
    assert told(written) == ["ld"] and written.heal is None


def test_tokens_in_which_a_banned_phrase_may_begin_are_held():
    written = Written(Params(), Phrases(["heart of hearts"]))
    take(written, "her", " heart")
    assert told(written) == ["her"]
    take(written, " beat")
    assert told(written) == [" heart", " beat"]


def test_a_banned_phrase_is_taken_back_from_its_first_token_on():
    written = Written(Params(), Phrases(["heart of"]))
    take(written, " heart", " of")
    assert written.count_banned() == 2
    first = written.take_back(2)
    assert (first.id, written.ids, written.refused) == (0, [], [0])


def test_after_a_stop_text_nothing_more_is_told():
    written = Written(Params(stop=["END"]))
    take(written, "an EN", "D", " more")
    assert told(written) == ["an ", ""] and written.stopped_by == "END"


def test_a_sentence_may_be_finished_beyond_max_tokens():
    written = Written(Params(max_tokens=1, finish_sentence=3))
    take(written, "It was")
    assert not written.is_long_enough
    take(written, " late.")
    assert not written.is_long_enough  # still held
    assert told(written) == ["It was", " late."] and written.is_long_enough
