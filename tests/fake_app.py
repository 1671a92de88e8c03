"""The web on the fake engine, for a real server to load: gunicorn 'tests.fake_app:make(0.05)'."""

import app
from app.settings import read_settings
from tests.fake_engine import FakeEngine


def make(delay=0.0, capacity=None):
    """Every token takes `delay` seconds; more than `capacity` continuations are refused."""
    engine = FakeEngine(delay)
    engine.capacity = capacity
    return app.create_app(read_settings(), engine)
