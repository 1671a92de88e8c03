"""The oracle against transformers' GPT2LMHeadModel, random weights, float32."""

import pytest
import torch
import transformers

from app.gpt2 import Config, TorchModel, continue_ids
from tests.tiny import random_weights

WIDTHS = {"124M": 768, "355M": 1024, "774M": 1280, "1558M": 1600, "odd": 200}


def ours_and_theirs(config: Config) -> tuple[TorchModel, transformers.GPT2LMHeadModel]:
    weights = random_weights(config, spread=0.02)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=config.vocab_size, n_positions=config.n_positions, n_embd=config.n_embd,
            n_layer=config.n_layer, n_head=config.n_head, n_inner=config.n_inner,
            scale_attn_by_inverse_layer_idx=config.scale_attn_by_inverse_layer_idx,
        )
    ).eval()  # fmt: skip
    state = {f"transformer.{n}": torch.tensor(w) for n, w in weights.items()}
    theirs.load_state_dict(state | {"lm_head.weight": torch.tensor(weights["wte.weight"])})
    return TorchModel(config, weights), theirs


@pytest.fixture(params=WIDTHS.values(), ids=WIDTHS)
def pair(request):
    width = request.param
    heads = width // 64 if width % 64 == 0 else 5
    sizes = {"n_embd": width, "n_head": heads, "n_inner": 4 * width}
    return ours_and_theirs(Config(vocab_size=500, n_positions=64, n_layer=2, **sizes))


@torch.no_grad()
def test_logits_equal_transformers_whole_in_chunks_and_token_by_token(pair):
    ours, theirs = pair
    ids = torch.randint(0, 500, (3, 40), generator=torch.Generator().manual_seed(0))
    expected = theirs(ids).logits
    for cuts in ([40], [13, 20, 7], [1] * 40):
        logits, cache = [], None
        for piece in ids.split(cuts, dim=1):
            part, cache = ours.forward(piece, cache)
            logits.append(part)
        torch.testing.assert_close(torch.cat(logits, dim=1), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_attention_scaled_by_layer_is_followed():
    sizes = {"n_embd": 64, "n_head": 2, "n_inner": 256, "n_layer": 3, "n_positions": 32}
    ours, theirs = ours_and_theirs(
        Config(vocab_size=100, scale_attn_by_inverse_layer_idx=True, **sizes)
    )
    ids = torch.arange(30)[None]
    torch.testing.assert_close(ours.forward(ids)[0], theirs(ids).logits, atol=1e-4, rtol=0)


def test_greedy_text_equals_transformers(pair):
    ours, theirs = pair
    prompt = [1, 2, 3, 4]
    expected = theirs.generate(
        torch.tensor([prompt]),
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert list(continue_ids(ours, prompt, 20)) == expected[0, 4:].tolist()
