"""A web server around a fake engine: `gunicorn 'tests.engine.server:make_app("DIRECTORY")'`."""

import os
import sys

from app.engine import EngineOptions, connect, launch


def make_app(directory):
    launch.ENGINE = (sys.executable, "-m", "tests.engine.fake")
    engine = connect(EngineOptions(models={"fake": "model"}), directory)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {engine.models()}".encode()]

    return app


if __name__ == "__main__":
    list(make_app(sys.argv[1])({}, lambda *_: print("serving", flush=True)))
    sys.stdin.read()
