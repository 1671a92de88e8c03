"""The sizes of a GPT-2, from config.json, hparams.json, or the weights' own shapes.

Knows both files' names for them; reads no weights.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD_SIZE = 64  # in all published models: heads = width / 64, unless a file says otherwise


class ConfigError(ValueError):
    """Why a config is not one of GPT-2's, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are the smallest published model (124M)."""

    vocab_size: int = 50257
    n_positions: int = 1024  # the window: how many tokens the model can see
    n_embd: int = 768  # width
    n_layer: int = 12
    n_head: int = 12
    n_inner: int = 3072  # width of the hidden layer in each MLP
    layer_norm_epsilon: float = 1e-5
    scale_attn_by_inverse_layer_idx: bool = False  # in some stabilised trainings
    bos_token_id: int = 50256  # starts an empty prompt
    eos_token_ids: tuple[int, ...] = (50256,)  # end a text

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
            value = getattr(self, name)
            least = 2 if name == "n_positions" else 1  # half of a window must hold a token
            if type(value) is not int or value < least:
                raise ConfigError(
                    f"{name} is {value!r}; it must be a whole number, at least {least}."
                )
        if type(self.layer_norm_epsilon) is not float or not 0 < self.layer_norm_epsilon < 1:
            raise ConfigError(
                f"layer_norm_epsilon is {self.layer_norm_epsilon!r}; it must be between 0 and 1."
            )
        if self.n_embd % self.n_head:
            raise ConfigError(
                f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head} heads."
            )

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by OpenAI's name, as stored: matrices are [in, out]."""
        E, I = self.n_embd, self.n_inner  # noqa: E741
        block: dict[str, tuple[int, ...]] = {
            "ln_1.weight": (E,),
            "ln_1.bias": (E,),
            "attn.c_attn.weight": (E, 3 * E),
            "attn.c_attn.bias": (3 * E,),
            "attn.c_proj.weight": (E, E),
            "attn.c_proj.bias": (E,),
            "ln_2.weight": (E,),
            "ln_2.bias": (E,),
            "mlp.c_fc.weight": (E, I),
            "mlp.c_fc.bias": (I,),
            "mlp.c_proj.weight": (I, E),
            "mlp.c_proj.bias": (E,),
        }
        shapes: dict[str, tuple[int, ...]] = {
            "wte.weight": (self.vocab_size, E),
            "wpe.weight": (self.n_positions, E),
        }
        for i in range(self.n_layer):
            shapes |= {f"h.{i}.{name}": shape for name, shape in block.items()}
        return shapes | {"ln_f.weight": (E,), "ln_f.bias": (E,)}

    @property
    def n_parameters(self) -> int:
        """How many numbers the model has; its output head is wte, and counted once."""
        total = 0
        for shape in self.shapes().values():
            count = 1
            for size in shape:
                count *= size
            total += count
        return total


# The names in config.json (transformers) and hparams.json (OpenAI) for the same sizes.
SPELLINGS = {
    "vocab_size": ("vocab_size", "n_vocab"),
    "n_positions": ("n_positions", "n_ctx"),
    "n_embd": ("n_embd",),
    "n_layer": ("n_layer",),
    "n_head": ("n_head",),
    "n_inner": ("n_inner",),
    "layer_norm_epsilon": ("layer_norm_epsilon",),
    "scale_attn_by_inverse_layer_idx": ("scale_attn_by_inverse_layer_idx",),
    "bos_token_id": ("bos_token_id",),
}
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")  # three names of OpenAI's formula


def read_config(path: Path) -> dict:
    """What config.json or hparams.json gives, by Config's names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} is not readable as JSON: {error}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} does not hold a JSON object.")
    if content.get("model_type", "gpt2") != "gpt2":
        raise ConfigError(
            f"{path} describes a {content['model_type']!r} model; only GPT-2 can be opened."
        )
    if content.get("activation_function", "gelu_new") not in TANH_GELU:
        raise ConfigError(
            f"{path}: activation_function {content['activation_function']!r} is not gelu_new."
        )
    if content.get("scale_attn_weights", True) is not True:
        raise ConfigError(f"{path}: scale_attn_weights false is not GPT-2's attention.")
    known: dict[str, Any] = {}
    for name, spellings in SPELLINGS.items():
        for spelling in spellings:
            if content.get(spelling) is not None:
                known.setdefault(name, content[spelling])
    end = content.get("eos_token_id")
    if end is not None:
        known["eos_token_ids"] = tuple(end) if isinstance(end, list) else (end,)
    return known


def settle(
    shapes: Mapping[str, tuple[int, ...]], given: Mapping, source: str = "the config"
) -> Config:
    """The Config of weights with these shapes, which must agree with what `source` gave."""
    layers = {n.split(".")[1] for n in shapes if n.startswith("h.")}
    seen: dict[str, Any] = {
        "vocab_size": shapes["wte.weight"][0],
        "n_positions": shapes["wpe.weight"][0],
        "n_embd": shapes["wte.weight"][1],
        "n_layer": sum(layer.isdecimal() for layer in layers),  # a missing layer is reported later
        "n_inner": shapes["h.0.mlp.c_fc.weight"][1],
    }
    for name, size in seen.items():
        if name in given and given[name] != size:
            raise ConfigError(
                f"{source} says {name} {given[name]}, but the weights have {size}: "
                "they do not belong together."
            )
    if "n_head" not in given and seen["n_embd"] % HEAD_SIZE:
        raise ConfigError(
            f"The width {seen['n_embd']} is not a multiple of {HEAD_SIZE}, so the number of heads "
            "is unknown; put a config.json with n_head beside the weights."
        )
    return Config(**({"n_head": seen["n_embd"] // HEAD_SIZE} | dict(given) | seen))
