"""The page's modules that need no browser, in Node; and what each of them may know."""

import re
import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

HERE = Path(__file__).resolve().parent
STATIC = HERE.parents[1] / "static"
ROOMS = ("story", "story/formats", "machine", "text", "tools")  # each test is where its module is
SOURCES = {
    str(path.relative_to(STATIC)): path.read_text(encoding="utf-8")
    for path in sorted(STATIC.rglob("*.js"))
}
WITHOUT_PAGE = [name for name in SOURCES if name.startswith(("story/", "machine/"))]


TESTS = [test for room in ROOMS for test in sorted((HERE / room).glob("*.test.js"))]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.name)
def test_node(test: Path) -> None:
    node = compute_driver_executable()[0]
    ran = subprocess.run([node, "--test", str(test)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_test_is_where_its_module_is() -> None:
    tests = {
        str(test.relative_to(HERE)).replace(".test.js", ".js")
        for test in HERE.rglob("*.test.js")
        if "node_modules" not in test.parts
    }
    assert tests and tests <= SOURCES.keys()


def test_only_one_module_talks_to_the_server() -> None:
    assert [name for name, source in SOURCES.items() if "fetch(" in source] == ["machine/server.js"]


@pytest.mark.parametrize("name", WITHOUT_PAGE)
def test_knows_no_page(name: str) -> None:
    code = re.sub(r"//.*|/\*[\s\S]*?\*/", "", SOURCES[name])
    assert not re.search(r"\b(document|window|localStorage)\b(?!\.js)", code)
