"""From files to token files: all documents, once, with real separators."""

import io
import zipfile

import numpy as np
import pytest

from app.gpt2 import Tokenizer
from app.training.corpus.corpus import Corpus, Rules
from app.training.corpus.prepare import Files, prepare
from app.training.corpus.sources import Source, find
from app.training.errors import TrainingError
from tests.training.conftest import story

PARTS = ("train", "validation", "test")


@pytest.fixture
def make(tmp_path):
    """Files by name -> a corpus of them in GPT-2's vocabulary, and what was told."""

    def make(files, rules=None, tokenizer=None, **parts):
        def written(where, files):
            folder = tmp_path / where
            folder.mkdir(exist_ok=True)
            for name, content in files.items():
                raw = content if isinstance(content, bytes) else content.encode()
                (folder / name).write_bytes(raw)
            return find([str(folder)], (), tmp_path / "spool")

        told = []
        found = written("texts", files)
        parts = {part: written(part, files) for part, files in parts.items()}
        tokenizer = tokenizer or Tokenizer.gpt2()
        made = prepare(
            Files(found, **parts), tokenizer, rules or Rules(), tmp_path / "cache", told.append
        )
        return made, told

    return make


def documents(corpus, part):
    tokens = getattr(corpus, part)
    bounds = np.append(tokens.starts, len(tokens)).astype(int)
    pieces = (tokens.ids[a:b].tolist() for a, b in zip(bounds, bounds[1:], strict=False))
    return [corpus.tokenizer.decode([i for i in ids if i != corpus.end]) for ids in pieces]


def test_every_document_is_in_one_part(make):
    files = {f"{n}.txt": story(n) for n in range(40)}
    corpus, _ = make(files)
    found = [text for part in PARTS for text in documents(corpus, part)]
    assert sorted(found) == sorted(files.values())
    assert all(len(getattr(corpus, part)) for part in PARTS)


def test_separators_are_tokens_and_look_alikes_are_text(make):
    corpus, _ = make({"a.txt": "one\n<|endoftext|>\ntwo <|endoftext|> x"}, Rules((100, 0, 0)))
    assert documents(corpus, "train") == ["one", "two <|endoftext|> x"]
    assert corpus.train.ids.tolist().count(50256) == 3  # before each, and at the end
    assert corpus.train.bytes == len("one" + "two <|endoftext|> x")


def test_one_small_file_trains_validates_and_tests(make):
    corpus, _ = make({"a.txt": story(1)[:1000]})
    text = "".join("".join(documents(corpus, part)) for part in PARTS)
    assert text == story(1)[:1000]
    assert all(len(getattr(corpus, part)) > 2 for part in PARTS)


def test_a_bad_file_is_reported_and_skipped(make):
    bad = b'{"text": "good"}\n{bad'
    corpus, told = make({"a.txt": "kept", "b.jsonl": bad, "c.txt": "too"}, Rules((100, 0, 0)))
    assert documents(corpus, "train") == ["kept", "too"]
    assert any("b.jsonl" in line and "line 2" in line for line in told)
    assert [bool(file.skipped) for file in corpus.report.files] == [False, True, False]


def test_nothing_but_bad_files_is_an_error(make):
    with pytest.raises(TrainingError, match="holds text; name others"):
        make({"a.txt": b"\0\1\2\3" * 99})


def test_the_same_content_is_found_again_and_other_content_is_not(make):
    first, _ = make({"a.txt": story(1)})
    stamp = first.train.path.stat().st_mtime_ns
    again, _ = make({"a.txt": story(1)})
    assert again.folder == first.folder and again.train.path.stat().st_mtime_ns == stamp
    other, _ = make({"a.txt": story(2)})
    assert other.folder != first.folder
    stripped, _ = make({"a.txt": story(1)}, Rules(prose=True))
    assert stripped.folder != first.folder


def test_line_by_line_with_marks_of_its_own(make):
    lines = "\n".join(f"{n} {story(n)[:40]}" for n in range(30))
    corpus, _ = make({"a.txt": lines}, Rules(line_by_line=True))
    assert corpus.tokenizer.encode("<BOS> x<EOS>")[::2] == [50257, 50258]
    text = [corpus.tokenizer.decode(corpus.train.ids.tolist())]
    assert text[0].count("<BOS>") == text[0].count("<EOS>") == len(corpus.train.starts)
    assert sum(len(getattr(corpus, part).starts) for part in PARTS) == 30


def test_a_token_file_that_is_cut_short_is_noticed(make):
    corpus, _ = make({"a.txt": story(1)})
    path = corpus.train.path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrainingError, match="cut short"):
        Corpus.open(corpus.folder)


def test_a_document_in_many_pieces_is_the_same_document(make, monkeypatch):
    long = "\n\n\n" + "\n\n".join(story(n) for n in range(30)) + "\n  \n"
    whole, _ = make({"a.txt": long}, Rules((100, 0, 0)))
    expected = whole.train.ids.tolist()
    monkeypatch.setattr("app.training.corpus.documents.PIECE", 300)
    monkeypatch.setattr("app.training.corpus.formats.CHUNK", 170)
    monkeypatch.setattr("app.training.corpus.encoder.GROUP", 500)
    monkeypatch.setattr("app.training.corpus.prepare.GROUP", 500)
    pieces, _ = make({"a.txt": long}, Rules((100, 0, 0), encoding="utf-8"))
    assert pieces.folder != whole.folder and pieces.train.ids.tolist() == expected
    assert documents(pieces, "train") == [long.strip()]


