"""From a request to a run: what is understood, and what is printed to go on with."""

from types import SimpleNamespace

import pytest
import torch

from app import MODELS
from app.training import begin
from app.training.errors import TrainingError
from app.training.request import TextRequest, TrainRequest, model_at
from app.training.run.run import State
from app.training.train import check_together

WORDS = ("my texts", "--name", "x")
REQUEST = TrainRequest(texts=("my texts",), name="x", resume_words=WORDS)


@pytest.mark.parametrize(
    "hosts, command",
    [
        (["a"], "continuo train 'my texts' --name x"),
        (["a", "a"], "torchrun --nproc-per-node 2 -m app train 'my texts' --name x"),
        (["a", "b"], "the same torchrun on every machine"),
    ],
)
def test_the_printed_command_goes_on_with_as_many_processes(monkeypatch, hosts, command):
    """torchrun's runs told to go on with one process, which halved what a step learns from."""
    monkeypatch.setattr(begin, "gather_object", lambda own: hosts)
    processes = SimpleNamespace(num_processes=len(hosts))
    assert begin.resume_command(REQUEST, processes) == command


@pytest.mark.parametrize(
    "files, shares",
    [
        ({}, (70, 20, 10)),
        ({"validation": ("v",)}, (70, 0, 10)),
        ({"test": ("t",), "split": "90-10-0"}, (90, 10, 0)),
        ({"validation": ("v",), "test": ("t",)}, (70, 0, 0)),
    ],
)
def test_a_part_with_files_of_its_own_takes_nothing_of_the_texts(files, shares):
    assert begin.shares_of(TextRequest(texts=("a",), **files)) == shares


def test_the_bundled_starter_is_a_base_wherever_the_run_is_kept(tmp_path):
    """With --into it was not found, though an error proposed it."""
    assert model_at("starter", tmp_path) == MODELS / "starter"
    (tmp_path / "models" / "starter").mkdir(parents=True)
    assert model_at("starter", tmp_path) == tmp_path / "models" / "starter"


def test_machines_at_different_steps_do_not_go_on():
    gathered = SimpleNamespace(device="cpu", gather=lambda step: torch.tensor([300, 400]))
    with pytest.raises(TrainingError, match="different steps \\(300, 400\\); copy the newest"):
        check_together(gathered, State(step=300))
    gathered.gather = lambda step: torch.tensor([300, 300])
    check_together(gathered, State(step=300))
