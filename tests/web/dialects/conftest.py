"""What a stream of events says, and what the engine was asked."""

import json

import pytest


@pytest.fixture
def frames():
    """What each `data:` line of a stream holds; comments and the names of events aside."""

    def read(reply):
        assert reply.content_type.startswith("text/event-stream"), reply.text
        lines = [line[5:].strip() for line in reply.text.splitlines() if line.startswith("data:")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    return read


@pytest.fixture
def params(engine, monkeypatch):
    """The Params that the latest request came to, read through."""

    class Latest:
        def __getattr__(self, name):
            return getattr(engine.latest, name)

    submit = engine.submit

    def note(prompt, params, model=None, id=None):
        engine.latest = params
        engine.latest_prompt = prompt
        return submit(prompt, params, model, id)

    monkeypatch.setattr(engine, "submit", note)
    return Latest()
