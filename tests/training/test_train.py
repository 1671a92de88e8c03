"""The loop: what it learns, what it leaves behind, and that an interruption leaves no trace."""

import dataclasses
import itertools
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from app import gpt2
from app.gpt2 import Config
from app.training import train
from app.training.config import TrainConfig
from app.training.corpus.tokens import TokenFile, TokenWriter
from app.training.errors import TrainingError
from app.training.learn.model import merged, tuned_model
from app.training.learn.optimizers import Optimizers
from app.training.run import metrics
from app.training.run.checkpoint import named, sha256
from app.training.run.level import cooling, level_of, read_record
from tests.tiny import random_weights
from tests.training.conftest import SMALL


def weights(run):
    return load_file(named(run.folder, "last") / "weights.safetensors")


def losses(run):
    return [row.loss for row in metrics.read(run.folder) if row.loss is not None]


@pytest.mark.parametrize(
    "optimizer, precision",
    [("adamw", "auto"), ("muon", "auto"), ("sgd", "auto"), ("adamw", "float16")],
)
def test_five_interruptions_leave_the_same_weights(begin, optimizer, precision):
    told = {"optimizer": optimizer, "dropout": 0.2, "noise": 0.1, "accumulate": 2}
    told |= {"precision": precision}
    told |= {"schedule": "wsd", "long_every": 3, "reshuffle": True, "average": 0.7}
    _, straight = begin("straight", **told)
    for _ in range(5):
        begin("cut", max_minutes=0, **told)  # stops after one step, saved
    state, cut = begin("cut", **told)
    assert state.step == 12
    ends = (sha256(named(run.folder, "last") / "weights.safetensors") for run in (straight, cut))
    assert len(set(ends)) == 1
    rows = [[row.step for row in metrics.read(run.folder)] for run in (straight, cut)]
    assert set(rows[1]) >= set(rows[0])


def test_a_release_ends_as_if_its_run_had_always_been_going_to_end(begin, corpus):
    """Cut from the level run bit for bit, however often interrupted; that one stays as it was."""
    told = {"dropout": 0.2, "reshuffle": True, "optimizer": "muon"}
    _, straight = begin("straight", schedule="wsd", decay=0.4, steps=10, average=0.3, **told)
    _, level = begin("level", schedule="constant", steps=6, average=0.5, **told)
    before = {file: sha256(file) for file in level.folder.rglob("*") if file.is_file()}
    cut = {"level": level_of(level.folder, None)}
    cut |= dataclasses.asdict(cooling(read_record(level.folder).config, {"decay": 0.4}, 6))
    del cut["base"]
    cut["average"] = 0.3
    for _ in range(3):
        begin("release", max_minutes=0, **{k: v for k, v in cut.items() if k != "max_minutes"})
    state, release = begin("release", **cut)
    assert (state.step, state.best_step) == (10, 10)
    ends = (
        sha256(named(run.folder, "last") / "weights.safetensors") for run in (straight, release)
    )
    assert len(set(ends)) == 1
    assert before == {file: sha256(file) for file in level.folder.rglob("*") if file.is_file()}
    assert metrics.read(release.folder)[0].step < 6  # the curve is whole


@pytest.fixture
def ticking(monkeypatch):
    """Each look at the clock of training takes 0.05 s."""
    clock = itertools.count(step=0.05)
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(clock)))


def test_a_timed_run_ends_with_its_schedule_when_its_minutes_are_over(begin, ticking):
    told = []
    config = {"steps": 1_000_000, "timed": True, "max_minutes": 0.02, "evaluate_every": 1_000_000}
    state, run = begin(schedule="linear", warmup=0.0, average=0.5, tell=told.append, **config)
    assert state.seconds >= 1.2 and state.best_step == state.step < 1_000_000
    rates = [row.learning_rate for row in metrics.read(run.folder) if row.learning_rate is not None]
    assert rates == sorted(rates, reverse=True) and rates[-1] < rates[0]
    assert not any("stopped at" in line for line in told)
    assert (run.folder / "last").exists()
    again, _ = begin(schedule="linear", warmup=0.0, average=0.5, **config)
    assert again.step == state.step  # it is over


