import dataclasses
import os

import numpy as np
import pytest

from app.gpt2.native.packing import matrices, quantize_matrix
from app.gpt2.native.quantize import TOO_MUCH, open_int8, quantize
from app.gpt2.paged import Feed
from tests.gpt2.memory import resident_bytes
from tests.tiny import TINY, random_weights

SMALL = dataclasses.replace(TINY, vocab_size=500, bos_token_id=0)
WIDE = dataclasses.replace(SMALL, n_embd=512, n_inner=2048)
PLAIN = random_weights(SMALL)


def with_outliers(factor, plain=PLAIN, n=6):
    """The same function, but n channels of every layer norm are so much larger."""
    weights = {name: array.copy() for name, array in plain.items()}
    for name in plain:
        if name.endswith(("ln_1.weight", "ln_2.weight")):
            norm = name.removesuffix(".weight")
            layer = norm.rpartition(".")[0]
            matrix = f"{layer}.attn.c_attn" if norm.endswith("1") else f"{layer}.mlp.c_fc"
            weights[f"{norm}.weight"][:n] *= factor
            weights[f"{norm}.bias"][:n] *= factor
            weights[f"{matrix}.weight"][:n] /= factor
    return weights


def logits_of(model):
    model.allocate(2)
    return model.forward([Feed(range(40), 0, [0, 1], 40)]).logits.copy()


def test_int8_times_scales_are_the_weights():
    for name, weight in quantize(SMALL, PLAIN).items():
        if name not in matrices(SMALL):
            assert (weight == PLAIN[name]).all()
            continue
        rows = PLAIN[name] if name == "wte.weight" else PLAIN[name].T  # [out, in]
        n_out, n_in = rows.shape
        whole = weight.weights.transpose(0, 2, 1, 3).reshape(len(weight.scales), -1)
        assert (whole.sum(axis=1) == weight.sums).all()
        error = np.abs(whole[:n_out, :n_in] * weight.scales[:n_out, None] - rows)
        assert (error <= 0.51 * weight.scales[:n_out, None]).all()


def test_an_ordinary_model_is_int8_and_its_loss_is_known():
    model = open_int8(SMALL, PLAIN)
    assert (model.precision, list(model.notes)) == ("int8", [])
    assert 0 < model.perplexity_loss <= TOO_MUCH


@pytest.mark.parametrize("factor", [20, 100])
def test_channels_that_are_far_larger_than_the_others_cost_little(factor):
    """Rounded as they are, they would leave their neighbours no digits."""
    weights = with_outliers(factor)
    model = open_int8(SMALL, weights)
    assert model.precision == "int8"
    assert model.perplexity_loss < 2 * open_int8(SMALL, PLAIN).perplexity_loss


def test_an_input_that_was_small_in_the_sample_becomes_no_outlier_in_other_text():
    matrix = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    seen = np.full(64, 2.0, np.float32)
    seen[5] = 1e-6
    inverses = quantize_matrix("h.0.mlp.c_proj.weight", matrix, seen).inverses[:64]
    assert inverses[5] < 2 * np.median(inverses)


def test_what_int8_cannot_hold_is_served_in_bfloat16_and_says_why(monkeypatch):
    monkeypatch.setattr("app.gpt2.native.quantize.TOO_MUCH", 1e-9)
    model = open_int8(SMALL, PLAIN)
    assert model.precision == "bfloat16"
    [note] = model.notes
    assert note.startswith("int8 weights cost ") and note.endswith("bfloat16 is served.")
    assert 0 < model.perplexity_loss < TOO_MUCH


def test_a_second_opening_takes_what_the_first_left(tmp_path, monkeypatch):
    first = open_int8(SMALL, PLAIN, tmp_path)
    monkeypatch.setattr(
        "app.gpt2.native.quantize.make_and_check", lambda *args: pytest.fail("made again")
    )
    second = open_int8(SMALL, PLAIN, tmp_path)
    assert (second.perplexity_loss, second.notes) == (first.perplexity_loss, first.notes)
    assert (logits_of(second) == logits_of(first)).all()
    assert len(list(tmp_path.glob("int8-*"))) == 1


@pytest.mark.parametrize("harm", ["cut", "changed", "header"])
def test_a_damaged_file_is_made_again(tmp_path, harm, caplog):
    expected = logits_of(open_int8(SMALL, PLAIN, tmp_path))
    [file] = tmp_path.glob("int8-*")
    data = bytearray(file.read_bytes())
    if harm == "changed":
        data[-1000] ^= 1
    file.write_bytes({"cut": data[: len(data) // 2], "header": b"\xff" * 100}.get(harm, data))
    assert (logits_of(open_int8(SMALL, PLAIN, tmp_path)) == expected).all()
    assert "is damaged and made again" in caplog.text
    assert (logits_of(open_int8(SMALL, PLAIN, tmp_path)) == expected).all()


def test_memory_does_not_hold_the_file_beside_the_models_own_copy(tmp_path):
    weights = random_weights(WIDE, spread=0.05)
    open_int8(WIDE, weights, tmp_path)
    model = open_int8(WIDE, weights, tmp_path)
    [file] = tmp_path.glob("int8-*")
    assert np.isfinite(logits_of(model)).all()
    assert resident_bytes(file) < 0.1 * file.stat().st_size


def test_a_folder_that_cannot_be_written_costs_only_a_warning(tmp_path, caplog):
    if os.geteuid() == 0:
        place = tmp_path / "file"
        place.write_text("no folder")
    else:
        place = tmp_path
        place.chmod(0o500)
    model = open_int8(SMALL, PLAIN, place)
    assert model.precision == "int8"
    assert "cannot be kept" in caplog.text
