"""The notebook leads from a folder of text to a served page, here as on Colab."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import story

NOTEBOOK = Path(__file__).parents[2] / "deployment" / "colab.ipynb"


def cells():
    """The code cells to run off Colab, as (source, tags)."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "colab-only" not in tags:
            yield "".join(cell["source"]), tags


def execute(source, names):
    """Python as it is; a line that starts with ! is a command, with {names} filled in."""
    python = []
    for line in [*source.splitlines(), "!"]:
        if not line.startswith("!"):
            python.append(line)
            continue
        exec("\n".join(python), names)
        python = []
        if command := line[1:].format_map(names):
            python_here = command.replace("python", sys.executable, 1)
            subprocess.run(python_here, shell=True, check=True)


@pytest.fixture
def settings(tmp_path, tiny):
    (tmp_path / "texts").mkdir()
    for n in range(12):
        (tmp_path / "texts" / f"{n}.txt").write_text(story(n), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "texts": tmp_path / "texts", "base": tiny, "home": tmp_path, "keep": tmp_path / "drive",
        "options": "--steps 2 --batch 1 --block 32 --sample-tokens 4", "port": port,
    }  # fmt: skip


def test_the_notebook_runs_from_texts_to_a_served_model(settings, monkeypatch, capfd):
    monkeypatch.chdir(NOTEBOOK.parents[1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    names: dict = {}
    try:
        for source, tags in cells():
            execute(source, names)
            if "parameters" in tags:
                names |= settings
        said = capfd.readouterr().out
    finally:
        if "server" in names and names["server"].poll() is None:
            names["server"].kill()
            names["server"].wait()
    assert "holds the best weights" in said and "its test part" in said
    assert "Once upon a time" in said or '"text"' in said
    assert os.path.getsize(settings["keep"] / "mine.tar.gz") > 0


def test_every_cell_is_there_for_a_reader():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert not any(cell.get("outputs") for cell in notebook["cells"])