@pytest.mark.parametrize("looks", [30, 31])
def test_time_that_is_over_during_a_pause_ends_with_a_step_that_is_judged(begin, ticking, looks):
    """The clock is looked at by turns after a step and after the pause that follows."""
    state, _ = begin(
        steps=1_000_000, timed=True, max_minutes=0.05 * looks / 60, evaluate_every=1_000_000
    )
    assert state.best_step == state.step


def test_timed_needs_its_minutes():
    with pytest.raises(TrainingError, match="--timed needs --max-minutes"):
        TrainConfig(timed=True)


def test_the_better_of_weights_and_average_is_kept(begin):
    """At a rate far too high the last weights are worse than where they have been on average."""
    _, run = begin(steps=40, learning_rate=0.3, schedule="constant", average=0.5, patience=0)
    plain = weights(run)["transformer.wte.weight"]
    kept = gpt2.load(run.result).weights["wte.weight"]
    assert not np.array_equal(kept, plain.numpy())


def test_blocks_that_do_not_compile_stay_as_they_are_and_it_is_said(begin, monkeypatch):

    def no_compiler(block):
        raise RuntimeError("there is no compiler here")

    told = []
    monkeypatch.setattr(torch.nn.Module, "compile", no_compiler)
    _, plain = begin("plain")
    _, asked = begin("asked", compile=True, tell=told.append)
    assert torch.equal(
        weights(plain)["transformer.wte.weight"], weights(asked)["transformer.wte.weight"]
    )
    assert any("not compiled: RuntimeError: there is no compiler here" in line for line in told)


def test_it_learns(begin):
    _, run = begin(steps=60, learning_rate=3e-3, evaluate_every=60)
    assert losses(run)[-1] < losses(run)[0] - 1


def test_tensorboard_shows_the_runs_own_losses(begin):
    """Of a run that was interrupted and resumed; TensorBoard keeps float32."""
    begin(tensorboard=True, max_minutes=0)  # stops after one step, saved
    _, run = begin(tensorboard=True)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload().Scalars("loss")
    shown = {event.step: event.value for event in events}
    written = {row.step: row.loss for row in metrics.read(run.folder) if row.loss is not None}
    assert len(shown) == len(events) and shown == pytest.approx(written)


def test_float16_learns_what_float32_learns(begin):
    _, half = begin("half", precision="float16")
    _, whole = begin("whole", precision="float32")
    assert losses(half)[-1] == pytest.approx(losses(whole)[-1], rel=0.01)


def test_a_step_that_overflows_float16_is_left_out_and_the_next_is_scaled_less(begin):
    config = {"precision": "float16", "optimizer": "muon"}
    _, run = begin("calm", steps=4, **config)
    model = tuned_model(gpt2.load(run.result), run.config, run.corpus)
    optimizers = Optimizers(model, run.config)
    before = model.transformer.wte.weight.detach().clone()
    total = sum(parameter.sum() for parameter in model.parameters())
    (optimizers.scaler.scale(total) * 1e38 * 1e5).backward()
    scale = optimizers.scaler.get_scale()
    assert optimizers.clip(1.0) == 0.0
    optimizers.step(1e-3)
    assert torch.equal(model.transformer.wte.weight, before)
    assert optimizers.scaler.get_scale() == scale / 2


def test_accumulated_batches_are_one_large_batch(begin):
    _, large = begin("large", batch=8, precision="float32")
    _, small = begin("small", batch=2, accumulate=4, precision="float32")
    torch.testing.assert_close(weights(large), weights(small), rtol=0, atol=5e-5)


def test_recomputing_activations_changes_nothing(begin):
    _, kept = begin("kept", precision="float32")
    _, again = begin("again", precision="float32", checkpointing=True)
    torch.testing.assert_close(weights(kept), weights(again))


def test_the_best_weights_are_an_ordinary_checkpoint(begin):
    state, run = begin()
    opened = gpt2.load(run.result)
    assert opened.config.n_layer == 2
    assert opened.tokenizer.decode(opened.tokenizer.encode("the cat")) == "the cat"
    best = load_file(named(run.folder, "best") / "weights.safetensors")
    assert (opened.weights["wte.weight"] == best["transformer.wte.weight"].numpy()).all()
    said = json.loads((run.result / "training.json").read_text(encoding="utf-8"))
    assert said["about"] and said["bits_per_byte"] > 0 and said["steps"] == state.best_step


