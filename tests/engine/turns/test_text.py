import random

import pytest

from app.engine.turns.text import TextStream


def feed(stream, *chunks):
    return [stream.push(chunk) for chunk in chunks]


def test_half_a_character_waits_for_its_other_half():
    assert feed(TextStream(), b"caf\xc3", b"\xa9!") == ["caf", "é!"]


def test_an_emoji_cut_into_bytes_arrives_whole():
    assert feed(TextStream(), *[bytes([b]) for b in "🙂".encode()]) == ["", "", "", "🙂"]


def test_bytes_that_are_no_text_become_replacement_characters():
    stream = TextStream()
    assert feed(stream, b"a\xff", b"b\xc3") == ["a\ufffd", "b"]
    assert stream.flush() == "\ufffd"


STOPS = [
    # stops, chunks, texts, what stopped
    (["."], ["One", ". Two"], ["One", ""], "."),
    (["\n\n"], ["a\n", "\nb"], ["a", ""], "\n\n"),
    (["\n\n"], ["a\n", "b\n", "c"], ["a", "\nb", "\nc"], None),
    (["STOP"], ["xST", "OOP", "ST", "OP!"], ["x", "STOOP", "", ""], "STOP"),
    (["aab"], ["aa", "aab"], ["", "aa"], "aab"),
    (["abcX", "bc"], ["abc"], ["a"], "bc"),  # the one that ends first
    (["abcX", "bc"], ["a", "b", "c"], ["", "", "a"], "bc"),
    (["b", "ab"], ["ab"], [""], "ab"),  # of those that end together the longer
]


@pytest.mark.parametrize("stops, chunks, texts, stopped_by", STOPS)
def test_stop_texts_are_found_across_edges_and_held_back_no_longer_than_needed(
    stops, chunks, texts, stopped_by
):
    stream = TextStream(stops)
    assert feed(stream, *map(str.encode, chunks)) == texts
    assert stream.stopped_by == stopped_by


def test_what_was_held_back_comes_at_the_end():
    stream = TextStream(["STOP"])
    assert feed(stream, b"a ST") == ["a "]
    assert stream.flush() == "ST"


def test_a_stop_text_can_be_kept():
    stream = TextStream(["END"], include_stop=True)
    assert feed(stream, b"the EN", b"D of") == ["the ", "END"]


def test_nothing_stops_before_it_may():
    stream = TextStream(["."])
    stream.may_stop = False
    assert stream.push(b"a.b") == "a.b"
    stream.may_stop = True
    assert stream.push(b"c.d") == "c"


def test_any_cut_into_chunks_gives_the_same_text():
    rng = random.Random(1)
    for _ in range(300):
        data = bytes(rng.choices(b"ab.\xc3\xa9\xf0\x9f\x99\x82", k=20))
        stops = ["".join(rng.choices("ab.é", k=rng.randint(1, 4))) for _ in range(3)]
        results = set()
        for size in (1, 2, 3, 20):
            stream = TextStream(stops)
            text = "".join(stream.push(data[i : i + size]) for i in range(0, 20, size))
            results.add((text + stream.flush(), stream.stopped_by))
        assert len(results) == 1
