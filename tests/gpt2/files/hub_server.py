"""A small server that answers as the Hugging Face hub does, as far as downloads ask it.

GET /api/models/OWNER/NAME[/revision/REV]?blobs=true   the commit, and its files with sizes
GET /OWNER/NAME/resolve/COMMIT/FILE                    a file; large ones are sent elsewhere:
GET /elsewhere/OWNER/NAME/COMMIT/FILE                  on another host, as the hub's CDN is
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".h5")  # kept in LFS, with a SHA-256


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # id: revision: file: bytes
        self.token: str | None = None  # asked of everybody, if there is one
        self.gated = False
        self.cuts: list[int] = []  # after how many bytes to cut the next large files' connections
        self.damage = False  # whether large files change on the way
        self.asked: list[tuple[str, Message]] = []  # paths and headers of all requests

    def publish(self, repo: str, files: dict[str, bytes], revision: str = "main") -> None:
        self.repos.setdefault(repo, {})[revision] = files

    def files_sent(self) -> list[str]:
        return [path.split("/")[-1] for path, _ in self.asked if "/resolve/" in path]

    def ranges(self) -> list[str | None]:
        """The Range header of each request for the bytes of a large file."""
        return [said.get("Range") for path, said in self.asked if path.startswith("/elsewhere/")]


def commit(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append((path, self.headers))
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["elsewhere", owner, name, sha, file]:
                self.send_large(self.find(f"{owner}/{name}", sha)[file])
            case ["api", "models", owner, name, *rest]:
                self.send_listing(f"{owner}/{name}", rest[1] if rest else "main")
            case [owner, name, "resolve", sha, file]:
                self.send_file(f"{owner}/{name}", sha, file)
            case _:
                self.fail(404, "EntryNotFound")

    def find(self, repo: str, revision: str) -> dict[str, bytes] | None:
        for name, files in self.server.repos.get(repo, {}).items():
            if revision in (name, commit(name)):
                return files
        return None

    def send_listing(self, repo: str, revision: str) -> None:
        said = self.headers.get("Authorization")
        if said is not None and said != f"Bearer {self.server.token}":
            return self.fail(401, message="Invalid credentials in Authorization header")
        if repo not in self.server.repos or (said is None and self.server.token is not None):
            return self.fail(401, "RepoNotFound")
        files = self.find(repo, revision)
        if files is None:
            return self.fail(404, "RevisionNotFound")
        siblings = [self.sibling(name, content) for name, content in files.items()]
        body = json.dumps({"id": repo, "sha": commit(revision), "siblings": siblings}).encode()
        self.answer(200, body)

    def sibling(self, name: str, content: bytes) -> dict:
        said = {"rfilename": name, "size": len(content), "blobId": commit(name)}
        if name.endswith(LARGE):
            sha256 = hashlib.sha256(content).hexdigest()
            said["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
        return said

    def send_file(self, repo: str, sha: str, file: str) -> None:
        if self.server.gated:
            return self.fail(403, "GatedRepo")
        files = self.find(repo, sha)
        if files is None or file not in files:
            return self.fail(404, "EntryNotFound")
        if file.endswith(LARGE):
            other = f"http://localhost:{self.server.server_port}/elsewhere/{repo}/{sha}/{file}"
            return self.answer(302, b"", {"Location": other})
        self.answer(200, files[file])

    def send_large(self, content: bytes) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        rest = content[start:]
        if self.server.damage:
            rest = rest[:-1] + bytes([rest[-1] ^ 1])
        n_sent = self.server.cuts.pop(0) if self.server.cuts else len(rest)
        place = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, rest, {"Content-Range": place}, n_sent)

    def fail(self, status: int, code: str = "", message: str = "") -> None:
        self.answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, n_sent: int = -1
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if n_sent < 0 else body[:n_sent])
