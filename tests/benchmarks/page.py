"""The page's first visit on loopback: its bytes, answers of the API among them, and first paint."""

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.browsers import launch
from tests.server import Server
from tests.tiny import make_tiny

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
VISITS = 9


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        model = make_tiny(Path(scratch) / "tiny")
        server = Server([sys.executable, "-m", "app", "serve", str(model)])
        server.wait_for("writes at")
        browser = launch(playwright)
        paints = []
        for _ in range(VISITS):
            context, sizes = browser.new_context(), []
            page = context.new_page()
            page.on("response", lambda answer, sizes=sizes: sizes.append(len(answer.body())))
            page.goto(server.url, wait_until="networkidle")
            paints.append(page.evaluate(PAINT))
            context.close()
        browser.close()
        server.process.terminate()
        server.process.wait()
    print(f"{sum(sizes):,} bytes in {len(sizes)} answers; first paint after", end=" ")
    print(f"{statistics.median(paints):.0f} ms (median of {VISITS}, slowest {max(paints):.0f} ms)")
