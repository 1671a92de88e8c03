"""The page and the script that keeps it at hand."""

import re
from pathlib import Path

STATIC = Path(__file__).resolve().parents[2] / "static"


def test_every_module_is_asked_for_at_once(client):
    page = client.get("/").text
    preloaded = set(re.findall(r'<link rel="modulepreload" href="static/([^"]+)">', page))
    modules = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")}
    assert preloaded == modules - {"page.js", "theme.js"}  # which the page names itself


def test_the_page_speaks_the_readers_language(client):
    assert (
        '<html lang="zh"'
        in client.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}).text
    )
    assert '<html lang="en"' in client.get("/", headers={"Accept-Language": "fr"}).text


def test_the_worker_keeps_every_file_of_the_page(client):
    answer = client.get("/worker.js")
    assert answer.mimetype == "text/javascript"
    for path in STATIC.rglob("*"):
        if path.is_file():
            name = f"static/{path.relative_to(STATIC).as_posix()}"
            assert name in answer.text
            with client.get(f"/{name}") as file:
                assert file.status_code == 200
