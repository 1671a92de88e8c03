"""Scripts as chats: the card's speakers make a transcript of the messages."""

import pytest

CARD = {"speakers": ["JOEY", "ROSS:", "RACHEL"], "settings": {"temperature": 0.9}, "stop": ["END"]}


@pytest.fixture
def ask(client, engine):
    engine.cards["fake"] = CARD

    def post(*messages, **fields):
        body = {"messages": list(messages), "max_tokens": 6} | fields
        return client.post("/v1/chat/completions", json=body)

    return post


def user(content, **more):
    return {"role": "user", "content": content} | more


def test_the_next_speaker_answers(ask, engine, params):
    said = ask(user("Hi!")).json
    assert engine.latest_prompt == "JOEY: Hi!\nROSS:"
    assert said["object"] == "chat.completion" and said["model"] == "fake"
    [choice] = said["choices"]
    assert choice["message"] == {"content": "la la", "role": "assistant"}
    assert choice["finish_reason"] == "length" and said["usage"]["completion_tokens"] == 6
    assert params.stop == ["\nJOEY:", "\nROSS:", "\nRACHEL:", "END"]
    assert params.temperature == 0.9


def test_messages_are_lines_and_names_are_heard(ask, engine, params):
    ask(
        {"role": "system", "content": "A café."},
        user("Hi!", name="RACHEL"),
        {"role": "assistant", "content": "Oh,\nhi."},
        user([{"type": "text", "text": "Two teas?"}], name="GUNTHER"),
        temperature=0,
    )
    assert (
        engine.latest_prompt == "A café.\n\nRACHEL: Hi!\nROSS: Oh, hi.\nGUNTHER: Two teas?\nROSS:"
    )
    assert "\nGUNTHER:" in params.stop and params.temperature == 0


def test_nobody_answers_themselves(ask, engine, params):
    ask(user("Hi!", name="ROSS"))
    assert engine.latest_prompt.endswith("\nJOEY:")


def test_a_stream_is_deltas_without_the_space_after_the_name(ask, frames):
    *chunks, usage, done = frames(
        ask(user("Hi!"), stream=True, stream_options={"include_usage": True})
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"content": "", "role": "assistant"}
    assert "".join(delta.get("content", "") for delta in deltas) == "la la"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert usage["usage"]["completion_tokens"] == 6 and done == "[DONE]"


@pytest.mark.parametrize(
    "messages, fields, param",
    [
        ([], {}, "messages"),
        (["Hi!"], {}, "messages"),
        ([{"role": "tool", "content": "x"}], {}, "messages"),
        ([{"role": "user", "content": None}], {}, "messages"),
        ([user("Hi!")], {"tools": [{"type": "function"}]}, "tools"),
        ([user("Hi!")], {"logprobs": True}, "logprobs"),
        ([user("Hi!")], {"response_format": {"type": "json_object"}}, "response_format"),
        ([user("Hi!")], {"max_completion_tokens": -2}, "max_completion_tokens"),
        ([user("Hi!", name=5)], {}, "name"),
    ],
)
def test_a_mistake_is_400_and_names_the_field(ask, messages, fields, param):
    reply = ask(*messages, **fields)
    assert reply.status_code == 400 and reply.json["error"]["param"] == param


def test_what_is_no_message_is_not_repeated_at_length(ask):
    """It came back whole, however long it was."""
    assert len(ask("Hi! " * 1000).data) < 300
