"""An app on the fake engine and its test client."""

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
