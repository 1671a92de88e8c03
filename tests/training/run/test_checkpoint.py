"""What is on disk can always be opened, whatever happened while it was written."""

import errno
import fcntl
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest

from app.training.errors import TrainingError
from app.training.run import checkpoint
from tests.training import saver


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
    assert checkpoint.named(run.folder, "last").name.endswith("12")
    assert checkpoint.named(run.folder, "best").name.endswith("04")


def test_the_best_is_kept_between_saves(begin):
    """`best` named the last best that was saved by chance, or nothing any more."""
    state, run = begin(steps=12, evaluate_every=5, save_every=12, learning_rate=0.0, keep=1)
    assert state.best_step == 5
    assert checkpoint.is_intact(checkpoint.named(run.folder, "best"))
    assert checkpoint.named(run.folder, "best").name == "step-00000005"


def test_where_links_are_refused_checkpoints_are_saved_all_the_same(begin, monkeypatch):
    """Google Drive's mount has no links: the first save on it failed."""

    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    for name in ("symlink", "link"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    state, run = begin(steps=4)
    assert checkpoint.named(run.folder, "last").name == "step-00000004"


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


@pytest.fixture(scope="module")
def processes():
    """New processes that have torch already."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.training.saver"])
    return processes


def kill_at(processes, run: Path, event: int) -> str:
    """Kill a saving process dead before its nth touch of the disk; what that would have been."""
    ours, its = processes.Pipe()
    process = processes.Process(target=saver.main, args=(run, its))
    process.start()
    for _ in range(event):
        ours.recv()
        ours.send("go on")
    name = ours.recv()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return name


def survive(processes, run, events):
    """Kill at each of `events`; after each, the newest checkpoint opens and holds its own step."""
    landed = []
    for event in events:
        landed.append(kill_at(processes, run, event))
        folder, broken = checkpoint.newest(run)
        assert not broken
        if folder is not None:
            weights, _, state = checkpoint.load(folder)
            assert float(weights["w"][0]) == state["step"] == int(folder.name[-8:])
    return landed


def test_fifty_kills_inside_a_save_leave_a_run_that_opens(processes, tmp_path, capsys):
    landed = survive(processes, tmp_path / "run", range(1, 51))
    inside = [name for name in landed if not name.startswith("os.mkdir")]  # that is the beginning
    with capsys.disabled():
        print(f"\n50 kills, {len(inside)} between the first write and the last rename")
    assert len(inside) >= 40
