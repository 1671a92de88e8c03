"""TensorBoard and W&B are asked only when told, and missed in a sentence."""

import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from app.training.config import TrainConfig
from app.training.errors import TrainingError
from app.training.run.loggers import Loggers


@pytest.mark.parametrize("name, module", [("tensorboard", "torch.utils.tensorboard"),
                                          ("wandb", "wandb")])  # fmt: skip
def test_a_missing_package_is_a_sentence(monkeypatch, tmp_path, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TrainingError, match=f"--{name} needs its package: pip install {name}"):
        Loggers(TrainConfig(**{name: True}), tmp_path)
    Loggers(TrainConfig(), tmp_path).add(1, {"loss": 2.0})


def scalars(run, name):
    """What TensorBoard itself reads of a run: steps and values of one curve."""
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    return [(event.step, event.value) for event in board.Scalars(name)]


def test_tensorboard_reads_every_number(tmp_path):
    loggers = Loggers(TrainConfig(tensorboard=True), tmp_path)
    loggers.add(1, {"loss": 2.0, "rate": 0.5})
    loggers.add(2, {"loss": 1.5})
    loggers.close()
    assert scalars(tmp_path, "loss") == [(1, 2.0), (2, 1.5)]
    assert scalars(tmp_path, "rate") == [(1, 0.5)]


def test_tensorboard_forgets_what_a_crash_has_lost(tmp_path):
    """Steps beyond the checkpoint are written a second time; its curve ran back and forth."""
    for step, losses in ((0, [2.0, 1.5, 1.25, 1.0]), (2, [1.375])):
        loggers = Loggers(TrainConfig(tensorboard=True), tmp_path, step)
        for i, loss in enumerate(losses, step + 1):
            loggers.add(i, {"loss": loss})
        loggers.close()
    assert scalars(tmp_path, "loss") == [(1, 2.0), (2, 1.5), (3, 1.375)]


class Run:
    """What wandb's run is to us."""

    def __init__(self, **options):
        self.seen = []

    def log(self, numbers, step):
        self.seen.append((numbers, step))

    def finish(self):
        self.seen.append("finished")


def test_numbers_go_to_wandb(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Run))
    loggers = Loggers(TrainConfig(wandb=True), tmp_path)
    loggers.add(3, {"loss": 2.0})
    loggers.close()
    assert loggers.wandb.seen == [({"loss": 2.0}, 3), "finished"]


def test_a_run_from_scratch_is_another_run_of_wandb(monkeypatch, tmp_path):
    """Its steps were added to yesterday's run of the same name, which was further already."""
    ids = []
    init = lambda **words: ids.append(words["id"]) or Run()  # noqa: E731
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    for run in (tmp_path / "run", tmp_path / "run", tmp_path / "fresh" / "run"):
        Loggers(TrainConfig(wandb=True), run)
    assert ids[0] == ids[1] != ids[2] and ids[2].startswith("run-")


def test_a_refusal_of_wandb_is_a_sentence(monkeypatch, tmp_path):
    def init(**words):
        raise ValueError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Error=ValueError))
    with pytest.raises(TrainingError, match="--wandb: No API key configured.*; or set WANDB_MODE"):
        Loggers(TrainConfig(wandb=True), tmp_path)
