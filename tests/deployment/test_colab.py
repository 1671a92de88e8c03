"""The notebook leads from a folder of text to a served page: every cell, with stand-ins for what is
Google's, for pip and for the address of the repository."""

import os
import re
import shutil
import socket
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
import requests

from tests.training.conftest import story

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "deployment" / "colab.ipynb"
PROXIED = "8000-m-s-1a2b3c4d5e6f.us-west1-0.prod.colab.dev"  # a name that Colab's proxy makes up


def code_cells():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            yield cell.source, cell.metadata.get("tags", [])


def python_of(source):
    """A cell as plain Python: !command and %cd folder become calls, with {names} filled in."""
    source = re.sub(r"^( *)!(.*)$", r'\1shell(f"""\2""")', source, flags=re.MULTILINE)
    return re.sub(r"^%cd (.*)$", r'chdir(f"""\1""")', source, flags=re.MULTILINE)


@pytest.fixture
def colab(tmp_path, tiny, monkeypatch):
    """What Colab is to the notebook: names for its cells, and what they asked of Google and pip."""
    content, asked = tmp_path / "content", []
    (content / "drive" / "MyDrive" / "texts").mkdir(parents=True)
    for n in range(12):
        path = content / "drive" / "MyDrive" / "texts" / f"{n}.txt"
        path.write_text(story(n), encoding="utf-8")

    def shell(command):
        if command.startswith("pip install"):
            asked.append(command)
            assert Path(command.split(" -r ")[1]).is_file()
            return
        command = re.sub(r"^python ", f"{sys.executable} ", command)
        subprocess.run(command, shell=True, check=True)

    def chdir(folder):
        monkeypatch.chdir(folder)
        shutil.copytree(tiny, "models/small")  # a model to begin from, there already

    google = types.ModuleType("google.colab")
    google.drive = types.SimpleNamespace(mount=asked.append)
    google.output = types.SimpleNamespace(eval_js=lambda script: asked.append(script) or PROXIED)
    display = types.ModuleType("IPython.display")
    display.HTML = asked.append
    for name in ("google", "IPython"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for module in (google, display):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    names = {"shell": shell, "chdir": chdir, "input": lambda question: f"file://{ROOT}"}
    yield content, names, asked
    if "server" in names and names["server"].poll() is None:
        names["server"].kill()
        names["server"].wait()


def test_the_notebook_runs_from_texts_to_a_served_model(colab, capfd):
    content, names, asked = colab
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    smaller = {"base": "small", "options": "--steps 2 --batch 1 --block 32 --sample-tokens 4"}
    for source, tags in code_cells():
        exec(python_of(source.replace("/content", str(content))), names)
        if "parameters" in tags:
            names |= smaller | {"port": port}
        if "google.colab.kernel.proxyPort" in source:
            page = requests.get(f"http://127.0.0.1:{port}/", headers={"Host": PROXIED}, timeout=30)
            assert page.status_code == 200 and "<textarea" in page.text
    said = capfd.readouterr().out
    assert "holds the best weights" in said and "its test part" in said
    assert '"text"' in said and PROXIED in said
    assert os.path.getsize(content / "drive" / "MyDrive" / "mine.tar.gz") > 0
    mounted, installed, report, script = asked
    assert mounted == str(content / "drive")
    assert installed == "pip install --quiet -r requirements-training.txt"
    assert "<html" in report and script == f"google.colab.kernel.proxyPort({port})"


def test_it_is_a_notebook_without_results():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
