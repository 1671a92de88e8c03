import subprocess
import sys

import numpy as np
import pytest
import torch

from app.gpt2.files import torch_zip
from app.gpt2.files.tensors import open_tensors


@pytest.fixture
def saved(tmp_path):
    def save(held):
        torch.save(held, tmp_path / "model.bin")
        return tmp_path / "model.bin"

    return save


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_plain_tensors_are_what_torch_reads(saved, dtype):
    tensor = torch.linspace(-9, 9, 60).reshape(3, 4, 5).to(dtype)
    found = open_tensors(saved({"a": tensor, "b": tensor[1], "c": torch.tensor(2.0)}))
    assert found.dtypes["a"] == str(dtype).removeprefix("torch.")
    assert (found["a"] == tensor.to(torch.float64).numpy()).all()
    assert (found["b"] == found["a"][1]).all() and found["c"] == np.float32(2)


def test_a_model_is_read_without_torch(saved):
    path = saved(torch.nn.Linear(3, 2).state_dict())  # an OrderedDict with attributes
    code = f"""
import sys; from pathlib import Path
from app.gpt2.files.tensors import open_tensors
assert open_tensors(Path({str(path)!r})).shapes == {{"weight": (2, 3), "bias": (2,)}}
assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "held",
    [
        {"a": torch.ones(2, 3).T},  # not as it lies in memory
        {"a": torch.ones(3).to_sparse()},
        {"state_dict": {"a": torch.ones(3)}},
        {"a": torch.ones(3), "step": 7},
        [torch.ones(3)],
        {},
    ],
    ids=["turned", "sparse", "wrapped", "with numbers", "list", "empty"],
)
def test_what_is_not_plain_is_left_to_torch(saved, held):
    assert torch_zip.read(saved(held)) is None


def test_a_turned_tensor_is_read_by_torch(saved):
    tensor = torch.arange(6).reshape(2, 3).T
    assert (open_tensors(saved({"a": tensor}))["a"] == tensor.numpy()).all()


def test_a_pickle_that_asks_for_more_is_not_read(saved):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    assert torch_zip.read(saved({"a": Evil()})) is None


def test_a_file_that_is_cut_short_is_left_to_torch(saved):
    path = saved({"a": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    assert torch_zip.read(path) is None
