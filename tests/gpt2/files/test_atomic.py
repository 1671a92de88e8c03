"""What is at a path is always whole: the old or the new, and nothing beside it."""

import contextlib
import errno
import os
import subprocess
import sys
import time

import pytest

from app.gpt2 import WouldReplace, whole_file, whole_folder
from app.gpt2.files import atomic


@pytest.mark.parametrize("kind", [whole_file, whole_folder])
def test_what_fails_half_way_leaves_nothing(tmp_path, kind):
    with pytest.raises(RuntimeError), kind(tmp_path / "new") as new:
        (new / "half" if new.is_dir() else new).write_text("x", encoding="utf-8")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def write(path, content: str) -> None:
    with whole_folder(path, ours="file") as new:
        (new / "file").write_text(content, encoding="utf-8")


def test_a_folder_is_replaced_at_once_and_leaves_nothing(tmp_path):
    write(tmp_path / "it", "old")
    write(tmp_path / "it", "new")
    assert os.listdir(tmp_path) == ["it"]
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "new"


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "it").mkdir()
    write(tmp_path / "it", "new")
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("ours", [None, "corpus.json"])
def test_a_folder_that_is_not_ours_stays(tmp_path, ours):
    """`prepare texts -o texts` replaced the texts by token files."""
    write(tmp_path / "it", "theirs")
    with pytest.raises(WouldReplace, match="is there already"), whole_folder(tmp_path / "it", ours):
        pass
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "theirs"
    assert os.listdir(tmp_path) == ["it"]


def test_what_appears_while_a_folder_is_written_stays(tmp_path):
    with pytest.raises(WouldReplace), whole_folder(tmp_path / "it", "file"):
        (tmp_path / "it").mkdir()
        (tmp_path / "it" / "theirs").touch()
    assert os.listdir(tmp_path / "it") == ["theirs"]


def test_a_file_never_takes_the_place_of_a_folder_or_a_folder_that_of_a_file(tmp_path):
    """`export NAME -o ~/Desktop` replaced the Desktop by an archive."""
    write(tmp_path / "it", "theirs")
    with pytest.raises(WouldReplace, match="is a folder"), whole_file(tmp_path / "it"):
        pass
    with pytest.raises(WouldReplace, match="is there already"):
        write(tmp_path / "it" / "file", "in a folder")
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "theirs"


@pytest.mark.parametrize("where", ["elsewhere", "nowhere"])
def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path, where):
    write(tmp_path / "elsewhere", "theirs")
    (tmp_path / "it").symlink_to(where)
    write(tmp_path / "it", "ours")
    assert (tmp_path / "elsewhere" / "file").read_text(encoding="utf-8") == "theirs"
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "ours"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "it"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_mount_that_cannot_sync_folders_is_written_to_and_a_faulty_disk_is_not(
    tmp_path, monkeypatch, number
):
    def refuse(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with contextlib.nullcontext() if number == errno.EINVAL else pytest.raises(OSError):
        write(tmp_path / "it", "new")
    assert (tmp_path / "it").exists() == (number == errno.EINVAL)


def test_what_a_crash_left_is_cleared_away_but_not_what_is_being_written(tmp_path):
    crash = "import os, sys; from pathlib import Path; from app.gpt2 import whole_folder\n"
    crash += "with whole_folder(Path(sys.argv[1])): os._exit(0)"
    subprocess.run([sys.executable, "-c", crash, tmp_path / "it"], check=True)
    assert len(os.listdir(tmp_path)) == 1
    [left] = os.listdir(tmp_path)
    living = f"{left.removesuffix('.partial').rpartition('.')[0]}.{os.getppid()}.partial"
    (tmp_path / living).mkdir()
    write(tmp_path / "it", "whole")
    assert sorted(os.listdir(tmp_path)) == [living, "it"]


def test_writers_in_two_containers_leave_each_other_alone(tmp_path, monkeypatch):
    """Where both were process 12, one removed or filled the other's half-written file."""
    path = tmp_path / "it"
    with whole_file(path) as first:
        first.write_text("first", encoding="utf-8")
        with monkeypatch.context() as there:
            there.setattr(atomic, "_here", lambda: "there", raising=False)
            with whole_file(path) as second:
                second.write_text("second", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "second"
    assert path.read_text(encoding="utf-8") == "first"
    assert os.listdir(tmp_path) == ["it"]


def test_what_was_left_in_another_container_is_cleared_away_after_a_day(tmp_path):
    yesterday = time.time() - 90_000
    for name in ("old", "new"):
        (tmp_path / f".it.{name}.12.partial").touch()
    os.utime(tmp_path / ".it.old.12.partial", (yesterday, yesterday))
    write(tmp_path / "it", "whole")
    assert sorted(os.listdir(tmp_path)) == [".it.new.12.partial", "it"]
