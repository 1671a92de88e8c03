"""TensorFlow checkpoints: TensorFlow's own (tensorflow/make.py wrote them), then broken ones."""

import hashlib
import json
import shutil
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import torch

from app import gpt2
from app.gpt2.files.tensorflow import TensorFlowError, find_prefix, open_bundle, our_name

HERE = Path(__file__).parent / "tensorflow"
ANSWERS = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))
FOLDERS = pytest.mark.parametrize("folder", ["openai", "sharded"])


@pytest.fixture
def openai(tmp_path: Path) -> Path:
    """A copy of the checkpoint to break, as model.ckpt.*."""
    return Path(shutil.copytree(HERE / "openai", tmp_path / "openai"))


def refusal(prefix: Path) -> str:
    """The sentence with which a checkpoint is refused, be it when opened or when read."""
    with pytest.raises(TensorFlowError) as caught:
        dict(open_bundle(prefix))
    return str(caught.value)


# ---- what TensorFlow says ----


@FOLDERS
def test_weights_are_what_tensorflow_says(folder: str) -> None:
    bundle = open_bundle(find_prefix(HERE / folder))
    assert set(bundle) == set(map(our_name, ANSWERS["weights"]))
    for name, said in ANSWERS["weights"].items():
        array = bundle[our_name(name)]
        assert hashlib.sha256(array.tobytes()).hexdigest() == said["sha256"], name
        assert array.dtype == np.float32
        assert list(array.shape) == [size for size in said["shape"] if size != 1]


@FOLDERS
def test_logits_are_what_tensorflow_says(folder: str) -> None:
    checkpoint = gpt2.load(HERE / folder)
    model = gpt2.TorchModel(checkpoint.config, checkpoint.weights)
    logits, _ = model.forward(torch.tensor([ANSWERS["prompt"]]))
    np.testing.assert_allclose(logits[0].numpy(), np.load(HERE / "logits.npy"), rtol=0, atol=1e-4)


def test_optimizer_variables_are_ignored_and_named() -> None:
    ignored = gpt2.load(HERE / "openai").facts.ignored
    assert list(ignored) == ANSWERS["others"]
    assert {"beta1_power", "global_step", "model/wte/Adam"} <= set(ignored)


def test_weights_are_mapped_from_the_file_not_read() -> None:
    assert isinstance(open_bundle(HERE / "openai" / "model.ckpt")["wte.weight"], np.memmap)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("model/wte", "wte.weight"),
        ("model/wpe", "wpe.weight"),
        ("model/ln_f/b", "ln_f.bias"),
        ("model/h0/ln_1/g", "h.0.ln_1.weight"),
        ("model/h47/attn/c_attn/w", "h.47.attn.c_attn.weight"),
        ("model/h11/mlp/c_proj/b", "h.11.mlp.c_proj.bias"),
    ],
)
def test_names_become_ours(theirs: str, ours: str) -> None:
    assert our_name(theirs) == ours


# ---- which checkpoint is meant ----


@pytest.mark.parametrize(
    "name", ["", "model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"]
)
def test_folder_prefix_and_file_all_open(name: str) -> None:
    assert find_prefix(HERE / "openai" / name) == HERE / "openai" / "model.ckpt"
    assert gpt2.load(HERE / "openai" / name).facts.format == "TensorFlow"


@pytest.mark.parametrize("name", ["answers.json", "nothing-here", ""])
def test_other_paths_are_no_checkpoint(name: str) -> None:
    assert find_prefix(HERE / name) is None


