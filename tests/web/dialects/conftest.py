"""The app of tests/web, and what a stream of events says."""

import json

import pytest

from app import create_app
from app.settings import Settings
from tests.fake_engine import FakeEngine


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def make_client(engine):
    def make(**settings):
        return create_app(Settings(**settings), engine).test_client()

    return make


@pytest.fixture
def client(make_client):
    return make_client()


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
