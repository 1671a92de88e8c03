"""A real server with its engine on the tiny model; clients driven from their own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app import gpt2
from app.gpt2 import TorchModel
from tests.server import serve

HERE = Path(__file__).parent
CLIENTS = Path(f"{sys.prefix}-clients", "bin", "python")  # `make test` makes it


@pytest.fixture(scope="session")
def server(tiny, tmp_path_factory):
    settings = {
        "runtime": tmp_path_factory.mktemp("r"),
        "cache": tmp_path_factory.mktemp("cache"),
        "threads": 1,
        "precision": "float32",
    }
    with serve([sys.executable, "-m", "app", "serve", str(tiny)], **settings) as server:
        server.wait_for("Continuo writes at")
        yield server


@pytest.fixture(scope="session")
def drive(server, tmp_path_factory):
    """Runs a script with the server's address in the clients' environment; what it prints, read."""
    home = tmp_path_factory.mktemp("home")
    # The server does the tokenizing and the tasks are files: nothing is fetched, nothing cached.
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "HF_DATASETS_OFFLINE": "1"}

    def run(script, **asked):
        assert CLIENTS.exists(), f"{CLIENTS} is missing: run make test once, it makes it"
        done = subprocess.run(
            [CLIENTS, HERE / script, server.url],
            input=json.dumps(asked),
            env=environment,
            cwd=home,
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr[-5000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def checkpoint(tiny):
    return gpt2.load(tiny)


@pytest.fixture(scope="session")
def odds(checkpoint):
    """The model's log-probabilities [T, V] after each token, computed directly."""
    model = TorchModel(checkpoint.config, checkpoint.weights)

    def compute(ids):
        logits, _ = model.forward(torch.tensor([ids]))
        return torch.log_softmax(logits[0].double(), dim=-1)

    return compute
