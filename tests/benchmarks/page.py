"""The page on loopback: bytes and first paint of a first visit, and a key's cost in long texts."""

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.browsers import launch
from tests.browser.desk import Desk
from tests.server import Server
from tests.tiny import make_tiny

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
VISITS = 9
KEYS = 40
SENTENCE = "The lamp went out over the river, and nobody in the lane had seen it go. "
TEXTS = {
    "an empty page": "",
    "lines": (SENTENCE * 4 + "\n") * 1030,
    "one paragraph": SENTENCE * 4110,
}
PLACES = {"start": "Control+Home", "end": "Control+End"}
# Each key comes when the frame of the one before it is done.
COST = """async (keys) => {
  const text = document.querySelector('#text');
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const times = [];
  for (let key = 0; key < keys; key += 1) {
    await frame();
    const from = performance.now();
    document.execCommand('insertText', false, 'x');
    text.getBoundingClientRect();
    times.push(performance.now() - from);
  }
  return times;
}"""


def first_visits(browser: Browser, url: str) -> None:
    paints = []
    for _ in range(VISITS):
        context = browser.new_context(service_workers="block")
        page, answers = context.new_page(), []
        page.on("response", lambda answer, answers=answers: answers.append(answer))
        page.goto(url)
        Desk(page).ready()
        paints.append(page.evaluate(PAINT))
        sizes = [len(answer.body()) for answer in answers]
        context.close()
    print(f"{sum(sizes):,} bytes in {len(sizes)} answers; first paint after", end=" ")
    print(f"{statistics.median(paints):.0f} ms (median of {VISITS}, slowest {max(paints):.0f} ms)")


def keys_in_long_texts(page: Page, url: str) -> None:
    print(f"Script and layout of a key, ms: median of {KEYS}, slowest")
    for name, text in TEXTS.items():
        page.goto(url)
        desk = Desk(page).ready().press("Alt+n")
        if text:
            desk.paste(text)
        for place, key in PLACES.items():
            desk.press(key)
            page.wait_for_timeout(1000)  # what follows a pause is over
            times = page.evaluate(COST, KEYS)
            row = f"{statistics.median(times):6.1f} {max(times):6.1f}"
            print(f"{name} of {len(text):,} characters, at its {place}: {row}")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        model = make_tiny(Path(scratch) / "tiny")
        server = Server([sys.executable, "-m", "app", "serve", str(model)])
        server.wait_for("writes at")
        browser = launch(playwright)
        first_visits(browser, server.url)
        keys_in_long_texts(browser.new_page(), server.url)
        browser.close()
        server.process.terminate()
        server.process.wait()
