"""deployment/nginx.conf in a real nginx, with its ports and servers changed and nothing else."""

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest
import requests

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: make tools")

AROUND = """
daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/continuo.conf;
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def replaced(text, line, by):
    assert text.count(line) == 1, f"nginx.conf no longer says {line!r}"
    return text.replace(line, by)


class Proxy:
    def __init__(self, servers, change=lambda text: text, certificate=None):
        self.port = free_port()
        self.certificate = certificate  # its file, with the key beside it; None: no TLS
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name)
        self._change = change
        (self._path / "nginx.conf").write_text(AROUND.format(folder=self._path))
        self.set_servers(servers)
        self._run("-t")
        self.process = subprocess.Popen(self._command())
        wait_until(self._listens)

    def set_servers(self, servers):
        text = (ROOT / "deployment" / "nginx.conf").read_text(encoding="utf-8")
        lines = [f"server {host}:{port} max_fails=0;" for host, port in servers]
        text = replaced(text, "server 127.0.0.1:5000 max_fails=0;", "\n".join(lines))
        if self.certificate is not None:
            text = uncomment(uncomment(text, "listen 443 ssl"), "ssl_")
            text = text.replace("/etc/ssl/continuo", str(self.certificate.parent))
            text = replaced(replaced(text, "listen 80;", ""), "listen 443 ssl;", "listen 80 ssl;")
        text = replaced(text, "listen 80", f"listen 127.0.0.1:{self.port}")
        (self._path / "continuo.conf").write_text(self._change(text), encoding="utf-8")

    def reload(self):
        """Returns once new connections reach the new configuration; old ones may go on."""
        before = self._workers()
        self._run("-s", "reload")
        wait_until(lambda: (now := self._workers()) and not now & before)

    def _workers(self):
        """Those that accept; one that leaves calls itself "shutting down"."""
        found = set()
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "shutting down" not in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    def _command(self, *more):
        return [NGINX, "-p", str(self._path), "-e", str(self._path / "error.log"),
                "-c", str(self._path / "nginx.conf"), *more]  # fmt: skip

    def _run(self, *more):
        done = subprocess.run(self._command(*more), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True

    @property
    def url(self):
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    def _ask(self, method, path, **more):
        verify = True if self.certificate is None else str(self.certificate)
        return requests.request(method, self.url + path, timeout=30, verify=verify, **more)

    def get(self, path, **more):
        return self._ask("GET", path, **more)

    def post(self, path="/generate", **more):
        return self._ask("POST", path, **more)

    def delete(self, path, **more):
        return self._ask("DELETE", path, **more)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self._folder.cleanup()


@contextlib.contextmanager
def proxy(servers, change=lambda text: text, certificate=None):
    found = Proxy(servers, change, certificate)
    try:
        yield found
    finally:
        found.stop()


def uncomment(text, pattern):
    """The commented lines that match, as somebody who wants them would leave them."""
    changed, n = re.subn(rf"^(\s*)# ({pattern}.*)$", r"\1\2", text, flags=re.MULTILINE)
    assert n, f"nginx.conf has no commented line {pattern!r}"
    return changed


def make_certificate(folder):
    """The file of a certificate for this machine, signed by itself; its key lies beside it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "fullchain.pem"
