import json

import pytest

from app.engine import Params


def sse(text):
    """The events of a text/event-stream: (name, data)."""
    events = []
    for block in text.split("\n\n"):
        lines = [line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")]
        if lines:
            fields = dict(lines)
            events.append((fields["event"], json.loads(fields["data"])))
    return events


def test_json_in_json_out(client):
    said = client.post("/generate", json={"prompt": "Sing", "max_tokens": 6, "seed": 5}).json
    assert said["text"] == " la la"
    assert said["seed"] == 5
    assert said["finish_reason"] == "length"
    assert said["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "cached_tokens": 0}
    assert said["continuations"][0]["tokens"] == list(b" la la")
    assert said["truncated"] is False and said["context_start"] == 0 and said["warnings"] == []
    assert set(said["timings"]) == {"queue_ms", "prefill_ms", "first_token_ms", "tokens_per_s"}


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/nowhere", "/livez", "/openapi.json"])
def test_json_ends_with_a_newline_for_whoever_reads_it_in_a_terminal(client, path):
    assert client.get(path).text.endswith("}\n")


def test_include_prompt_puts_it_in_front(client):
    asked = {"prompt": "Sing", "max_tokens": 3, "include_prompt": True, "logprobs": 0}
    said = client.post("/generate", json=asked).json
    assert said["text"] == "Sing la"
    assert said["continuations"][0]["logprobs"][0]["start"] == 4


def test_a_list_of_prompts_gives_a_result_each_in_order(client):
    said = client.post("/generate", json={"prompt": ["a", "b", "c"], "max_tokens": 1}).json
    assert [result["prompt"] for result in said["results"]] == ["a", "b", "c"]


def test_a_list_longer_than_the_queue_waits_for_its_own(client, engine):
    engine.capacity = 2
    said = client.post("/generate", json={"prompt": list("abcdefg"), "max_tokens": 1}).json
    assert [result["prompt"] for result in said["results"]] == list("abcdefg")


def test_n_gives_as_many_each_with_its_seed(client):
    said = client.post("/generate", json={"prompt": "", "n": 3, "seed": 9, "max_tokens": 2}).json
    assert [c["seed"] for c in said["continuations"]] == [9, 10, 11]


def test_a_form_just_works(client):
    said = client.post("/generate", data={"prompt": "Once", "max_tokens": "3", "stop": ""}).json
    assert (said["prompt"], said["text"]) == ("Once", " la")


def test_a_text_file_just_works_with_parameters_in_the_address(client):
    story = b"Once upon a time\n"
    reply = client.post("/generate?max_tokens=3", data=story, content_type="text/plain")
    assert (reply.json["prompt"], reply.json["text"]) == (story.decode(), " la")


def test_plain_text_comes_raw(client):
    reply = client.post(
        "/generate", json={"prompt": "Once", "max_tokens": 6}, headers={"Accept": "text/plain"}
    )
    assert reply.text == " la la"
    assert reply.content_type == "text/plain; charset=utf-8"


def test_plain_text_in_colour_shows_the_prompt_and_marks_the_rest(client):
    reply = client.post(
        "/generate?color=1",
        json={"prompt": "Once", "max_tokens": 3},
        headers={"Accept": "text/plain"},
    )
    assert reply.text == "Once\x1b[31m la\x1b[0m"


@pytest.mark.parametrize("how", [{"headers": {"Accept": "text/event-stream"}}, {}])
def test_events_come_in_order(client, how):
    asked = {"prompt": "Sing", "max_tokens": 3} | ({} if how else {"stream": True})
    reply = client.post("/generate", json=asked, **how)
    assert reply.headers["X-Accel-Buffering"] == "no"
    assert reply.headers["Cache-Control"] == "no-store, no-transform"
    events = sse(reply.text)
    assert [name for name, _ in events] == ["start", *["token"] * 4, "done"]
    assert "".join(data["text"] for name, data in events if name == "token") == " la"
    assert events[-2][1]["finish_reason"] == "length"
    assert events[-1][1]["usage"]["completion_tokens"] == 3


def test_lines_say_the_same_as_events(client):
    reply = client.post(
        "/generate",
        json={"prompt": "Sing", "max_tokens": 3},
        headers={"Accept": "application/x-ndjson"},
    )
    lines = [json.loads(line) for line in reply.text.splitlines() if line]
    assert [line["event"] for line in lines] == ["start", *["token"] * 4, "done"]


def test_spans_count_utf16_units_though_characters_are_cut(client, engine):
    engine.song = "é🙂"
    asked = {"prompt": "x", "max_tokens": 6, "logprobs": 1}
    entries = client.post("/generate", json=asked).json["continuations"][0]["logprobs"]
    spans = [(entry["start"], entry["end"]) for entry in entries]
    assert spans == [(0, 0), (0, 1), (1, 1), (1, 1), (1, 1), (1, 3)]
    assert entries[0]["bytes"] == [0xC3] and len(entries[0]["top"]) == 1


def test_the_first_token_of_a_prompt_has_no_logprob(client):
    said = client.post("/generate", json={"prompt": "ab", "prompt_logprobs": 0}).json
    assert [entry["logprob"] for entry in said["prompt_logprobs"]] == [None, -0.5]


def test_what_was_not_read_is_said(client):
    said = client.post("/generate", json={"prompt": "🙂" * 100 + "a" * 1000}).json
    assert said["truncated"] and said["context_start"] == 200 and said["warnings"]


def test_html_shows_prompt_and_continuation_and_escapes_both(client, engine):
    engine.song = "</span><script>"
    reply = client.post(
        "/generate",
        data={"prompt": "<b>&", "max_tokens": "15"},
        headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    )
    assert reply.content_type == "text/html; charset=utf-8"
    assert "&lt;b&gt;&amp;" in reply.text
    assert "<script" not in reply.text and "<b>" not in reply.text


def test_html_errors_are_html(client):
    reply = client.post("/generate", data={"n": "70"}, headers={"Accept": "text/html"})
    assert reply.status_code == 422 and reply.mimetype == "text/html"
    assert "prompt is missing" in reply.text


def test_cancel_ends_a_running_one(client, engine):
    engine.step.clear()
    completion = engine.submit("x", Params(), id="known")
    assert client.delete("/generate/known").json == {"id": "known", "cancelled": True}
    assert [type(event).__name__ for event in completion][-1] == "Finished"
    assert client.delete("/generate/known").status_code == 404


def test_score_gives_bits_per_text(client):
    said = client.post("/score", json={"prompt": "a", "continuations": ["bc", ""]}).json
    first, empty = said["results"]
    assert first["logprob"] == -1.0
    assert first["bits_per_char"] == first["bits"] / 2
    assert [token["start"] for token in first["tokens"]] == [0, 1]
    assert empty["bits_per_char"] is None


def test_tokens_there_and_back(client):
    said = client.post("/tokenize", json={"text": "a🙂"}).json
    assert said["count"] == 5
    assert said["offsets"] == [[0, 1], *[[1, 3]] * 4]
    assert client.post("/detokenize", json={"tokens": said["tokens"]}).json["text"] == "a🙂"


@pytest.mark.parametrize("id", [-1, 2**31, 10**20, True, "1", None])
def test_what_can_be_no_token_is_refused(client, id):
    """10**20 fits in no frame to the engine."""
    said = client.post("/detokenize", json={"tokens": [id]})
    assert (said.status_code, said.json["error"]["field"]) == (422, "tokens")


def test_a_long_text_is_tokenized_in_one_pass(client):
    """Each offset used to be counted from the text's beginning: minutes for a megabyte."""
    said = client.post("/tokenize", json={"text": "🙂" + "x" * 400_000}).json
    assert said["offsets"][-1] == [400_001, 400_002]


def test_models_are_those_served(client):
    said = client.get("/models").json
    assert said["default"] == "fake"
    assert [model["name"] for model in said["models"]] == ["fake", "other"]


def test_models_say_what_they_were_trained_on(client):
    assert [m["about"] for m in client.get("/models").json["models"]] == ["Lullabies.", ""]


def test_models_show_their_cards(client, engine):
    card = {"title": "Lullabies"}
    engine.cards = {"fake": card}
    assert [m["card"] for m in client.get("/models").json["models"]] == [card, None]
    assert client.get("/info").json["card"] == card


def test_parameters_are_the_table(client):
    rows = {row["name"]: row for row in client.get("/parameters").json["parameters"]}
    assert rows["temperature"]["high"] == 5 and rows["max_tokens"]["default"] == 128
