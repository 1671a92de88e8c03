"""What an hour of writing leaves in a tab: the page's heap as a story grows, and when it is left.

A round is a typed sentence, two continuations, undo, redo, a walk through the alternatives, and now
and then heat, several at once and the dialogs. A story keeps everything that was ever in it, so the
heap may grow with it; a tab that has just opened the same story shows what of that is the story's.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import CDPSession, Page, expect, sync_playwright

from tests.browser.browsers import launch
from tests.browser.desk import Desk
from tests.server import serve
from tests.tiny import make_tiny

ROUNDS = 80
EVERY = 20
LENGTH = 24
SENTENCE = "The lamp went out over the river, and nobody in the lane had seen it go. "
STORY = """() => new Promise((resolve) => {
  indexedDB.open('continuo').onsuccess = ({target: {result}}) => {
    const request = result.transaction('nodes').objectStore('nodes').getAll();
    request.onsuccess = () => {
      result.close();
      const tokens = request.result.map((node) => node.tokens?.length ?? 0);
      resolve({nodes: tokens.length, tokens: tokens.reduce((sum, one) => sum + one, 0)});
    };
  };
})"""


def write(desk: Desk, key: str) -> None:
    desk.status.evaluate("status => { status.textContent = '' }")
    desk.press(key)
    expect(desk.status).to_contain_text("per second")
    desk.idle()


def write_a_round(desk: Desk, number: int) -> None:
    desk.press("Control+End").type(SENTENCE)
    write(desk, "Control+Enter")
    write(desk, "Control+Shift+Enter")
    desk.press("Alt+ArrowLeft", "Alt+ArrowRight", *["Control+z"] * 4, *["Control+y"] * 4)
    desk.press("Control+.", "Escape")
    if number % 10 == 0:
        look_around(desk)


def look_around(desk: Desk) -> None:
    desk.press("Alt+h")
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits")
    desk.press("Alt+h")
    write(desk, "Alt+Enter")
    desk.press("1")
    for keys in ("Alt+s", "Control+/", "Alt+p"):
        desk.press(keys, "Escape")
    desk.press("Alt+w")


def measure(name: str, desk: Desk, devtools: CDPSession) -> None:
    desk.saved().page.wait_for_timeout(1000)  # what follows a pause is over
    for _ in range(2):  # what only the first one lets go of
        devtools.send("HeapProfiler.collectGarbage")
    usage = devtools.send("Runtime.getHeapUsage")
    heap = (usage["usedSize"] + usage["backingStorageSize"]) / 1e6  # with the buffers of its arrays
    counters = devtools.send("Memory.getDOMCounters")
    story = desk.page.evaluate(STORY)
    print(
        f"| {name} | {len(desk.text):,} | {story['nodes']:,} | {story['tokens']:,} | {heap:.1f} "
        f"| {counters['nodes']:,} | {counters['jsEventListeners']:,} |",
        flush=True,
    )


def session(page: Page, url: str) -> None:
    devtools = page.context.new_cdp_session(page)
    page.goto(url)
    desk = Desk(page).ready().length(LENGTH)
    print("| | characters | nodes kept | tokens kept | heap, MB | DOM nodes | listeners |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    measure("at the start", desk, devtools)
    for number in range(1, ROUNDS + 1):
        write_a_round(desk, number)
        if number % EVERY == 0:
            measure(f"{number} rounds", desk, devtools)
    desk.press("Alt+n")
    expect(page.locator("#text")).to_have_text("")
    measure("a new story in the same tab", desk, devtools)
    page.reload()  # the new one, empty, was not kept: the old one opens
    measure("the same story in a tab just opened", desk.ready(), devtools)


def main() -> None:
    expect.set_options(timeout=60_000)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        model = make_tiny(Path(scratch) / "tiny")
        with serve([sys.executable, "-m", "app", "serve", str(model)]) as server:
            server.wait_for("writes at")
            browser = launch(playwright)
            session(browser.new_page(), server.url)
            browser.close()
