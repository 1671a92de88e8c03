"""The documents are true: their commands parse, their snippets run, their links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from app.__main__ import main
from tests.documents import MADE, ROOT, documents, rewritten
from tests.server import serve

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in documents()}
CLIENTS = Path(f"{sys.prefix}-clients", "bin", "python")  # `make test` makes it
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every `continuo ...` of the documents: a line of a block, or between backticks in a text."""
    found = set()
    for text in TEXTS.values():
        for _, block in FENCE.findall(text):
            joined = block.replace("\\\n", " ")
            found |= {line for line in joined.splitlines() if line.startswith("continuo ")}
        found |= set(re.findall(r"`(continuo [a-z]+ [^`]*)`", FENCE.sub("", text)))
    return sorted(command for command in found if "..." not in command)


def snippets(language: str) -> list[str]:
    blocks = {b for text in TEXTS.values() for lang, b in FENCE.findall(text) if lang == language}
    return sorted(blocks)


def curls() -> list[str]:
    lines = {
        line for text in TEXTS.values() for _, b in FENCE.findall(text) for line in b.split("\n")
    }
    return sorted(line for line in lines if line.startswith("curl ") and "localhost:5000" in line)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_the_command_line_takes(command):
    name, *words = shlex.split(command, comments=True)[1:]
    assert name in main.commands, f"there is no `continuo {name}`"
    try:
        main.commands[name].make_context(name, words)
    except click.exceptions.Exit as asked_for_help:
        assert asked_for_help.exit_code == 0
    except click.FileError:
        pass  # a file of the reader's own


def test_every_command_is_in_a_document():
    told = {command.split()[1] for command in commands()}
    assert set(main.commands) <= told, "a command that no document mentions"


@pytest.mark.parametrize("document", TEXTS)
def test_every_link_leads_to_a_file(document):
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXTS[document]):
        assert (folder / target).exists(), f"{document} links to {target}, which is not there"


@pytest.mark.parametrize("document", TEXTS)
def test_what_is_made_from_the_code_is_current(document):
    assert rewritten(TEXTS[document]) == TEXTS[document], "run `make docs`"


def test_every_table_made_from_the_code_stands_in_a_document():
    for name in MADE:
        assert any(f"<!-- {name} -->" in text for text in TEXTS.values()), name


def test_every_make_target_in_a_document_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in TEXTS.values():
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {"runtime": tmp_path_factory.mktemp("r"), "cache": tmp_path_factory.mktemp("c")}
    with serve([sys.executable, "-m", "app", "serve", "starter"], **settings) as server:
        server.wait_for("Continuo writes at")
        yield server


@pytest.mark.parametrize("line", curls())
def test_every_curl_gets_a_text(server, tmp_path, line):
    (tmp_path / "story.txt").write_text("It was raining when", encoding="utf-8")
    host = server.url.removeprefix("http://")
    words = shlex.split(line.replace("localhost:5000", host), comments=True)
    done = subprocess.run([*words, "--silent", "--fail"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0 and done.stdout, done


@pytest.mark.parametrize("code", snippets("python"))
def test_every_snippet_of_python_runs(server, tmp_path, code):
    python = CLIENTS if "openai" in code else sys.executable
    done = subprocess.run(
        [python, "-c", code.replace("http://127.0.0.1:5000", server.url)],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout, done.stderr.decode()
