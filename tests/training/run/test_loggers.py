"""TensorBoard and W&B are asked only when told, and missed in a sentence."""

import sys
import types

import pytest

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


class Writer:
    """What TensorBoard's SummaryWriter and wandb's run are to us."""

    def __init__(self, *args, **kwargs):
        self.seen = []

    def add_scalar(self, name, value, step):
        self.seen.append((name, value, step))

    def log(self, numbers, step):
        self.seen.append((numbers, step))

    def close(self):
        self.seen.append("closed")

    finish = close


def test_numbers_go_to_both(monkeypatch, tmp_path):
    board = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Writer))
    loggers = Loggers(TrainConfig(tensorboard=True, wandb=True), tmp_path)
    loggers.add(3, {"loss": 2.0})
    loggers.close()
    assert loggers.tensorboard.seen == [("loss", 2.0, 3), "closed"]
    assert loggers.wandb.seen == [({"loss": 2.0}, 3), "closed"]


def test_a_run_from_scratch_is_another_run_of_wandb(monkeypatch, tmp_path):
    """Its steps were added to yesterday's run of the same name, which was further already."""
    ids = []
    init = lambda **words: ids.append(words["id"]) or Writer()  # noqa: E731
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
