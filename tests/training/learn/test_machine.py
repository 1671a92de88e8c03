"""What the machine offers, as a training takes it."""

import pytest
import torch

from app.training.learn import machine


@pytest.mark.parametrize("has_units, precision", [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float16(monkeypatch, has_units, precision):
    """A T4 says that it supports bfloat16, but has no units for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: has_units or including_emulation,
    )
    assert machine.precision("auto") == precision
