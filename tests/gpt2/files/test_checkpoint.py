"""Every kind of checkpoint that people bring opens; everything else is one sentence."""

import collections
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from app import gpt2
from app.gpt2 import CheckpointError, Config, Tokenizer, TorchModel
from tests.gpt2.memory import resident_bytes
from tests.tiny import TINY, make_tiny, random_weights

SMALL = Config(vocab_size=50257, n_positions=32, n_embd=64, n_layer=2, n_head=1, n_inner=256)
WEIGHTS = random_weights(SMALL)


def state(prefix: str = "", dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {f"{prefix}{n}": torch.tensor(w).to(dtype) for n, w in WEIGHTS.items()}


def assert_opens(path: Path, atol: float = 0) -> gpt2.Checkpoint:
    opened = gpt2.load(path)
    assert opened.config == SMALL
    assert opened.weights.keys() == WEIGHTS.keys()
    for name, array in opened.weights.items():
        np.testing.assert_allclose(array, WEIGHTS[name], atol=atol, rtol=0)
    return opened


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        gpt2.load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence and str(path) in sentence
    return sentence


# ---- files ----


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth"])
def test_a_pickled_state_dict_opens(tmp_path, ending, zipped):
    path = tmp_path / f"anything{ending}"
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    assert_opens(path)


def with_masks() -> dict[str, torch.Tensor]:
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 32, 32).tril() for i in range(2)}
    return masks | {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}


def old_endings() -> dict[str, torch.Tensor]:
    turned = {}
    for name, tensor in state("transformer.").items():
        for new, old in (("c_attn.weight", "c_attn.w"), ("ln_1.weight", "ln_1.g")):
            name = name.replace(new, old)
        turned[name.replace("ln_1.bias", "ln_1.b")] = tensor
    return turned


STYLES = {
    "unprefixed with masks": state() | with_masks(),
    "transformer. with lm_head": state("transformer.")
    | {"lm_head.weight": torch.tensor(WEIGHTS["wte.weight"])},
    "lm_head.decoder": state("transformer.")
    | {"lm_head.decoder.weight": torch.tensor(WEIGHTS["wte.weight"])},
    "DataParallel": state("module.transformer."),
    "g, b and w": old_endings(),
    "inside state_dict": {"state_dict": state(), "epoch": 3},
    "Lightning": state("model.transformer."),
    "parameters": {n: torch.nn.Parameter(t) for n, t in state().items()},
    "OrderedDict": collections.OrderedDict(state()),
}


@pytest.mark.parametrize("held", STYLES.values(), ids=STYLES)
def test_every_style_of_names_opens(tmp_path, held):
    torch.save(held, tmp_path / "model.bin")
    assert_opens(tmp_path / "model.bin")


@pytest.mark.parametrize("dtype, atol", [("float16", 1e-3), ("bfloat16", 1e-2)])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_half_precision_opens_and_bfloat16_is_widened(tmp_path, name, dtype, atol):
    save = torch.save if name.endswith(".bin") else safetensors.torch.save_file
    save(state(dtype=getattr(torch, dtype)), tmp_path / name)
    opened = assert_opens(tmp_path / name, atol)
    assert opened.facts.dtype == dtype
    assert opened.weights["wte.weight"].dtype == ("float16" if dtype == "float16" else "float32")


def test_safetensors_is_memory_mapped(tmp_path):
    safetensors.torch.save_file(state(), tmp_path / "model.safetensors")
    array = gpt2.load(tmp_path).weights["wte.weight"]
    before = resident_bytes(tmp_path / "model.safetensors")
    array.sum()
    assert resident_bytes(tmp_path / "model.safetensors") > before + array.nbytes / 2


def test_shards_open_and_a_missing_one_is_named(tmp_path):
    names = list(WEIGHTS)
    halves = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    for file, part in halves.items():
        safetensors.torch.save_file({n: state()[n] for n in part}, tmp_path / file)
    index = {"weight_map": {n: file for file, part in halves.items() for n in part}}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    assert_opens(path)
    assert_opens(tmp_path)
    (tmp_path / "model-2-of-2.safetensors").unlink()
    assert "model-2-of-2.safetensors, which is not beside it" in refusal(path)


