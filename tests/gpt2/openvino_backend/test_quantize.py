import dataclasses
import os

import numpy as np
import pytest

from app.gpt2.openvino_backend.model import matrices, sums_fit
from app.gpt2.openvino_backend.quantize import ENOUGH, open_int8, quantize
from app.gpt2.paged import Feed
from tests.gpt2.memory import resident_bytes
from tests.tiny import TINY, random_weights

SMALL = dataclasses.replace(TINY, vocab_size=500, bos_token_id=0)
PLAIN = random_weights(SMALL)


WIDE = dataclasses.replace(SMALL, n_embd=512, n_inner=2048)


def with_outlier(factor, plain=PLAIN):
    """The same function, but the weights of one channel of an MLP's input are scaled up.

    Its layer norm is scaled down for that, so that exact arithmetic gives the same logits; in int8
    the large weights leave the others in their rows no digits. With a factor below 1 it is the
    other way about: the large input leaves its neighbours none.
    """
    weights = {name: array.copy() for name, array in plain.items()}
    weights["h.1.ln_2.weight"][7] /= factor
    weights["h.1.ln_2.bias"][7] /= factor
    weights["h.1.mlp.c_fc.weight"][7] *= factor
    return weights


def test_whole_numbers_times_scales_are_the_weights():
    for name, weight in quantize(SMALL, PLAIN).items():
        if name in matrices(SMALL):
            rows = PLAIN[name] if name == "wte.weight" else PLAIN[name].T
            error = np.abs(weight.whole * weight.scales.astype(np.float32) - rows)
            assert (error <= 0.51 * weight.scales.astype(np.float32) + 1e-6).all()
        else:
            assert (weight == PLAIN[name]).all()


def test_an_ordinary_model_is_all_int8_and_its_loss_is_known():
    model = open_int8(SMALL, PLAIN)
    assert (model.precision, list(model.notes)) == ("int8", [])
    assert 0 < model.perplexity_loss <= ENOUGH


def test_a_matrix_with_an_outlier_is_raised_and_named():
    model = open_int8(SMALL, with_outlier(100))
    assert model.precision == "int8"
    assert model.perplexity_loss <= ENOUGH
    [note] = model.notes
    assert "with more care for 1 of 9 matrices" in note
    assert note.endswith(": h.1.mlp.c_fc.weight (bfloat16).")


def test_a_matrix_whose_input_has_an_outlier_takes_it_by_groups(tmp_path):
    weights = with_outlier(1 / 100, random_weights(WIDE, spread=0.05))
    model = open_int8(WIDE, weights, tmp_path)
    assert model.perplexity_loss <= ENOUGH
    how = "groups" if sums_fit() else "bfloat16"  # on processors without kernels for groups
    assert model.notes[0].endswith(f": h.1.mlp.c_fc.weight ({how}).")
    kept = open_int8(WIDE, weights, tmp_path)  # from disk this time
    feeds = [Feed(range(40), 0, [0, 1], 1)]
    for one in (model, kept):
        one.allocate(2)
    assert (model.forward(feeds).logits == kept.forward(feeds).logits).all()


def test_what_int8_cannot_hold_is_served_in_bfloat16_and_says_why(monkeypatch):
    monkeypatch.setattr("app.gpt2.openvino_backend.quantize.ROUNDS", 0)
    model = open_int8(SMALL, with_outlier(1000))
    assert model.precision == "bfloat16"
    assert "bfloat16 is served" in model.notes[-1]
    assert model.perplexity_loss < ENOUGH


def test_a_second_opening_takes_what_the_first_left(tmp_path, monkeypatch):
    first = open_int8(SMALL, with_outlier(100), tmp_path)
    monkeypatch.setattr(
        "app.gpt2.openvino_backend.quantize._make", lambda *args: pytest.fail("made again")
    )
    second = open_int8(SMALL, with_outlier(100), tmp_path)
    assert (second.perplexity_loss, second.notes) == (first.perplexity_loss, first.notes)
    assert len(os.listdir(tmp_path)) == 1


def test_memory_does_not_hold_the_file_beside_the_plugins_own_arrangement(tmp_path):
    weights = random_weights(WIDE, spread=0.05)
    open_int8(WIDE, weights, tmp_path)
    model = open_int8(WIDE, weights, tmp_path)
    [file] = tmp_path.iterdir()
    assert resident_bytes(file) < 0.1 * file.stat().st_size
    model.allocate(2)
    assert np.isfinite(model.forward([Feed(range(40), 0, [0, 1], 16)]).logits).all()
    assert resident_bytes(file) < 0.2 * file.stat().st_size  # some of the embeddings come back


def test_other_weights_are_not_taken_for_these(tmp_path):
    open_int8(SMALL, PLAIN, tmp_path)
    open_int8(SMALL, with_outlier(2), tmp_path)
    assert len(os.listdir(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_costs_one_line_of_log(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert open_int8(SMALL, PLAIN, tmp_path / "file").precision == "int8"
    assert "cannot be kept" in caplog.text
