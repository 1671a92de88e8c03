"""Every way to start the whole thing, on the tiny model: web, engine and what lies between."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.server import read_until, serve
from tests.waiting import wait_until

PYTHON = sys.executable


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Where the engine's sockets and compiled graphs go: short, for a socket's path is."""
    return {
        "runtime": tmp_path_factory.mktemp("r"),
        "cache": tmp_path_factory.mktemp("cache"),
        "threads": 1,
    }


@pytest.fixture(scope="module")
def server(tiny, runtime):
    command = [PYTHON, "-m", "app", "serve", str(tiny), "--workers", "2"]
    with serve(command, **runtime) as server:
        server.wait_for("Continuo writes at")
        yield server
        server.terminate()
        assert server.process.wait(30) == 0


def engines(server):
    """The engine's processes of a server: they name its home, which begins with its pid."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"/{server.process.pid}-" in word for word in process.info["cmdline"] or ())
    ]


def events(reply):
    return [json.loads(line) for line in reply.text.splitlines() if line]


def test_streamed_whole_and_as_text_are_the_same(server):
    asked = {"prompt": "Once upon a ", "max_tokens": 40, "seed": 7, "temperature": 1}
    whole = server.post("/generate", json=asked).json()
    lines = events(server.post("/generate", json=asked, headers={"Accept": "application/x-ndjson"}))
    plain = server.post("/generate", json=asked, headers={"Accept": "text/plain"})
    plain.encoding = "utf-8"
    streamed = "".join(line["text"] for line in lines if line["event"] == "token")
    assert whole["text"] == streamed == plain.text
    assert whole["seed"] == 7 and whole["usage"]["completion_tokens"] == 40


def test_spans_cut_the_text_into_its_tokens(server):
    asked = {"prompt": "x", "max_tokens": 60, "logprobs": 2, "temperature": 2, "seed": 3}
    said = server.post("/generate", json=asked | {"top_k": 0}).json()["continuations"][0]
    units = said["text"].encode("utf-16-le")
    entries = said["logprobs"]
    assert entries[0]["start"] == 0 and entries[-1]["end"] * 2 == len(units)
    for before, after in zip(entries, entries[1:], strict=False):
        assert before["end"] == after["start"]
    for entry in entries:
        cut = units[2 * entry["start"] : 2 * entry["end"]].decode("utf-16-le", "replace")
        assert cut == entry["text"] or "\ufffd" in entry["text"]


def test_a_score_is_what_the_prompts_logprobs_add_up_to(server):
    scored = server.post("/score", json={"prompt": "Once upon", "text": " a time"}).json()
    asked = {"prompt": "Once upon a time", "prompt_logprobs": 0, "max_tokens": 0}
    entries = server.post("/generate", json=asked).json()["prompt_logprobs"]
    tokens = scored["results"][0]["tokens"]
    added = sum(entry["logprob"] for entry in entries[-len(tokens) :])
    assert scored["results"][0]["logprob"] == pytest.approx(added, abs=1e-3)


def test_any_worker_cancels_by_id(server):
    connection = server.connect({"prompt": "x", "max_tokens": None, "stream": True})
    start = read_until(connection, b"event: token")
    id = json.loads(start.split(b"event: start\ndata: ")[1].split(b"\n")[0])["id"]
    # Either of two workers may take the call; the one that does not run it can end it too.
    assert server.delete(f"/generate/{id}").json() == {"id": id, "cancelled": True}
    assert b'"finish_reason":"cancelled"' in read_until(connection, b"event: done")
    assert server.delete(f"/generate/{id}").status_code == 404


def test_workers_share_one_engine(server):
    assert len(engines(server)) == 1


def test_a_killed_engine_is_said_and_comes_back(server):
    connection = server.connect({"prompt": "x", "max_tokens": None, "stream": True})
    read_until(connection, b"event: token")
    (engine,) = engines(server)
    engine.kill()
    assert b'"type":"engine_stopped"' in read_until(connection, b"event: error")
    wait_until(lambda: server.get("/readyz").status_code == 200)
    assert server.post("/generate", json={"prompt": "x", "max_tokens": 2}).status_code == 200


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "gunicorn", "-w", "2", "app:create_app()"],
        ["-m", "flask", "--app", "app", "run", "--port", "0"],
        ["deployment/run_server.py"],
    ],
    ids=["gunicorn", "flask", "tutorial"],
)
def test_every_way_to_start_serves_with_one_engine(command, tiny, runtime):
    with serve([PYTHON, *command], **runtime, models=tiny) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200)
        assert server.post("/generate", json={"prompt": "x", "max_tokens": 2}).status_code == 200
        (engine,) = engines(server)
        os.kill(server.process.pid, signal.SIGTERM)
        server.process.wait(30)
        engine.wait(10)  # it ends with its server


@pytest.mark.parametrize("command", [["app", "serve"], ["gunicorn", "app:create_app()"]])
def test_a_model_that_does_not_open_stops_the_start_and_says_why_once(command, runtime, tmp_path):
    """It was said twice, above three lines of gunicorn's own."""
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with serve([PYTHON, "-m", *command], **runtime, models=tmp_path) as server:
        assert server.wait() == 3
        [line] = server.lines
        assert "The engine cannot start: " in line and "config.json" in line


