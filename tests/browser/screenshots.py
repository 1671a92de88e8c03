"""Pictures of the page for the README: python -m tests.browser.screenshots [URL]

Writes docs/*.png. Without a URL it starts the server itself, with the model it would serve anyway.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.server import Server

from .browsers import launch
from .desk import Desk

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPENING = (
    "On the evening the fair left town, Anna found the old lamplighter asleep against the church "
    "wall, his ladder across his knees."
)
REPLY = " She did not laugh, as the others had. She took the ladder"


@contextlib.contextmanager
def address() -> Iterator[str]:
    if len(sys.argv) > 1:
        yield sys.argv[1]
        return
    server = Server([sys.executable, "-m", "app", "serve"])
    try:
        server.wait_for("writes at")
        yield server.url
    finally:
        server.process.terminate()
        server.process.wait()


def open_desk(browser: Browser, url: str, width: int, height: int, **options) -> Desk:
    page = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=2, **options
    ).new_page()
    page.goto(url)
    return Desk(page).ready()


def tell(desk: Desk) -> Desk:
    """A page of a story: the writer begins, the machine goes on, twice; and other ways on."""
    sow(desk, "7")
    desk.length(40).type(OPENING).press("Enter", "Enter").continue_()
    desk.type(REPLY)
    for seed in ("11", "12", "13"):
        sow(desk, seed)
        if seed == "11":
            desk.continue_()
        else:
            desk.press("Control+Shift+Enter").page.wait_for_timeout(300)
            desk.idle()
    desk.press("Alt+ArrowLeft")
    return desk


def sow(desk: Desk, seed: str) -> None:
    """Set the seed, though a phone has no room to show it."""
    change = "(input, seed) => { input.value = seed; input.dispatchEvent(new Event('input')); }"
    desk.page.locator("#knob-seed").evaluate(change, seed)


def take(desk: Desk, name: str) -> None:
    desk.page.wait_for_timeout(500)  # fonts, counts and the map come to rest
    desk.page.screenshot(path=DOCS / f"{name}.png")


def desktop(browser: Browser, url: str) -> None:
    desk = tell(open_desk(browser, url, 1280, 800))
    take(desk, "tree")
    desk.press("ArrowLeft", *["Control+ArrowLeft"] * 8, "Control+.")
    expect(desk.page.locator("#word")).to_be_visible()
    take(desk, "desktop")
    desk.press("Escape", "Control+End", "Alt+h")
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits")
    take(desk, "heat")
    desk.press("Alt+h")
    desk.page.emulate_media(color_scheme="dark")
    take(desk, "dark")
    desk.press("Alt+Enter").idle()
    take(desk, "several")


def phone(browser: Browser, url: str) -> None:
    desk = tell(open_desk(browser, url, 375, 740, has_touch=True, is_mobile=True))
    desk.page.evaluate("scrollTo(0, 0)")
    take(desk, "phone")


def chinese(browser: Browser, url: str) -> None:
    take(open_desk(browser, url, 1280, 800, locale="zh-CN"), "chinese")


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright, address() as url:
        browser = launch(playwright)
        for picture in (desktop, phone, chinese):
            picture(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
