"""Follow a request, a training or a key through the code: each function where it is first called.

    python -m tests.walk generate     POST /generate with one token, streamed: through app/web
    python -m tests.walk train        `continuo train` with one step of a tiny model: app/training
    python -m tests.walk key          one key typed into a story, in Chromium: static/

This is how one would read the code: a stay is a run of functions in one file, a return a stay in a
file that was left before.
"""

import contextlib
import inspect
import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).resolve().parent.parent


class Walk:
    def __init__(self, room: str) -> None:
        self.room = str(ROOT / "app" / room) + "/"
        self.read: dict[CodeType, str] = {}  # functions -> their files, in the order of first calls

    @contextlib.contextmanager
    def traced(self) -> Iterator[None]:
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event == "call" and is_function and code.co_filename.startswith(self.room):
            self.read.setdefault(code, code.co_filename.removeprefix(self.room))

    def tell(self, title: str) -> None:
        stays = [file for file, _ in itertools.groupby(self.read.values())]
        n_files = len(set(stays))
        folders = [folder for folder, _ in itertools.groupby(stays, os.path.dirname)]
        print(
            f"{title}: {len(self.read)} functions in {n_files} files, {len(stays)} stays "
            f"({len(folders)} by folder), {len(stays) - n_files} returns"
        )
        print("  " + " > ".join(stays))


def generate() -> None:
    from tests.fake_app import make

    client, walk = make().test_client(), Walk("web")
    body = {"prompt": "Once upon a", "max_tokens": 1, "stream": True}
    for round in range(2):  # what is made at the first request is no part of the second
        with walk.traced():
            response = client.post("/generate", json=body)
        if round:
            walk.tell("to the first byte")
        with walk.traced():
            b"".join(response.response)
            response.close()
        if round:
            walk.tell("to the end")
        walk.read = {}


def train() -> None:
    from app.__main__ import main

    shape = "--layers 1 --width 16 --heads 1 --window 16 --new-vocabulary 260 --batch 1 --threads 1"
    walk = Walk("training")
    with tempfile.TemporaryDirectory() as home:
        text = Path(home) / "text.txt"
        text.write_text("Once upon a time there was a house.\n" * 50, encoding="utf-8")
        words = f"train {text} --into {home} --name it {shape} --steps 1 --sample-tokens 1".split()
        with walk.traced(), contextlib.suppress(SystemExit):
            main(words, standalone_mode=False)
    walk.tell("one step")


def key() -> None:
    """Browsers count calls, but do not order them."""
    from playwright.sync_api import sync_playwright
    from werkzeug.serving import make_server

    from tests.browser.browsers import launch
    from tests.fake_app import make

    server = make_server("127.0.0.1", 0, make(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator("#text").focus()
        with page.expect_response("**/tokenize"):  # after a pause: then nothing is left to do
            page.keyboard.type("Once upon a tim")
        profiler = page.context.new_cdp_session(page)
        profiler.send("Profiler.enable")
        profiler.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": False})
        profiler.send("Profiler.takePreciseCoverage")
        page.keyboard.press("e")
        scripts = profiler.send("Profiler.takePreciseCoverage")["result"]
    server.shutdown()
    counts = {}
    for script in scripts:
        calls = {f["functionName"]: f["ranges"][0]["count"] for f in script["functions"]}
        calls = {name: n for name, n in calls.items() if name and n}
        if "/static/" in script["url"] and calls:
            counts[script["url"].partition("/static/")[2]] = calls
    n_functions, n_calls = (
        sum(map(len, counts.values())),
        sum(sum(c.values()) for c in counts.values()),
    )
    print(f"one key: {n_calls} calls of {n_functions} functions in {len(counts)} files")
    for file, calls in counts.items():
        print(f"  {file}: " + ", ".join(f"{name} {n}" for name, n in calls.items()))


if __name__ == "__main__":
    {"generate": generate, "train": train, "key": key}[sys.argv[1]]()
