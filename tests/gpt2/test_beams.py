"""Our beam search against transformers' own."""

import dataclasses

import numpy as np
import pytest
import torch

from app import gpt2
from tests.tiny import TINY, random_weights

CONFIG = dataclasses.replace(TINY, vocab_size=12, bos_token_id=1, eos_token_ids=(), n_layer=1)


def theirs(checkpoint, ids, width, max_tokens):
    config = checkpoint.config
    model = gpt2.transformers_model(checkpoint).eval()
    found = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
        num_beams=width, max_new_tokens=max_tokens, do_sample=False, use_cache=True,
        eos_token_id=list(config.eos_token_ids) or None, pad_token_id=config.bos_token_id,
    )[0, len(ids) :].tolist()  # fmt: skip
    end = next((i for i, id in enumerate(found) if id in config.eos_token_ids), len(found))
    return found[:end]


@pytest.mark.parametrize("eos", [(), (10,), (10, 4)], ids=len)
@pytest.mark.parametrize("width", [2, 5])
def test_it_finds_what_transformers_finds(width, eos):
    """In a small vocabulary ends are likely; of ten prompts some end before the limit."""
    config = dataclasses.replace(CONFIG, eos_token_ids=eos)
    checkpoint = gpt2.Checkpoint(config, random_weights(config, spread=0.1), None, None)
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(10):
        ids = rng.integers(0, 12, rng.integers(1, 9)).tolist()
        ours = gpt2.search_beams(checkpoint, ids, width, 8)
        assert ours == theirs(checkpoint, ids, width, 8)
        lengths.add(len(ours))
    assert not eos or len(lengths) > 1
