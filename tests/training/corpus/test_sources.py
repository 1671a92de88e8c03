"""What the user names is found: in order, once, wherever it lies."""

import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.training.corpus.sources import find
from app.training.errors import TrainingError


@pytest.fixture
def pile(tmp_path):
    for name in ("b.txt", "a.txt", "deep/c.md", ".hidden/d.txt", ".secret"):
        path = tmp_path / "pile" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return tmp_path / "pile"


def names(sources, below):
    return [source.name.removeprefix(f"{below}/") for source in sources]


def test_a_folder_is_read_in_order_without_what_is_hidden(pile, tmp_path):
    found = find([str(pile)], (), tmp_path)
    assert names(found, pile) == ["a.txt", "b.txt", "deep/c.md"]


def test_globs_and_doubles_and_exclusions(pile, tmp_path):
    found = find([str(pile / "*.txt"), str(pile / "a.txt"), str(pile)], ["b*"], tmp_path)
    assert names(found, pile) == ["a.txt", "deep/c.md"]


def test_the_files_in_a_zip_are_files(pile, tmp_path):
    with zipfile.ZipFile(tmp_path / "pile.zip", "w") as archive:
        archive.writestr("z.txt", "last")
        archive.writestr("inner/y.csv", "text\nfirst\n")
    found = find([str(tmp_path / "pile.zip")], (), tmp_path)
    assert names(found, tmp_path / "pile.zip") == ["inner/y.csv", "z.txt"]
    with found[1].open() as file:
        assert file.read() == b"last"


def test_stdin_is_a_file_too(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    (source,) = find(["-"], (), tmp_path)
    assert source.path.read_bytes() == b"piped"


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path == "/lost.txt" else 200)
        if self.path == "/short.txt":
            self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"from afar")

    def log_message(self, *args):
        pass


@pytest.fixture
def address():
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_fetched(address, tmp_path):
    (source,) = find([f"{address}/book.txt?raw=1"], (), tmp_path / "spool")
    assert source.path.read_bytes() == b"from afar"
    assert source.name.endswith("book.txt")


def test_what_cannot_be_found_is_said(address, pile, tmp_path):
    for name in (str(pile / "none.txt"), f"{address}/lost.txt", "http://[bad", ""):
        with pytest.raises(TrainingError, match=re.escape(name or "folder ''")):
            find([name], (), tmp_path)
    with pytest.raises(TrainingError, match="nothing to read"):
        find([str(pile)], ["*"], tmp_path)


def test_a_download_that_breaks_off_is_no_text(address, tmp_path):
    with pytest.raises(TrainingError, match="The download of .* was interrupted"):
        find([f"{address}/short.txt"], (), tmp_path)
