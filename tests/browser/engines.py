"""Debian's Firefox and WebKit, driven by the protocols they speak themselves: BiDi and WebDriver.

Playwright drives only builds of its own of these two. What the core tests need is little: keys as a
person presses them, and a question to the page.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

KEYS = {
    "Backspace": "\ue003", "Enter": "\ue007", "Shift": "\ue008", "Control": "\ue009",
    "Alt": "\ue00a", "Escape": "\ue00c", "End": "\ue010", "Home": "\ue011",
    "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015",
    "Delete": "\ue017",
}  # fmt: skip
MINI_BROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"), None)
PATIENCE_S = 30.0


class Person:
    """Someone at a browser. `goto`, `evaluate`, `act` and `close` are the engine's own."""

    @staticmethod
    def missing() -> str | None:
        """What would have to be installed first."""
        raise NotImplementedError

    def type(self, text: str) -> "Person":
        return self._press_all([[character] for character in text])

    def press(self, *combinations: str) -> "Person":
        """Control+Shift+z: held down from left to right."""
        return self._press_all([re.split(r"\+(?=.)", keys) for keys in combinations])

    def _press_all(self, combinations: list[list[str]]) -> "Person":
        actions = []
        for keys in combinations:
            values = [KEYS.get(key, key) for key in keys]
            actions += [{"type": "keyDown", "value": value} for value in values]
            actions += [{"type": "keyUp", "value": value} for value in reversed(values)]
        self.act([{"type": "key", "id": "keyboard", "actions": actions}])
        return self

    def click(self, selector: str) -> "Person":
        x, y = self.evaluate(
            "(selector) => { const box = document.querySelector(selector).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round); }",
            selector,
        )
        move = {"type": "pointerMove", "x": x, "y": y}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.act([{"type": "pointer", "id": "mouse", "actions": [move, *press]}])
        return self

    def wait(self, function: str, *values: Any) -> "Person":
        """Until the page answers yes; the page itself looks again at every frame."""
        looking = f"""async (...values) => {{
          const end = performance.now() + {PATIENCE_S * 1000};
          while (!await ({function})(...values)) {{
            if (performance.now() > end) return false;
            await new Promise((resolve) => setTimeout(resolve, 15));
          }}
          return true;
        }}"""
        assert self.evaluate(looking, *values), f"{function} {values}"
        return self

    def goto(self, url: str) -> None:
        raise NotImplementedError

    def evaluate(self, function: str, *values: Any) -> Any:
        raise NotImplementedError

    def act(self, actions: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def resize(self, width: int, height: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


# ---- Firefox


class Firefox(Person):
    @staticmethod
    def missing() -> str | None:
        return None if shutil.which("firefox-esr") else "firefox-esr"

    def __init__(self) -> None:
        self.closing = contextlib.ExitStack()
        self.profile = self.closing.enter_context(
            tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True)
        )
        preferences = {
            "browser.tabs.remote.autostart": True,
            "browser.shell.checkDefaultBrowser": False,
        }
        Path(self.profile, "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences.items()
            )
        )
        command = [
            "firefox-esr",
            "--headless",
            "--remote-debugging-port=0",
            "--profile",
            self.profile,
        ]
        self.process = self.closing.enter_context(
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        )
        self.closing.callback(self.process.terminate)
        self.socket = self.closing.enter_context(
            connect(f"{self._address()}/session", max_size=None)
        )
        self.numbers = itertools.count(1)
        self._ask("session.new", capabilities={})
        self.tab = self._ask("browsingContext.create", type="tab")["context"]

    def _address(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"listening on (ws://\S+)", line):
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return found[1]
        raise AssertionError("Firefox ended.")

    def _ask(self, method: str, **params: Any) -> Any:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (reply := json.loads(self.socket.recv(timeout=60))).get("id") != number:
            pass  # an event
        assert reply["type"] == "success", reply
        return reply["result"]

    def goto(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def evaluate(self, function: str, *values: Any) -> Any:
        # JSON both ways: BiDi's own form of values has a type around each
        source = f"async () => JSON.stringify(await ({function})(...{json.dumps(values)}) ?? null)"
        result = self._ask(
            "script.callFunction", functionDeclaration=source, awaitPromise=True,
            target={"context": self.tab}, userActivation=True,
        )  # fmt: skip
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return json.loads(result["result"]["value"])

    def act(self, actions: list[dict[str, Any]]) -> None:
        self._ask("input.performActions", context=self.tab, actions=actions)

    def resize(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        self._ask("browsingContext.setViewport", context=self.tab, viewport=viewport)

    def close(self) -> None:
        self.closing.close()


# ---- WebKit


class WebKit(Person):
    @staticmethod
    def missing() -> str | None:
        found = MINI_BROWSER and shutil.which("WebKitWebDriver") and shutil.which("Xvfb")
        return None if found else "webkit2gtk-driver and xvfb"

    def __init__(self) -> None:
        self.display = _Display()
        port = _free_port()
        command = ["WebKitWebDriver", f"--port={port}"]
        self.driver = subprocess.Popen(command, env=self.display.environment)
        self.base = f"http://127.0.0.1:{port}/session"
        options = {"binary": str(MINI_BROWSER), "args": ["--automation"]}
        capabilities = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}
        session = self._until_up(capabilities={"alwaysMatch": capabilities})
        self.base += f"/{session['sessionId']}"
        self._ask("POST", "/timeouts", script=int(PATIENCE_S * 2000))

    def _until_up(self, **body: Any) -> Any:
        for attempt in itertools.count():
            try:
                return self._ask("POST", "", **body)
            except OSError:
                if attempt > 100 or self.driver.poll() is not None:
                    raise
                time.sleep(0.1)  # nothing tells when it listens

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def goto(self, url: str) -> None:
        self._ask("POST", "/url", url=url)

    def evaluate(self, function: str, *values: Any) -> Any:
        script = f"""const done = arguments[arguments.length - 1];
        Promise.resolve(({function})(...{json.dumps(values)})).then(
          (value) => done(JSON.stringify({{value: value ?? null}})),
          (error) => done(JSON.stringify({{error: `${{error}} ${{error.stack}}`}})));"""
        reply = json.loads(self._ask("POST", "/execute/async", script=script, args=[]))
        assert "error" not in reply, reply["error"]
        return reply["value"]

    def act(self, actions: list[dict[str, Any]]) -> None:
        self._ask("POST", "/actions", actions=actions)

    def resize(self, width: int, height: int) -> None:
        self._ask("POST", "/window/rect", width=width, height=height)

    def close(self) -> None:
        with contextlib.suppress(AssertionError, OSError):
            self._ask("DELETE", "")
        self.driver.terminate()
        self.driver.wait()
        self.display.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class _Display:
    """A screen that nobody sees: WebKit's small browser knows no other."""

    def __init__(self) -> None:
        command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        number = self.process.stdout.readline().strip()
        self.environment = {
            **os.environ, "DISPLAY": f":{number}", "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1",
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1", "LIBGL_ALWAYS_SOFTWARE": "1",
        }  # fmt: skip

    def close(self) -> None:
        with self.process:  # closes its pipe and waits
            self.process.terminate()
