"""Web servers around a fake engine: gunicorn 'tests.engine.server:make_app("DIRECTORY")'."""

import os
import signal
import sys

from app import create_app
from app.engine import EngineOptions, connect
from app.engine.process import launch
from app.settings import read_settings

FAKE = (sys.executable, "-m", "tests.engine.fake")


def make_app(directory):
    launch.ENGINE = FAKE
    engine = connect(EngineOptions(models={"fake": "model"}), directory)

    def app(environ, start_response):
        answer = f"{os.getpid()} {engine.models()}"  # first: whoever hears of it finds an engine
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [answer.encode()]

    return app


def make_flask_app(directory, model):
    """The whole web, around the fake engine."""
    launch.ENGINE = FAKE
    return create_app(read_settings({"models": (model,), "runtime": directory}))


if __name__ == "__main__":
    app = make_app(sys.argv[1])
    worker = os.fork() if "fork" in sys.argv else None
    line = f"serving {os.getpid()}\n".encode()  # in one write: two processes share the pipe
    list(app({}, lambda *_: os.write(sys.stdout.fileno(), line)))
    if worker == 0:
        signal.pause()  # as one that does not look whose child it is
    sys.stdin.read()