def touch_steps(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.index").touch()


@pytest.mark.parametrize(
    "named",
    [
        "model-999",
        "/content/drive/gpt-2/checkpoint/run1/model-999",
        r"C:\\Users\\me\\model-999",
        "run1/model-999",
    ],
)
def test_the_checkpoint_file_names_the_newest(tmp_path: Path, named: str) -> None:
    """Often by a path on the machine that trained."""
    touch_steps(tmp_path, "model-999", "model-1000")
    (tmp_path / "checkpoint").write_text(
        f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "model-1000"\n',
        encoding="utf-8",
    )
    assert find_prefix(tmp_path) == tmp_path / "model-999"


def test_the_checkpoint_file_may_name_another_folder(tmp_path: Path) -> None:
    """As TensorFlow quotes it: bytes beyond ASCII in octal."""
    (tmp_path / "été").mkdir()
    touch_steps(tmp_path / "été", "model-5")
    (tmp_path / "checkpoint").write_bytes(rb'model_checkpoint_path: "\303\251t\303\251/model-5"')
    assert find_prefix(tmp_path) == tmp_path / "été" / "model-5"


@pytest.mark.parametrize("said", [None, "", 'model_checkpoint_path: "model-2000"\n'])
def test_else_the_highest_step_is_the_newest(tmp_path: Path, said: str | None) -> None:
    touch_steps(tmp_path, "model-999", "model-1000", "model.ckpt")
    if said is not None:
        (tmp_path / "checkpoint").write_text(said, encoding="utf-8")
    assert find_prefix(tmp_path) == tmp_path / "model-1000"


def test_two_of_one_step_are_not_chosen_between(tmp_path: Path) -> None:
    touch_steps(tmp_path, "a-100", "b-100")
    with pytest.raises(TensorFlowError, match="a-100 and b-100; name the one you mean"):
        find_prefix(tmp_path)


def test_the_steps_passed_over_are_told(openai: Path) -> None:
    touch_steps(openai, "model-900", "model-1000")
    assert gpt2.load(openai).facts.passed_over == ("model-1000", "model-900")


def test_safetensors_go_first(openai: Path, tiny: Path) -> None:
    shutil.copytree(tiny, openai, dirs_exist_ok=True)
    (openai / "encoder.json").unlink()
    facts = gpt2.load(openai).facts
    assert facts.format == "safetensors"
    assert facts.passed_over == ("model.ckpt",)


# ---- damaged files: each is one sentence that names the file ----


def test_a_flipped_byte_in_any_tensor_is_noticed(openai: Path) -> None:
    """In every 1000th byte; those in an optimizer's variables are not ours to read."""
    data = openai / "model.ckpt.data-00000-of-00001"
    whole = data.read_bytes()
    n_noticed = 0
    for at in range(0, len(whole), 1000):
        data.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            dict(open_bundle(openai / "model.ckpt"))
        except TensorFlowError as error:
            assert str(data) in str(error) and "checksum" in str(error)
            n_noticed += 1
    assert n_noticed >= len(whole) / 1000 / 3 - 2  # a third are weights, the rest Adam's two slots


def test_a_wrong_checksum_is_a_checkpoint_error_to_who_reads_it(openai: Path) -> None:
    data = openai / "model.ckpt.data-00000-of-00001"
    data.write_bytes(bytes(data.stat().st_size))
    weights = gpt2.load(openai).weights
    with pytest.raises(gpt2.CheckpointError, match="model/wte does not have the checksum"):
        weights["wte.weight"]


def test_a_flipped_byte_in_the_index_never_changes_what_is_read(openai: Path) -> None:
    """It is noticed, or it lies in the padding and the block of metadata that nobody reads."""
    index = openai / "model.ckpt.index"
    whole, shapes = index.read_bytes(), open_bundle(openai / "model.ckpt").shapes
    n_harmless = 0
    for at in range(0, len(whole), 5):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            assert open_bundle(openai / "model.ckpt").shapes == shapes
            n_harmless += 1
        except TensorFlowError as error:
            assert str(index) in str(error)
    assert n_harmless < 60 / 5


def test_an_index_cut_anywhere_is_noticed(openai: Path) -> None:
    index = openai / "model.ckpt.index"
    whole = index.read_bytes()
    for size in [0, 7, 40, 48, len(whole) // 2, len(whole) - 1]:
        index.write_bytes(whole[:size])
        assert refusal(openai / "model.ckpt") == (
            f"{index} is not a TensorFlow index, or is cut short."
        )


def test_a_footer_alone_is_noticed(openai: Path) -> None:
    index = openai / "model.ckpt.index"
    index.write_bytes(index.read_bytes()[-48:])
    assert str(index) in refusal(openai / "model.ckpt")


def test_data_cut_short_is_noticed_before_reading(openai: Path) -> None:
    data = openai / "model.ckpt.data-00000-of-00001"
    n_bytes = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(gpt2.CheckpointError, match=f"has {n_bytes - 1} of {n_bytes} bytes"):
        gpt2.load(openai)


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    shutil.copytree(HERE / "sharded", tmp_path, dirs_exist_ok=True)
    lost = tmp_path / "model-4000.data-00001-of-00002"
    lost.unlink()
    assert f"{lost} is missing" in refusal(tmp_path / "model-4000")


def test_a_missing_index_is_named(openai: Path) -> None:
    (openai / "model.ckpt.index").unlink()
    assert f"{openai / 'model.ckpt.index'} is missing" in refusal(find_prefix(openai))


# ---- files that TensorFlow would write, but not for a GPT-2: made by the writer below ----


def test_float16_and_bfloat16_are_read(tmp_path: Path) -> None:
    values = np.array([[0.5, -2.0], [1.0, 3.0]], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    prefix = write_bundle(
        tmp_path,
        {"model/wte": (19, values.astype(np.float16)), "model/wpe": (14, bits)},
    )
    bundle = open_bundle(prefix)
    assert bundle.dtypes == {"wte.weight": "float16", "wpe.weight": "bfloat16"}
    assert bundle["wte.weight"].dtype == np.float16
    for name in bundle:
        np.testing.assert_array_equal(bundle[name], values)


def test_a_tensor_at_an_odd_place_is_aligned(tmp_path: Path) -> None:
    variables = {"a/odd": (6, np.zeros(3, np.int8)), "model/wte": (1, np.ones((2, 2), np.float32))}
    array = open_bundle(write_bundle(tmp_path, variables))["wte.weight"]
    assert array.flags.aligned
    np.testing.assert_array_equal(array, np.ones((2, 2)))


WTE = {"model/wte": (1, np.ones((2, 2), np.float32))}


@pytest.mark.parametrize(
    ("variables", "how", "why"),
    [
        (WTE, {"header": b"\x08\x01\x10\x01"}, "was written on a big-endian machine"),
        (WTE, {"compression": b"\x01"}, "is compressed"),
        (WTE, {"header": b"\x09"}, "is cut short or damaged"),
        (WTE, {"extra": b"\x3a\x00"}, "model/wte is cut into slices"),
        (WTE, {"extra": b"\x18\x05"}, "cannot be 16 bytes in data file 5 of 1"),
        (WTE, {"extra": b"\x28\x0c"}, "cannot be 12 bytes"),
        ({"model/wte": (3, np.ones((2, 2), np.int32))}, {}, "is of TensorFlow's type 3"),
        ({"bert/pooler": (1, np.ones(2))}, {}, "holds no GPT-2.*it has bert/pooler"),
        ({}, {}, "holds no GPT-2.*it has none"),
    ],
)
def test_what_no_gpt2_has_is_refused(tmp_path: Path, variables: dict, how: dict, why: str) -> None:
    prefix = write_bundle(tmp_path, variables, **how)
    with pytest.raises(TensorFlowError, match=f"{prefix}.index.*{why}"):
        open_bundle(prefix)


def test_a_variable_no_gpt2_has_is_an_error_that_names_it(openai: Path) -> None:
    bundle = open_bundle(openai / "model.ckpt")
    variables = {name: (1, bundle[our_name(name)]) for name in ANSWERS["weights"]}
    extra = {"model/h0/adapter/w": (1, np.ones((1, 2, 2), np.float32))}
    write_bundle(openai, variables | extra)
    with pytest.raises(gpt2.CheckpointError, match="h.0.adapter.weight"):
        gpt2.load(openai)


def write_bundle(
    folder: Path,
    variables: dict[str, tuple[int, np.ndarray]],
    header: bytes = b"\x08\x01",
    compression: bytes = b"\x00",
    extra: bytes = b"",
) -> Path:
    """A checkpoint by the book; `extra` is added to each variable's entry."""
    prefix = folder / "model.ckpt"
    data, entries = b"", {b"": header}
    for name, (dtype, array) in sorted(variables.items()):
        raw = array.tobytes()
        dims = b"".join(field(2, field(1, size)) for size in array.shape)
        place = field(4, len(data)) + field(5, len(raw))
        crc = varint(6 << 3 | 5) + masked_crc(raw)
        entries[name.encode()] = field(1, dtype) + field(2, dims) + place + crc + extra
        data += raw
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(data)
    names = block(entries, compression)
    top_place = varint(len(names)) + varint(len(block({b"z": handle(names)})) - 5)
    index = names + block({b"z": handle(names)})
    footer = (b"\x00\x00" + top_place).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "model.ckpt.index").write_bytes(index + footer)
    return prefix


def block(entries: dict[bytes, bytes], compression: bytes = b"\x00") -> bytes:
    body = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key + value
        for key, value in entries.items()
    )
    body += struct.pack("<II", 0, 1) + compression
    return body + masked_crc(body)


def handle(first_block: bytes) -> bytes:
    return varint(0) + varint(len(first_block) - 5)


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