def test_under_another_configuration_the_engine_outlasts_the_streams(tiny, runtime, tmp_path):
    (tmp_path / "other.py").write_text("worker_class = 'gthread'\nthreads = 8\n", encoding="utf-8")
    command = ["-m", "gunicorn", "-c", str(tmp_path / "other.py"), "-b", "127.0.0.1:0"]
    with serve([PYTHON, *command, "app:create_app()"], models=tiny, **runtime) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200)
        connection = server.connect({"prompt": "x", "max_tokens": 500, "stream": True})
        read_until(connection, b"event: token")
        server.terminate()
        assert b"event: done" in read_until(connection, b"0\r\n\r\n")
        assert server.process.wait(30) == 0


def test_a_prompt_of_a_megabyte_is_read_from_its_end(server):
    said = server.post("/generate", json={"prompt": "once more, " * 90_000, "max_tokens": 2}).json()
    assert said["truncated"] and said["context_start"] > 900_000


def test_loopback_is_judged_by_the_socket(server):
    assert server.get("/livez", headers={"Host": "evil.example"}).status_code == 403


def test_a_running_server_calls_nobody(tiny, runtime, tmp_path):
    """Python tells of every connection its code opens; those of web and engine are written down."""
    (tmp_path / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    calls = tmp_path / "calls"
    calls.touch()
    watched = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "CALLS": str(calls)}
    command = [PYTHON, "-m", "app", "serve", str(tiny)]
    with serve(command, environment=watched, **runtime) as server:
        server.wait_for("Continuo writes at")
        assert server.post("/generate", json={"prompt": "x", "max_tokens": 2}).status_code == 200
        assert server.get("/").status_code == server.get("/metrics").status_code == 200
    assert calls.read_text(encoding="utf-8").splitlines().count("watching") >= 3
    assert set(calls.read_text(encoding="utf-8").splitlines()) == {"watching"}


WATCH = """
import os, socket, sys

def write(line):
    with open(os.environ["CALLS"], "a", encoding="utf-8") as file:
        file.write(line + "\\n")

def watch(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost"):
        write(f"asked for {arguments[0]}")
    if event in ("socket.connect", "socket.sendto") and arguments[0].family != socket.AF_UNIX:
        write(f"{event} {arguments[1]}")

sys.addaudithook(watch)
write("watching")
"""


def test_help_shows_every_setting_and_its_variable():
    done = subprocess.run([PYTHON, "-m", "app", "serve", "--help"], capture_output=True, text=True)
    for words in ("--max-queue", "CONTINUO_MAX_QUEUE", "--workers", "CONTINUO_API_KEYS"):
        assert words in done.stdout


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--precision", "int4"], "--precision must be auto or float32"),
        (["nothing-of-this-name"], "nothing-of-this-name"),
        (["--host", "192.0.2.1"], "192.0.2.1 is no address of this machine: name one with --host"),
        (["--host", "300.1.1.1"], "300.1.1.1 is no address of this machine: name one with --host"),
    ],
)
def test_a_mistake_is_one_sentence(options, sentence):
    with serve([PYTHON, "-m", "app", "serve", *options]) as server:
        assert server.process.wait(30) == 1
        server.wait_for(sentence)
        assert len(server.lines) == 1


def test_a_taken_port_is_one_sentence():
    """gunicorn tried it five times and logged eleven lines, none of which named --port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serve([PYTHON, "-m", "app", "serve", "--port", str(port)]) as server:
            assert server.process.wait(30) == 1
            server.wait_for(f"Port {port} is in use")
            server.wait_for("name another with --port")
            assert len(server.lines) == 1
