"""A real Chromium, a real server on a free port, and a person's view of the page."""

import contextlib
import threading

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from werkzeug.serving import make_server

from app import create_app
from app.settings import Settings

from .browsers import launch
from .desk import Desk
from .engines import Firefox, Person, WebKit
from .storyteller import Storyteller

PATIENCE_MS = 30_000  # a machine with much else to do is slow, not wrong
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser() -> Browser:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[Firefox, WebKit], ids=lambda engine: engine.__name__)
def person(request) -> Person:
    if missing := request.param.missing():
        pytest.skip(f"{missing} is not installed.")
    person = request.param()
    yield person
    person.close()


@pytest.fixture
def engine():
    storyteller = Storyteller()
    yield storyteller
    storyteller.flow()


@pytest.fixture
def servers():
    """Those that run; all are stopped in the end."""
    servers = []
    yield servers
    for server in servers:
        server.shutdown()


def closing_files(app):
    """werkzeug's server leaves a file open if its reader resets the connection at the very end."""

    def whole(environ, start_response):
        answer = app(environ, start_response)
        if not environ["PATH_INFO"].startswith("/static/"):
            return answer
        with contextlib.closing(answer):
            return [b"".join(answer)]

    return whole


@pytest.fixture
def serve(engine, servers):
    """Starts a server with these settings; gives its address."""

    def start(port=0, **settings) -> str:
        app = create_app(Settings(**settings), engine)
        app.wsgi_app = closing_files(app.wsgi_app)
        server = make_server("127.0.0.1", port, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    return start


@pytest.fixture
def url(serve) -> str:
    return serve()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def open_desk(context, url):
    """Opens the page as a person would; an error in the page fails the test."""
    wrong: list[str] = []

    def open_it(address: str = url) -> Desk:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{error}\n{error.stack}"))
        page.goto(address)
        return Desk(page).ready()

    yield open_it
    assert wrong == []


@pytest.fixture
def desk(open_desk) -> Desk:
    return open_desk()
