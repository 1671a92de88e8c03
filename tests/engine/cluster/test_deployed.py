"""deployment/ray_serve.yaml, and the whole service before a cluster."""

import json
import signal
import sys

import psutil
import pytest
import yaml
from ray import serve
from ray._common.utils import import_attr
from ray.serve.schema import ServeDeploySchema

from app.engine.cluster.routing import APP
from tests.server import ROOT, read_until
from tests.server import serve as start
from tests.waiting import wait_until

CONFIG = yaml.safe_load((ROOT / "deployment" / "ray_serve.yaml").read_text(encoding="utf-8"))
SERVE = [sys.executable, "-m", "app", "serve", "--engine", "ray"]


def test_ray_reads_the_file():
    assert ServeDeploySchema.model_validate(CONFIG).applications[0].name == APP


def test_kuberay_is_told_the_same():
    path = ROOT / "deployment" / "kubernetes" / "rayservice.yaml"
    said = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["serveConfigV2"]
    assert yaml.safe_load(said) == CONFIG


@pytest.fixture
def deployed(cluster, tiny):
    [application] = CONFIG["applications"]
    arguments = application["args"] | {"models": [str(tiny)], "threads": 1, "most": 2}
    build = import_attr(application["import_path"])
    serve.run(build(arguments), name=application["name"], route_prefix=None)
    return cluster


def test_the_web_serves_from_the_cluster(deployed):
    """A stream, a score, a refusal and a cancel, through Flask and gunicorn with two workers."""
    environment = {"RAY_ADDRESS": deployed.address}
    with start([*SERVE, "--workers", "2"], environment) as server:
        server.wait_for("Continuo writes at")
        asked = {"prompt": "Once upon a ", "max_tokens": 40, "seed": 7}
        whole = server.post("/generate", json=asked).json()
        lines = server.post("/generate", json=asked, headers={"Accept": "application/x-ndjson"})
        tokens = [json.loads(line) for line in lines.text.splitlines() if line]
        assert whole["text"] == "".join(t["text"] for t in tokens if t["event"] == "token")
        assert server.post("/score", json={"prompt": "Once", "text": " upon"}).status_code == 200
        assert server.post("/generate", json={"prompt": "x", "model": "no"}).status_code == 404
        connection = server.connect({"prompt": "x", "max_tokens": None, "stream": True})
        started = read_until(connection, b"event: token")
        id = json.loads(started.split(b"event: start\ndata: ")[1].split(b"\n")[0])["id"]
        assert server.delete(f"/generate/{id}").json() == {"id": id, "cancelled": True}
        assert b'"finish_reason":"cancelled"' in read_until(connection, b"event: done")
        assert server.metric("continuo_ready") == 1
        server.terminate()
        assert server.process.wait(60) == 0


def test_a_web_worker_that_dies_frees_its_rows(deployed):
    from app.engine import join_cluster

    with start(SERVE, {"RAY_ADDRESS": deployed.address}) as server:
        server.wait_for("Continuo writes at")
        read_until(
            server.connect({"prompt": "x", "max_tokens": None, "stream": True}), b"event: token"
        )
        client = join_cluster()
        assert client.stats().running == 1
        [worker] = psutil.Process(server.process.pid).children()
        worker.send_signal(signal.SIGKILL)
        wait_until(lambda: not client.stats().running)
        client.close()
