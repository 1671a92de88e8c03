"""A real server in a process of its own, on a free port, and raw connections to it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
BASE = {"CONTINUO_PORT": "0", "PYTHONPATH": str(ROOT)}
FAKE = [sys.executable, "-m", "gunicorn", "-c", "deployment/gunicorn.conf.py"]


class Server:
    """A command that says where it listens; `lines` is what it said."""

    def __init__(self, command, environment=None, **settings):
        variables = {f"CONTINUO_{name.upper()}": str(value) for name, value in settings.items()}
        self.lines = []
        self._at = None
        self._connections = []
        # What a killed server leaves behind is here, and goes with it.
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._heard = threading.Condition()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=BASE | os.environ | {"TMPDIR": self._folder.name} | variables | (environment or {}),
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                self._heard.notify_all()

    def wait_for(self, pattern, timeout=60):
        """The first line that matches; what follows `lines` may still come."""
        with self._heard:
            found = self._heard.wait_for(lambda: self._find(pattern), timeout)
        assert found, f"never said {pattern!r}: {self.lines}"
        return found

    def _find(self, pattern):
        return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

    @property
    def address(self):
        if self._at is None:
            self._at = self.wait_for(r"http://(\S+):(\d+)")
        return self._at[1].strip("[]"), int(self._at[2])

    @property
    def url(self):
        host, port = self.address
        return f"http://{host}:{port}"

    def get(self, path, **more):
        return requests.get(self.url + path, timeout=30, **more)

    def post(self, path, **more):
        return requests.post(self.url + path, timeout=30, **more)

    def delete(self, path, **more):
        return requests.delete(self.url + path, timeout=30, **more)

    def connect(self, asked=None, path="/generate", headers=()):
        """A raw connection, a POST already sent; closed with the server if not before."""
        body = json.dumps(asked).encode()
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        connection = socket.create_connection(self.address, timeout=30)
        self._connections.append(connection)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return connection

    def metric(self, name):
        """The sum of a metric's samples whose line begins so."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wait(self):
        """Its exit status, and all of its `lines`, its engine's too, once both have ended."""
        status = self.process.wait(60)
        self._reader.join(60)
        return status

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        for connection in self._connections:
            connection.close()
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()
        self._folder.cleanup()


@contextlib.contextmanager
def serve(command, environment=None, **settings):
    server = Server(command, environment, **settings)
    try:
        yield server
    finally:
        server.stop()


def fake(delay=0.0, *options, capacity=None):
    """The command of a gunicorn on the fake engine."""
    return [*FAKE, *options, f"tests.fake_app:make({delay}, {capacity})"]


def read_until(connection, needle):
    """Everything up to and with `needle`."""
    data = b""
    while needle not in data:
        piece = connection.recv(65536)
        assert piece, f"the server hung up before {needle!r}: {data[-300:]!r}"
        data += piece
    return data