def test_files_that_cannot_be_opened_are_skipped_too(make, tmp_path):
    broken = io.BytesIO()
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("a.txt", "x")
    content = broken.getvalue().replace(b"PK\1\2", b"PK\1\1")
    corpus, told = make({"a.zip": content, "b.txt": "kept"}, Rules((100, 0, 0)))
    assert documents(corpus, "train") == ["kept"] and "a.zip is a .zip that" in told[0]
    gone = Source("gone.txt", tmp_path / "gone.txt")
    there = Source("b.txt", tmp_path / "texts" / "b.txt")
    found = prepare(
        Files([gone, there]), Tokenizer.gpt2(), Rules((100, 0, 0)), tmp_path, told.append
    )
    assert documents(found, "train") == ["kept"] and told[-1].startswith("Skipped: gone.txt")


def test_the_same_bytes_by_another_name_are_another_text(make, tmp_path):
    """A table was found again as the plain text it had been read as before."""
    plain, _ = make({"a.txt": "text,n\nhello,1\n"}, Rules((100, 0, 0)))
    (tmp_path / "texts" / "a.txt").unlink()
    table, _ = make({"a.csv": "text,n\nhello,1\n"}, Rules((100, 0, 0)))
    assert documents(plain, "train") != documents(table, "train") == ["hello"]


def test_each_choice_of_files_in_a_zip_is_a_text_of_its_own(make, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.txt", "1")
        archive.writestr("two.txt", "2")
    for left_out, text in (("one*", "2"), ("two*", "1")):
        found = find([str(tmp_path / "a.zip")], [left_out], tmp_path)
        made = prepare(Files(found), Tokenizer.gpt2(), Rules((100, 0, 0)), tmp_path, print)
        assert documents(made, "train") == [text]


def test_files_of_their_own_are_never_trained_on(make):
    """wikitext's own test set was mixed with the rest and split anew."""
    texts, valid, test = ({f"{n}.txt": story(n) for n in range(a, a + 12)} for a in (0, 20, 40))
    corpus, _ = make(texts, Rules((70, 0, 0)), validation=valid, test=test)
    for part, files in (("train", texts), ("validation", valid), ("test", test)):
        assert sorted(documents(corpus, part)) == sorted(files.values())


def test_texts_of_the_test_that_are_trained_on_too_are_told(make):
    _, told = make({"a.txt": story(1), "b.txt": story(2)}, Rules((1, 0, 0)), test={"c": story(2)})
    assert any("are in the training text too: 1 in all." in line for line in told)


def test_the_parts_do_not_depend_on_the_vocabulary(make):
    """The split hashed token ids, so two models' test parts were two texts."""
    files = {f"{n}.txt": story(n) for n in range(60)}
    ours, _ = make(files)
    theirs, _ = make(files, Rules(new_vocabulary=300))
    for part in PARTS:
        assert sorted(documents(ours, part)) == sorted(documents(theirs, part))
        assert getattr(ours, part).bytes == getattr(theirs, part).bytes


def test_bytes_are_those_of_the_text_whatever_the_vocabulary_makes_of_them(make):
    """A curly quote of 3 bytes counted as 1 where the vocabulary has the straight one."""
    text = "\u201cWho goes there?\u201d \u2026 " * 40
    corpus, _ = make({"a.txt": text}, Rules((100, 0, 0), new_vocabulary=280))
    assert corpus.train.bytes == len(text.strip().encode())


def test_what_was_noticed_is_told(make):
    lines = "\n".join(f"<BOS> {n} {story(n)[:40]} <EOS>" for n in range(30))
    latin = "No\xebl \xe0 la plage, d\xe9j\xe0\n".encode("cp1252") * 9
    corpus, told = make({"a.txt": lines, "b.txt": latin}, Rules(line_by_line=True))
    told = " ".join(told)
    assert "The ends of lines already had <BOS>, <EOS>, 60 in all" in told
    assert "Read as cp1252: b.txt. If that is wrong" in told
    assert "<BOS" not in "".join(documents(corpus, "train")).replace("<BOS>", "", 99)


def test_a_column_where_there_is_no_table_is_refused(make):
    with pytest.raises(TrainingError, match="--column is for .csv"):
        make({"a.txt": story(1)}, Rules(column="text"))


def test_a_table_without_the_column_is_reported_as_that(make):
    """The error went on to say that no table was read and --column should be left out."""
    with pytest.raises(TrainingError, match="None of the files holds text"):
        make({"a.csv": "name,age\nJo,9\n"}, Rules(column="text"))


def test_an_empty_file_is_reported(make):
    """An empty file to validate with left the run without a validation, silently."""
    _, told = make({"a.txt": story(1)}, validation={"b.txt": " \n"})
    assert [line for line in told if line.startswith("Skipped")][0].endswith("b.txt holds no text.")


def test_a_split_that_leaves_nothing_to_train_on_is_refused(make):
    with pytest.raises(TrainingError, match="Nothing is left to train on"):
        make({"a.txt": "a b"}, Rules((1, 1, 98)))
