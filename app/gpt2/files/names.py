"""Translate all names of GPT-2's tensors into OpenAI's, with every tensor accounted for.

transformer.h.0.attn.c_attn.weight  (transformers)         -> h.0.attn.c_attn.weight
module.h.0.ln_1.g                   (DataParallel, older)  -> h.0.ln_1.weight
model.transformer.wte.weight        (Lightning)            -> wte.weight
h.0.attn.bias                       (causal mask, a buffer) -> ignored
lm_head.decoder.weight              (tied to wte)          -> ignored once found equal
"""

import re
from collections.abc import Iterable, Mapping

PREFIX = re.compile(r"^((module|_orig_mod|model|transformer)\.)*")
MASK = re.compile(r"^h\.\d+\.attn\.(bias|masked_bias)$")
HEAD = re.compile(r"^lm_head\.(decoder\.)?weight$")
OLD_ENDINGS = {"g": "weight", "w": "weight", "b": "bias"}
LOOKS_LIKE = (  # a part of a name -> the models that have it
    ("lora_", "a LoRA adapter, to be merged into its model first"),
    ("exp_avg", "an optimizer's state"),
    ("encoder.layer.", "a BERT"),
    ("bert.", "a BERT"),
    ("self_attn.q_proj", "a Llama or another model with separate q, k and v"),
    ("query_key_value", "a GPT-NeoX or Bloom"),
    ("decoder.block.", "a T5"),
    ("attn.attention.", "a GPT-Neo"),
)


class NamesError(ValueError):
    """A tensor that is missing, unexpected or of the wrong shape: the sentence names it."""


def canonical(name: str) -> str:
    """OpenAI's name for a tensor: without prefixes, and with `.g .w .b` spelled out."""
    stem, _, ending = PREFIX.sub("", name).rpartition(".")
    return f"{stem}.{OLD_ENDINGS.get(ending, ending)}" if stem else ending


def rename(names: Iterable[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """({our name: theirs}, their mask buffers, their output heads)."""
    ours: dict[str, str] = {}
    masks, heads = [], []
    for theirs in names:
        name = canonical(theirs)
        if MASK.match(name):
            masks.append(theirs)
        elif HEAD.match(name):
            heads.append(theirs)
        elif name in ours:
            raise NamesError(f"{ours[name]} and {theirs} are the same tensor, {name}.")
        else:
            ours[name] = theirs
    return ours, masks, heads


SIZED = ("wte.weight", "wpe.weight", "h.0.mlp.c_fc.weight")  # the sizes are read from these


def check_looks(ours: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that this is a GPT-2 at all: the matrices that show its sizes must exist."""
    missing = [name for name in SIZED if name not in ours]
    if not missing:
        for name in SIZED:
            if len(shapes[name]) != 2:
                raise NamesError(f"{ours[name]} has shape {shapes[name]}; it should be a matrix.")
        return
    for piece, whose in LOOKS_LIKE:
        if any(piece in theirs for theirs in ours.values()):
            raise NamesError(
                f"{missing[0]} is missing; this is not a GPT-2 but looks like {whose}."
            )
    some = ", ".join(list(ours.values())[:3]) or "nothing"
    raise NamesError(f"{missing[0]} is missing; this is not a GPT-2 (it holds {some}, ...).")


def check_shapes(
    ours: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
) -> None:
    """Check that the tensors are exactly these, each with its shape."""
    for name, shape in wanted.items():
        if name not in ours:
            raise NamesError(f"{name} is missing from the weights.")
        if shapes[name] != shape:
            hint = ""
            if shapes[name] == shape[::-1]:
                hint = "; it is transposed, as nanoGPT stores it (GPT-2 stores [in, out])"
            raise NamesError(f"{ours[name]} has shape {shapes[name]}, not {shape}{hint}.")
    for name in ours:
        if name not in wanted:
            raise NamesError(f"{ours[name]} is in the weights, but a GPT-2 has no such tensor.")
