"""What a run may be resumed with, and what no other command and no fresh start can cost it."""

import json

import pytest
import torch
from safetensors.torch import load_file

from app.training.corpus.corpus import Corpus
from app.training.errors import TrainingError
from app.training.run import checkpoint, metrics
from app.training.run.checkpoint import named
from app.training.run.folder import alone


def test_going_on_with_other_options_is_refused(begin):
    begin(steps=4)
    with pytest.raises(TrainingError, match="started with --dropout 0.0, not 0.5"):
        begin(steps=4, dropout=0.5)


def test_going_on_with_more_rows_a_step_is_refused(begin):
    begin(steps=4)
    with pytest.raises(TrainingError, match="learns from 4 rows a step, and this would take 8;"):
        begin(steps=4, batch=8)


def test_going_on_with_the_same_rows_in_other_batches_learns_the_same(begin):
    """A GPU that was full could only be told to throw the run away."""
    same = {"schedule": "constant", "precision": "float32"}
    _, straight = begin("straight", **same)
    begin(steps=4, **same)
    told = []
    _, run = begin(batch=2, accumulate=2, checkpointing=True, tell=told.append, **same)
    assert "Going on from step 4." in told
    ours, theirs = (
        load_file(named(one.folder, "last") / "weights.safetensors") for one in (run, straight)
    )
    for name, weights in theirs.items():
        torch.testing.assert_close(ours[name], weights, atol=1e-4, rtol=1e-3)


def test_the_rate_may_change_on_resume(begin):
    """Losses that became nan could only be mended by throwing the run away."""
    begin(steps=4, learning_rate=1e-3)
    state, run = begin(steps=12, learning_rate=1e-4, schedule="constant")
    rates = [row.learning_rate for row in metrics.read(run.folder) if row.learning_rate is not None]
    assert state.step == 12 and rates[-1] == 1e-4


def test_a_run_whose_corpus_has_changed_is_not_gone_on_with(begin, corpus, tmp_path):
    """A prepared corpus was known by its folder's name."""
    ready = tmp_path / "ready"
    begin(steps=4, on=Corpus.open(corpus.copy(ready)))
    moved = ready.rename(tmp_path / "moved")
    begin(steps=5, on=Corpus.open(moved))
    report = json.loads((moved / "corpus.json").read_text(encoding="utf-8"))
    (moved / "corpus.json").write_text(json.dumps(report | {"key": "0"}), encoding="utf-8")
    moved.rename(ready)
    with pytest.raises(TrainingError, match="another corpus"):
        begin(steps=6, on=Corpus.open(ready))


def test_two_commands_never_train_one_run(begin, corpus):
    _, run = begin(steps=4)
    with alone(run.folder), pytest.raises(TrainingError, match="by another process"):
        begin(steps=8)
    assert begin(steps=8)[0].step == 8


def test_a_fresh_start_that_is_refused_leaves_the_run(begin):
    """A typo in --block or --batch cost all checkpoints."""
    _, run = begin(steps=4)
    before = named(run.folder, "last")
    with pytest.raises(TrainingError, match="block is 99, more than the model's window"):
        begin(block=99, fresh=True)
    assert named(run.folder, "last") == before and checkpoint.is_intact(before)


def test_a_fresh_start_that_fails_before_it_saves_leaves_the_run(begin):
    _, run = begin(steps=4)
    before = sorted(path.name for path in run.folder.iterdir())
    with pytest.raises(TrainingError, match="The loss became"):
        begin(learning_rate=1e30, evaluate_every=12, fresh=True)
    assert sorted(path.name for path in run.folder.iterdir()) == before
    assert begin(steps=8)[0].step == 8


def test_a_fresh_start_that_was_killed_before_it_saved_leaves_the_run(begin):
    _, run = begin(steps=4)
    run.folder.rename(run.folder.with_name(".run.replaced"))
    (run.folder / "samples").mkdir(parents=True)
    told = []
    begin(steps=8, tell=told.append)
    assert "Going on from step 4." in told


def test_a_fresh_start_that_has_saved_takes_the_runs_place(begin):
    begin(steps=8)
    state, run = begin(steps=4, fresh=True)
    assert state.step == 4
    assert [folder.name for folder in checkpoint.step_folders(run.folder)] == ["step-00000004"]
    assert sorted(path.name for path in run.folder.parent.iterdir()) == [".run.lock", "run"]


def test_a_run_of_few_steps_can_be_made_longer(begin):
    begin(steps=4)
    state, _ = begin(steps=6)
    assert state.step == 6