def test_a_safetensors_file_whose_header_has_an_odd_length_opens(tmp_path):
    """Headers of 15,392 bytes begin with " <" and were taken for web pages."""
    plain = safetensors.torch.save(state())
    n_header = int.from_bytes(plain[:8], "little")
    header = plain[8 : 8 + n_header].ljust(0x3C20)
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + plain[8 + n_header :])
    assert path.read_bytes().startswith(b" <")
    assert_opens(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]},
    ],
)
def test_a_safetensors_header_that_cannot_be_is_a_sentence(tmp_path, entry):
    header = json.dumps({"wte.weight": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    assert "no readable safetensors header" in refusal(path)


@pytest.mark.parametrize(
    "shards, sentence",
    [
        ({}, "not an index of shards"),
        ({"wte.weight": "model.safetensors.index.json"}, "which is an index"),
        ({"wte.weight": "../elsewhere.safetensors"}, "which is not beside it"),
    ],
    ids=["none", "itself", "elsewhere"],
)
def test_an_index_that_names_no_shards_is_a_sentence(tmp_path, shards, sentence):
    (tmp_path / "elsewhere.safetensors").touch()
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": shards}))
    assert sentence in refusal(path)


# ---- folders ----


def test_what_transformers_saves_opens_to_the_same_logits(tmp_path):
    config = transformers.GPT2Config(n_positions=32, n_embd=64, n_layer=2, n_head=4)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path)
    opened = gpt2.load(tmp_path)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        expected = theirs(ids).logits
    ours, _ = TorchModel(opened.config, opened.weights).forward(ids)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_a_folder_with_only_the_tutorials_file_opens(tmp_path):
    torch.save(state(), tmp_path / "gpt2-pytorch_model.bin")
    assert assert_opens(tmp_path).facts.vocabulary == "GPT-2's own"


def test_a_file_of_any_name_opens_if_it_is_alone(tmp_path):
    torch.save(state(), tmp_path / "friends.pt")
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimizer.pt")
    assert_opens(tmp_path)


def test_two_files_of_other_names_are_an_error_that_asks(tmp_path):
    for name in ("a.bin", "b.bin"):
        torch.save(state(), tmp_path / name)
    assert "a.bin and b.bin; name the one you mean" in refusal(tmp_path)


def test_safetensors_go_first_and_what_was_passed_over_is_told(tmp_path):
    safetensors.torch.save_file(state(), tmp_path / "model.safetensors")
    torch.save(state(), tmp_path / "pytorch_model.bin")
    assert gpt2.load(tmp_path).facts.passed_over == ("pytorch_model.bin",)


def test_an_own_vocabulary_of_another_size_opens_with_its_end_of_text(tmp_path):
    """Book summaries: <BOS> <EOS> <PAD> behind GPT-2's 50,257."""
    tokenizer = Tokenizer.gpt2()
    tokenizer.add_specials(["<BOS>", "<EOS>", "<PAD>"])
    config = Config(50260, 32, 64, 1, 4, 256, bos_token_id=50257, eos_token_ids=(50258,))
    gpt2.save(tmp_path / "m", config, random_weights(config), tokenizer)
    opened = gpt2.load(tmp_path / "m")
    assert opened.config == config
    assert opened.tokenizer.encode("<EOS>") == [50258]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert (theirs.bos_token, theirs.eos_token) == ("<BOS>", "<EOS>")


# ---- what is not a GPT-2 ----


class Runs:
    """Unpickled the trusting way, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path, zipped):
    held = state() | {"x": Runs(tmp_path / "ran")}
    torch.save(held, tmp_path / "evil.bin", _use_new_zipfile_serialization=zipped)
    assert "would run code" in refusal(tmp_path / "evil.bin")
    assert not (tmp_path / "ran").exists()


def without(name: str) -> dict[str, torch.Tensor]:
    return {n: t for n, t in state().items() if n != name}


IMPOSTORS = {
    "optimizer": ({"state": {0: {}}, "param_groups": []}, "an optimizer's state"),
    "lora": ({"base_model.model.h.0.attn.c_attn.lora_A.weight": torch.ones(2)}, "LoRA adapter"),
    "bert": ({"bert.encoder.layer.0.output.dense.weight": torch.ones(2)}, "a BERT"),
    "list": ([torch.ones(2)], "holds a list"),
    "numbers": ({"a": 1}, "holds no tensors"),
    "missing": (without("h.1.mlp.c_proj.bias"), "h.1.mlp.c_proj.bias is missing"),
    "unexpected": (state() | {"surprise": torch.ones(2)}, "surprise is in the weights"),
    "misshaped": (state() | {"h.0.ln_1.bias": torch.ones(5)}, "shape (5,), not (64,)"),
    "untied": (state() | {"lm_head.weight": torch.ones(50257, 64)}, "differs from wte.weight"),
    "integers": (state() | {"ln_f.bias": torch.ones(64, dtype=torch.int64)}, "holds int64"),
    "sparse": (state() | {"wpe.weight": torch.ones(32, 64).to_sparse()}, "as a sparse tensor"),
    "numberless": (state() | {"wpe.weight": torch.ones(32, 64, device="meta")}, "a meta tensor"),
    "a scalar": (state() | {"wte.weight": torch.tensor(1.0)}, "wte.weight has shape ()"),
    "a layer of another name": (state() | {"h.last.ln_1.bias": torch.ones(64)}, "h.last.ln_1.bias"),
    "a layer far off": (state() | {f"h.{10**15}.ln_1.bias": torch.ones(64)}, "is missing"),
    "other vocabulary": (
        state() | {"wte.weight": torch.ones(100, 64)},
        "GPT-2's own vocabulary has 50257",
    ),
}


@pytest.mark.parametrize("held, sentence", IMPOSTORS.values(), ids=IMPOSTORS)
def test_what_is_no_gpt2_is_one_sentence_that_says_what_it_is(tmp_path, held, sentence):
    torch.save(held, tmp_path / "model.bin")
    assert sentence in refusal(tmp_path / "model.bin")


FAKES = {
    "html": (b"<!DOCTYPE html><html>404", "a web page"),
    "xml": (b"<?xml version='1.0'?><Error>", "a web page or XML"),
    "json": (b'{"error": "Entry not found"}', "a JSON text"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "empty": (b"", "is empty"),
    "text": (b"hello, I am a model, a model of honesty", "neither a PyTorch nor a safetensors"),
    "gguf": (b"GGUF\x03\x00\x00\x00", "GGUF"),
}


@pytest.mark.parametrize("content, sentence", FAKES.values(), ids=FAKES)
def test_files_saved_by_mistake_are_called_what_they_are(tmp_path, content, sentence):
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    assert sentence in refusal(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "legacy.bin"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_file_cut_short_is_one_sentence(tmp_path, name, share):
    path = tmp_path / name
    if name.endswith("tensors"):
        safetensors.torch.save_file(state(), path)
    else:
        torch.save(state(), path, _use_new_zipfile_serialization=not name.startswith("legacy"))
    os.truncate(path, int(path.stat().st_size * share))
    assert "cut short" in refusal(path)


def test_an_empty_folder_and_a_missing_path_are_sentences(tmp_path):
    assert "holds no weights: it is empty" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_a_config_of_another_model_is_an_error(tmp_path):
    torch.save(state(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"n_layer": 24}')
    assert "says n_layer 24, but the weights have 2" in refusal(tmp_path)


@pytest.mark.parametrize(
    "said, sentence",
    [
        ({"n_head": "4"}, "n_head is '4'; it must be a whole number"),
        ({"n_head": 1.0}, "n_head is 1.0; it must be a whole number"),
        ({"layer_norm_epsilon": -5}, "layer_norm_epsilon is -5"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon is 'small'"),
    ],
)
def test_a_config_that_makes_no_sense_is_an_error(tmp_path, said, sentence):
    torch.save(state(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(said))
    assert sentence in refusal(tmp_path)


@pytest.mark.parametrize("told", [60000, -1, "x"])
def test_special_ids_that_the_weights_lack_say_nothing(tmp_path, told):
    """transformers writes 50256 into the config of a model with 1,000 tokens."""
    torch.save(state(), tmp_path / "pytorch_model.bin")
    says = {"eos_token_id": told, "bos_token_id": told}
    (tmp_path / "config.json").write_text(json.dumps(says))
    assert_opens(tmp_path)


# ---- writing ----


@pytest.mark.parametrize("format", ["safetensors", "bin"])
@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_what_is_saved_loads_in_transformers_and_here_to_the_same_logits(tmp_path, format, dtype):
    weights = random_weights(TINY)
    gpt2.save(tmp_path / "m", TINY, weights, Tokenizer.gpt2(), format=format, dtype=dtype)
    opened = gpt2.load(tmp_path / "m")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "m", dtype=torch.float32)
    ids = torch.arange(50)[None]
    with torch.no_grad():
        expected = theirs.eval()(ids).logits
    ours, _ = TorchModel(opened.config, opened.weights).forward(ids)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    text = "Once upon a time<|endoftext|>"
    theirs_ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")(text).input_ids
    assert opened.tokenizer.encode(text) == theirs_ids


def test_int8_comes_back_within_half_a_step_and_is_found_again_as_it_is(tmp_path):
    gpt2.save(tmp_path / "m", SMALL, WEIGHTS, Tokenizer.gpt2(), dtype="int8")
    opened = gpt2.load(tmp_path / "m")
    assert (opened.facts.dtype, opened.config) == ("int8", SMALL)
    for name, array in opened.weights.items():
        axis = {"wte.weight": 1}.get(name, 0)
        step = np.abs(WEIGHTS[name]).max(axis, keepdims=True) / 127
        assert (np.abs(array - WEIGHTS[name]) <= step * 0.501).all(), name
    gpt2.save(tmp_path / "again", SMALL, opened.weights, Tokenizer.gpt2(), dtype="int8")
    for name, array in gpt2.load(tmp_path / "again").weights.items():
        np.testing.assert_allclose(array, opened.weights[name], rtol=1e-6, atol=0)
    size = (tmp_path / "m" / "model-int8.safetensors").stat().st_size
    assert size < 1.1 * SMALL.n_parameters
    with pytest.raises(OSError, match="model.safetensors"):  # and not to numbers without a scale
        transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "m")
    with pytest.raises(CheckpointError, match="--format safetensors"):
        gpt2.save(tmp_path / "bin", SMALL, WEIGHTS, Tokenizer.gpt2(), "bin", "int8")


@pytest.mark.parametrize(
    "scale, sentence",
    [(None, "weights are floats"), ((64, 1), "no readable"), ((192, 1), "no readable")],
)
def test_int8_without_a_scale_that_fits_is_refused(tmp_path, scale, sentence):
    held = state("transformer.")
    name = "transformer.h.0.attn.c_attn.weight"
    held[name] = held[name].to(torch.int8)
    if scale is not None:
        dtype = torch.float16 if scale == (64, 1) else torch.float32
        held[f"{name}.scale"] = torch.ones(scale, dtype=dtype)
    safetensors.torch.save_file(held, tmp_path / "model-int8.safetensors")
    assert sentence in refusal(tmp_path / "model-int8.safetensors")


def test_nothing_is_overwritten_unless_forced(tmp_path):
    make_tiny(tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="is there already"):
        make_tiny(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
    gpt2.save(tmp_path / "m", SMALL, WEIGHTS, Tokenizer.gpt2(), force=True)
    assert gpt2.load(tmp_path / "m").config == SMALL
    assert os.listdir(tmp_path) == ["m"]


def test_a_write_that_fails_leaves_nothing_and_the_old_one_whole(tmp_path):
    make_tiny(tmp_path / "m")
    broken = dict(WEIGHTS, **{"ln_f.bias": np.array(["no number"])})
    with pytest.raises(TypeError):
        gpt2.save(tmp_path / "m", SMALL, broken, Tokenizer.gpt2(), force=True)
    assert os.listdir(tmp_path) == ["m"]
    assert gpt2.load(tmp_path / "m").config == TINY


def test_the_legacy_file_is_the_tutorials_unprefixed_and_unzipped(tmp_path):
    gpt2.save_legacy(tmp_path / "gpt2-pytorch_model.bin", WEIGHTS)
    with (tmp_path / "gpt2-pytorch_model.bin").open("rb") as file:
        assert file.read(6) == bytes.fromhex("80028a0a6cfc")
    assert_opens(tmp_path)


@pytest.fixture
def files_of_a_megabyte_at_most():
    """A write past the limit fails with EFBIG, as it would with ENOSPC on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("format", ["safetensors", "bin"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path, format, files_of_a_megabyte_at_most
):
    with pytest.raises(CheckpointError, match="could not be written"):
        gpt2.save(tmp_path / "m", SMALL, WEIGHTS, Tokenizer.gpt2(), format=format)
    assert os.listdir(tmp_path) == []


def test_an_unreadable_file_is_a_sentence(tmp_path):
    target = tmp_path / "loop.bin"
    target.symlink_to(target)
    assert "does not exist" in refusal(target)
