"""What is on disk can always be opened, whatever happened while it was written."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.training import checkpoint
from app.training.config import TrainingError
from app.training.whole import is_intact, whole_folder


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "new") as folder:
        (folder / "half").write_text("x", encoding="utf-8")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_at_once_and_leaves_nothing(tmp_path):
    for content in ("old", "new"):
        with whole_folder(tmp_path / "it", manifest=True) as folder:
            (folder / "file").write_text(content, encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it" / "file").read_text(encoding="utf-8") == "new"
    assert is_intact(tmp_path / "it")


@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_a_broken_newest_falls_back_to_the_one_before_and_says_so(begin, harm):
    _, straight = begin("straight", keep=9, schedule="constant")
    _, run = begin(steps=8, keep=9, schedule="constant")
    weights = run.folder / "step-00000008" / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-9] ^= 1
    {
        "cut": lambda: weights.write_bytes(raw[: len(raw) // 2]),
        "flip": lambda: weights.write_bytes(raw),
        "remove": weights.unlink,
    }[harm]()
    told = []
    begin(tell=told.append, keep=9, schedule="constant")
    assert any("step-00000008 is broken: going back to step-00000004" in line for line in told)
    ends = [r.folder / "step-00000012" / "weights.safetensors" for r in (straight, run)]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_the_newest_and_the_best_are_kept(begin):
    state, run = begin(keep=2, learning_rate=0.0, save_every=2)  # the first validation is the best
    assert state.best_step == 4
    kept = [int(folder.name[-8:]) for folder in checkpoint.step_folders(run.folder)]
    assert kept == [4, 10, 12]
    assert (run.folder / "last").resolve().name.endswith("12")
    assert (run.folder / "best").resolve().name.endswith("04")


def test_a_full_disk_is_a_sentence_and_the_last_good_checkpoint_stays(begin):
    begin(steps=4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(TrainingError, match="failed.*step-00000004 is intact. Make room"):
            begin(steps=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    state, _ = begin(steps=8)
    assert state.step == 8


def kill_at(run: Path, event: int) -> str:
    """Kill a saving process dead before its nth touch of the disk; what that would have been."""
    saver = subprocess.Popen(
        [sys.executable, "-m", "tests.training.saver", str(run)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    for _ in range(event):
        saver.stdout.readline()
        saver.stdin.write(b"\n")
        saver.stdin.flush()
    name = saver.stdout.readline().decode().strip()
    os.kill(saver.pid, signal.SIGKILL)
    saver.communicate()
    assert saver.returncode == -signal.SIGKILL
    return name


def survive(run, events):
    """Kill at each of `events`; after each, the newest checkpoint opens and holds its own step."""
    landed = []
    for event in events:
        landed.append(kill_at(run, event))
        folder, broken = checkpoint.newest(run)
        assert not broken
        if folder is not None:
            weights, _, state = checkpoint.load(folder)
            assert float(weights["w"][0]) == state["step"] == int(folder.name[-8:])
    return landed


def test_a_kill_inside_a_save_leaves_a_run_that_opens(tmp_path):
    assert len(set(survive(tmp_path, (1, 4, 7, 13, 18)))) >= 4


@pytest.mark.soak
def test_fifty_kills_inside_a_save_leave_a_run_that_opens(tmp_path, capsys):
    landed = survive(tmp_path, range(1, 51))
    inside = [name for name in landed if not name.startswith("os.mkdir")]  # that is the beginning
    with capsys.disabled():
        print(f"\n50 kills, {len(inside)} between the first write and the last rename")
    assert len(inside) >= 40
