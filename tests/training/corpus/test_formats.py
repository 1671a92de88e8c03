"""Every kind of file becomes text, or says why it does not."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest

from app.gpt2 import Tokenizer
from app.training.corpus.documents import documents
from app.training.corpus.formats import BadFile, chunks
from app.training.corpus.seen import Seen
from app.training.corpus.sources import Source


def read(path, content, column=None, encoding=None, seen=None):
    """The documents in a file of this name and content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    seen = seen or Seen()
    pieces = documents(chunks(Source(str(path), path), column, encoding, seen), seen)
    return [piece.strip("\n") for piece in pieces if piece and piece.strip("\n")]


def test_line_ends_are_one_kind(tmp_path):
    assert read(tmp_path / "a.txt", "one\r\ntwo\rthree") == ["one\ntwo\nthree"]


def test_compressed_files_are_what_is_in_them(tmp_path):
    rows = json.dumps({"text": "hello"}).encode()
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(rows)) == ["hello"]


@pytest.mark.parametrize("column, expected", [(None, ["a\nb", "c"]), ("title", ["A", "C"])])
def test_a_field_of_each_line(tmp_path, column, expected):
    rows = [{"text": "a\nb", "title": "A"}, {"text": "c", "title": "C"}]
    lines = "\n".join(map(json.dumps, rows))
    assert read(tmp_path / "a.jsonl", lines, column) == expected


@pytest.mark.parametrize(
    "name, content, column, expected",
    [
        ("a.csv", 'title,text\nA,"two\nlines"\nB,b\n', None, ["two\nlines", "b"]),
        ("a.csv", "header\nonly\nrows\n", None, ["only", "rows"]),
        ("a.csv", "title,text\nA,a\n", "title", ["A"]),
        ("a.tsv", "1\tA\n2\tB\n", "1", ["A", "B"]),
    ],
)
def test_a_column_of_a_table(tmp_path, name, content, column, expected):
    assert read(tmp_path / name, content, column) == expected


def test_npz_of_ids_with_its_separators_in_either_spelling(tmp_path):
    gpt2 = Tokenizer.gpt2()
    spelled = np.array(gpt2.encode("one<|endoftext|>two", specials=False), np.int64)
    real = np.array(gpt2.encode("three<|endoftext|>four"), np.int64)
    np.savez_compressed(tmp_path / "made.npz", spelled, real)
    content = (tmp_path / "made.npz").read_bytes()
    assert read(tmp_path / "a.npz", content) == ["one", "two", "three", "four"]


def npz(ids):
    file = io.BytesIO()
    np.savez(file, ids)
    return file.getvalue()


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.txt", b"\x89PNG\0\0\0\r" * 99, "no text"),
        ("a.txt.gz", gzip.compress(b"cut short" * 9999, mtime=0)[:50], "cannot be read"),
        ("a.npz", b"no archive", "cannot be read"),
        ("a.npz", npz(np.array([1.5])), "other numbers than GPT-2's token ids"),
        ("a.npz", npz(np.array([50257])), "other numbers than GPT-2's token ids"),
        ("a.zip", b"no archive", "cannot be opened"),
        ("a.jsonl", '{"text": "a"}\n{broken', "not JSON in line 2"),
        ("a.jsonl", '{"other": "a"}', "no field 'text' in line 1; name the field with --column"),
    ],
)
def test_a_bad_file_says_why(tmp_path, name, content, reason):
    with pytest.raises(BadFile, match=reason):
        read(tmp_path / name, content)


def test_a_column_that_is_not_there_is_said(tmp_path):
    with pytest.raises(BadFile, match="no column 'story'; its first row is title, text. Where"):
        read(tmp_path / "a.csv", "title,text\nA,a\n", "story")


def test_a_zip_with_a_password_is_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "secret")
    content = (tmp_path / "a.zip").read_bytes()
    for head, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # bit 0 of the flags: encrypted
        at = content.index(head) + flags
        content = content[:at] + b"\1" + content[at + 1 :]
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadFile, match="password"):
        list(chunks(Source("a.zip/a.txt", tmp_path / "a.zip", "a.txt"), None, None, Seen()))


@pytest.mark.parametrize("quoted", ['1\t"Well, he said.\n', '1\tsaid "no" twice"\n'])
def test_a_quote_in_a_table_with_tabs_swallows_no_rows(tmp_path, quoted):
    """One summary that began with a quote took in all rows up to the next."""
    rows = "id\ttext\n0\tzero\n" + quoted + '2\t"two ""2"" quoted"\n3\tthree\n'
    found = read(tmp_path / "a.tsv", rows)
    assert len(found) == 4 and found[2:] == ['two "2" quoted', "three"]


def test_a_txt_with_tabs_is_a_table_where_a_column_is_named(tmp_path):
    """CMU's booksummaries.txt was read as prose, its ids and genres too."""
    rows = "620\t/m/0hhy\tAnimal Farm\tOld Major calls a meeting.\n986\t/m/06xv\tB\tAlex.\n"
    assert read(tmp_path / "a.txt", rows, "3") == ["Old Major calls a meeting.", "Alex."]
    assert read(tmp_path / "b.txt", "just prose\nof two lines", "3") == ["just prose\nof two lines"]


def test_letters_after_the_first_megabyte_decide_too(tmp_path):
    """A file that is plain ASCII for long was UTF-8, its later letters lost without a word."""
    late = b"plain letters\n" * 90_000 + "d\xe9j\xe0 vu".encode("cp1252")
    for name, content in (("a.txt", late), ("a.txt.gz", gzip.compress(late))):
        seen = Seen()
        assert read(tmp_path / name, content, seen=seen)[-1].endswith("d\xe9j\xe0 vu")
        assert seen.encoding == "cp1252" and seen.replaced == 0


def test_bytes_that_are_no_text_are_counted(tmp_path):
    seen = Seen()
    read(tmp_path / "a.txt", "\xe9t\xe9 ".encode() * 200 + b"\xff\xfe", seen=seen)
    assert seen.encoding == "utf-8" and seen.replaced == 2


def test_an_encoding_that_is_named_is_taken(tmp_path):
    assert read(tmp_path / "a.txt", "\u8a9e\u5b78".encode("big5"), encoding="big5") == [
        "\u8a9e\u5b78"
    ]
