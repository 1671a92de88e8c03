import pytest

from app.web.native.context import line_above


def prompt_of(client, **fields):
    fields = {"prompt": "one\ntwo\nthree", "max_tokens": 1} | fields
    return client.post("/generate", json=fields).json["prompt"]


def test_the_memory_comes_first_and_the_note_some_lines_above_the_end(client):
    assert prompt_of(client, memory="M", note="[N]", note_depth=2) == "M\none\n[N]\ntwo\nthree"
    assert prompt_of(client, memory="M\n") == "M\none\ntwo\nthree"
    assert prompt_of(client) == "one\ntwo\nthree"


def test_what_there_is_no_room_for_is_the_beginning_of_the_text(client):
    prompt = prompt_of(client, prompt="x" * 3000, memory="Anna.", max_tokens=100)
    assert prompt == "Anna.\n" + "x" * (1024 - 100 - len("Anna.\n"))  # a byte is a token here


def test_a_memory_longer_than_the_window_leaves_the_text_half_of_it(client):
    prompt = prompt_of(client, prompt="x" * 3000, memory="m" * 2000)
    assert prompt.count("x") == (1024 - 1) // 2


def test_a_list_of_prompts_shares_them(client):
    fields = {"prompt": ["one", "two"], "memory": "M", "max_tokens": 1}
    results = client.post("/generate", json=fields).json["results"]
    assert [result["prompt"] for result in results] == ["M\none", "M\ntwo"]


@pytest.mark.parametrize(("memory", "kept"), [("Anna.", 6), ("", 0)])
def test_the_memory_stays_when_the_window_slides(client, params, memory, kept):
    prompt_of(client, memory=memory)
    assert params.keep == kept


@pytest.mark.parametrize(
    ("field", "value"), [("memory", 1), ("note", []), ("note_depth", -1), ("note_depth", 1.5)]
)
def test_what_cannot_be_is_refused_by_its_name(client, field, value):
    answer = client.post("/generate", json={"prompt": "x", field: value})
    assert (answer.status_code, answer.json["error"]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("text", "depth", "at"),
    [("one\ntwo", 5, 0), ("one\ntwo\n", 1, 8), ("one\ntwo", 0, 7), ("one\ntwo", 1, 4), ("", 3, 0)],
)
def test_lines_are_counted_from_the_end(text, depth, at):
    assert line_above(text, depth) == at
