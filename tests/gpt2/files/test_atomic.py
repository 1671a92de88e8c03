"""What is at a path is always whole: the old or the new, and nothing beside it."""

import os
import subprocess
import sys

import pytest

from app.gpt2 import whole_file, whole_folder


@pytest.mark.parametrize("kind", [whole_file, whole_folder])
def test_what_fails_half_way_leaves_nothing(tmp_path, kind):
    with pytest.raises(RuntimeError), kind(tmp_path / "new") as new:
        (new / "half" if new.is_dir() else new).write_text("x", encoding="utf-8")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def write(path, content: str) -> None:
    with whole_folder(path) as new:
        (new / "file").write_text(content, encoding="utf-8")


def test_a_folder_is_replaced_at_once_and_leaves_nothing(tmp_path):
    write(tmp_path / "it", "old")
    write(tmp_path / "it", "new")
    assert os.listdir(tmp_path) == ["it"]
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "new"


def test_a_folder_takes_the_place_of_a_file_and_a_file_that_of_a_folder(tmp_path):
    (tmp_path / "it").write_text("a file", encoding="utf-8")
    write(tmp_path / "it", "in a folder")
    assert os.listdir(tmp_path / "it") == ["file"]
    with whole_file(tmp_path / "it") as new:
        new.write_text("a file again", encoding="utf-8")
    assert (tmp_path / "it").read_text(encoding="utf-8") == "a file again"
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("where", ["elsewhere", "nowhere"])
def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path, where):
    write(tmp_path / "elsewhere", "theirs")
    (tmp_path / "it").symlink_to(where)
    write(tmp_path / "it", "ours")
    assert (tmp_path / "elsewhere" / "file").read_text(encoding="utf-8") == "theirs"
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "ours"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "it"]


def test_what_a_crash_left_is_cleared_away_but_not_what_is_being_written(tmp_path):
    crash = "import os, sys; from pathlib import Path; from app.gpt2 import whole_folder\n"
    crash += "with whole_folder(Path(sys.argv[1])): os._exit(0)"
    subprocess.run([sys.executable, "-c", crash, tmp_path / "it"], check=True)
    assert len(os.listdir(tmp_path)) == 1
    (tmp_path / f".it.{os.getppid()}.partial").mkdir()  # of a living process
    write(tmp_path / "it", "whole")
    assert sorted(os.listdir(tmp_path)) == [f".it.{os.getppid()}.partial", "it"]
