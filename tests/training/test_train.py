"""The loop: what it leaves behind, and that an interruption leaves no trace."""

import pytest
from safetensors.numpy import load_file

from app.training.whole import sha256


def weights(run):
    return sha256(run.folder / "last" / "weights.safetensors")


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_five_interruptions_leave_the_same_weights(begin, optimizer):
    told = {"optimizer": optimizer, "dropout": 0.2, "accumulate": 2, "schedule": "wsd"}
    _, straight = begin("straight", **told)
    for _ in range(5):
        begin("cut", max_minutes=0, **told)  # stops after one step, saved
    state, cut = begin("cut", **told)
    assert state.step == 12
    assert weights(straight) == weights(cut)


def test_the_best_weights_are_an_ordinary_checkpoint(begin):
    from app import gpt2

    _, run = begin()
    opened = gpt2.load(run.result)
    assert opened.config.n_layer == 2
    assert opened.tokenizer.decode(opened.tokenizer.encode("the cat")) == "the cat"
    best = load_file(run.folder / "best" / "weights.safetensors")
    assert (opened.weights["wte.weight"] == best["transformer.wte.weight"]).all()