def test_it_stops_when_the_validation_gets_no_better(begin):
    told = []
    state, run = begin(learning_rate=0.0, evaluate_every=1, patience=3, tell=told.append)
    assert (state.step, state.best_step) == (4, 1)
    assert any(line.startswith("No better validation 3 times in a row") for line in told)


def test_an_interrupted_step_is_saved_before_it_is_validated(begin, monkeypatch):
    """A validation may take longer than the 10 s that `docker stop` waits."""

    def killed(*given):
        raise KeyboardInterrupt

    def interrupted_step(*given):
        if given[4].step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(*given)

    take_step = train.take_step
    monkeypatch.setattr(train, "take_step", interrupted_step)
    monkeypatch.setattr(train, "better", killed)
    with pytest.raises(KeyboardInterrupt):
        begin(evaluate_every=4)
    monkeypatch.undo()
    told = []
    begin(evaluate_every=4, tell=told.append)
    assert "Going on from step 4." in told


SHAPE = Config(
    vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2, n_inner=128,
    bos_token_id=0, eos_token_ids=(0,),
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory, corpus):
    """A tiny checkpoint in the corpus's vocabulary."""
    folder = tmp_path_factory.mktemp("base") / "base"
    gpt2.save(folder, SHAPE, random_weights(SHAPE), corpus.tokenizer)
    return gpt2.load(folder)


def tuned(base, corpus, **told):
    return tuned_model(base, TrainConfig(**(SMALL | {"base": "base"} | told)), corpus)


def test_freezing_moves_the_blocks_only(begin, base, corpus):
    _, run = begin(base=base, freeze=True)
    before = {name: torch.from_numpy(np.array(w)) for name, w in base.weights.items()}
    after = weights(run)
    for name in before:
        moved = not torch.equal(before[name], after[f"transformer.{name}"])
        assert moved == name.startswith("h."), name


def test_lora_learns_little_and_is_merged_into_what_is_written(begin, base, corpus):
    _, run = begin(base=base, lora=2, learning_rate=1e-2)
    kept = weights(run)
    assert any("lora_B" in name for name in kept)
    written = gpt2.load(run.result).weights
    same = {name: np.array_equal(w, base.weights[name]) for name, w in written.items()}
    assert same["wte.weight"] and not same["h.0.attn.c_attn.weight"]
    assert list(written) == list(base.weights)


def test_merging_lora_computes_the_same(base, corpus):
    model = tuned(base, corpus, lora=2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    ids = torch.arange(10)[None]
    torch.testing.assert_close(merged(model.eval())(ids).logits, model(ids).logits)


def test_new_tokens_begin_as_the_mean_of_the_others(base, corpus):
    checkpoint = base._replace(
        config=dataclasses.replace(SHAPE, vocab_size=297),
        weights=dict(base.weights) | {"wte.weight": base.weights["wte.weight"][:297]},
    )
    model = tuned(checkpoint, corpus)
    embeddings = model.transformer.wte.weight
    assert embeddings.shape[0] == 300
    torch.testing.assert_close(embeddings[298], embeddings[:297].mean(dim=0))


def test_what_learns_no_tokens_is_given_none(base, corpus):
    """LoRA left new <BOS> and <EOS> as alike as they began."""
    checkpoint = base._replace(
        config=dataclasses.replace(SHAPE, vocab_size=297),
        weights=dict(base.weights) | {"wte.weight": base.weights["wte.weight"][:297]},
    )
    for told in ({"freeze": True}, {"lora": 2}):
        with pytest.raises(TrainingError, match="train no tokens, but 3 would be new"):
            tuned(checkpoint, corpus, **told)


def test_a_run_without_validation_keeps_the_newest_weights(begin, corpus, tmp_path):
    TokenWriter(tmp_path / "none.tokens", corpus.tokenizer.n_tokens).close()
    unvalidated = dataclasses.replace(corpus, validation=TokenFile(tmp_path / "none.tokens"))
    state, run = begin(on=unvalidated, steps=3, evaluate_every=1)
    assert state.best_step == 3 and gpt2.load(run.result)
