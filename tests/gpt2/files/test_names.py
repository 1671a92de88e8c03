import pytest

from app.gpt2.config import Config
from app.gpt2.files.names import NamesError, canonical, check_looks, check_shapes, rename

SMALL = Config(n_embd=64, n_layer=2, n_head=1, n_inner=256)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("wte.weight", "wte.weight"),
        ("transformer.h.0.attn.c_attn.weight", "h.0.attn.c_attn.weight"),
        ("module.transformer.h.11.mlp.c_fc.bias", "h.11.mlp.c_fc.bias"),
        ("h.3.ln_1.g", "h.3.ln_1.weight"),
        ("h.3.ln_1.b", "h.3.ln_1.bias"),
        ("h.3.attn.c_proj.w", "h.3.attn.c_proj.weight"),
    ],
)
def test_every_style_becomes_openais(theirs, ours):
    assert canonical(theirs) == ours


def test_mask_buffers_and_heads_are_set_apart():
    ours, masks, heads = rename(
        ["wte.weight", "h.0.attn.bias", "h.0.attn.masked_bias", "h.0.attn.c_attn.bias"]
        + ["lm_head.weight", "lm_head.decoder.weight"]
    )
    assert list(ours) == ["wte.weight", "h.0.attn.c_attn.bias"]
    assert masks == ["h.0.attn.bias", "h.0.attn.masked_bias"]
    assert heads == ["lm_head.weight", "lm_head.decoder.weight"]


def test_the_same_tensor_twice_is_an_error():
    with pytest.raises(NamesError, match="are the same tensor"):
        rename(["wte.weight", "transformer.wte.weight"])


@pytest.mark.parametrize(
    "name, whose",
    [
        ("bert.encoder.layer.0.attention.self.query.weight", "a BERT"),
        ("base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", "LoRA adapter"),
        ("model.layers.0.self_attn.q_proj.weight", "a Llama"),
        ("something", "it holds something"),
    ],
)
def test_what_is_no_gpt2_is_called_what_it_is(name, whose):
    with pytest.raises(NamesError, match=whose):
        check_looks({name: name}, {name: (1,)})


def test_missing_unexpected_and_misshaped_tensors_are_named():
    wanted = SMALL.shapes()
    ours = {name: name for name in wanted}
    check_shapes(ours, wanted, wanted)
    without = {n: t for n, t in ours.items() if n != "h.1.ln_2.bias"}
    with pytest.raises(NamesError, match="h.1.ln_2.bias is missing"):
        check_shapes(without, wanted, wanted)
    with pytest.raises(NamesError, match="extra.weight is in the weights, but"):
        check_shapes(ours | {"extra.weight": "extra.weight"}, wanted, wanted)
    turned = wanted | {"h.0.attn.c_attn.weight": (192, 64)}
    with pytest.raises(NamesError, match=r"\(192, 64\), not \(64, 192\); it is transposed"):
        check_shapes(ours, turned, wanted)
