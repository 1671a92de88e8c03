"""What a body asks of TGI's POST /generate, POST / and POST /generate_stream."""

import msgspec

from app.engine import ModelInfo, Params

from ...body.fields import take
from ...errors import bad_value
from ...service import service
from .. import shared
from ..shared import Fields

NAMES = {
    "max_tokens": ("max_new_tokens",),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "typical_p": ("typical_p",),
    "repetition_penalty": ("repetition_penalty",),
    "frequency_penalty": ("frequency_penalty",),
    "stop": ("stop", "stop_sequences"),
    "seed": ("seed",),
    "n": ("best_of",),
    "logprobs": ("top_n_tokens",),
}
POSITIVE = ("best_of", "max_new_tokens", "repetition_penalty", "temperature", "top_k", "truncate")
SHARES = ("top_p", "typical_p")  # TGI takes these strictly between 0 and 1


class TgiRequest(msgspec.Struct):
    ids: list[int]
    params: Params
    info: ModelInfo
    front: str  # the prompt, if the full text is wanted
    details: bool
    prefill: bool  # with the prompt's tokens
    top: bool  # with alternatives


def read(fields: Fields, is_full: bool = False, stream: bool = False) -> TgiRequest:
    """`is_full`: the default of return_full_text, which puts the prompt before the text."""
    inputs = take(fields, "inputs", str, "")
    _refuse(inputs == "", "inputs", "`inputs` must be non-empty: there is nothing to continue")
    options = take(fields, "parameters", dict, {})
    shared.refuse_grammars(options)
    _check(options)
    info = service().model()
    ids = list(shared.tokens_of(shared.text(fields, "inputs"), info))
    if (truncate := take(options, "truncate", int, None)) is not None:
        ids = ids[-truncate:]
    prefill = take(options, "decoder_input_details", bool, False)
    params = _params(options, len(ids), info, prefill)
    if stream:
        _refuse(params.n > 1, "best_of", "`best_of` != 1 is not supported when streaming tokens")
        _refuse(
            prefill,
            "decoder_input_details",
            "`decoder_input_details` == true is not supported when streaming tokens",
        )
    return TgiRequest(
        ids=ids,
        params=params,
        info=info,
        front=inputs if take(options, "return_full_text", bool, is_full) else "",
        details=take(options, "details", bool, False) or prefill,
        prefill=prefill,
        top=options.get("top_n_tokens") is not None,
    )


def _params(options: Fields, n_prompt: int, info: ModelInfo, prefill: bool) -> Params:
    room = info.n_positions - n_prompt
    wanted = take(options, "max_new_tokens", int, max(room, 1))
    _refuse(
        wanted > room,
        "max_new_tokens",
        f"`inputs` tokens + `max_new_tokens` must be <= {info.n_positions}. "
        f"Given: {n_prompt} `inputs` tokens and {wanted} `max_new_tokens`",
    )
    is_drawn = _is_drawn(options)
    _refuse(
        not is_drawn and take(options, "best_of", int, 1) > 1,
        "best_of",
        "you must use sampling when `best_of` is > 1",
    )
    defaults = {
        "max_tokens": wanted,
        "top_k": 0,
        "logprobs": 0,
        "include_stop": True,  # TGI's texts include what stopped them
        "prompt_logprobs": 0 if prefill else None,
    }
    if is_drawn:
        return shared.params(options, NAMES, defaults | {"temperature": 1.0})
    return shared.params(dict(options) | {"temperature": 0}, NAMES, defaults)


def _is_drawn(options: Fields) -> bool:
    """Greedy, unless do_sample is set or a sampler differs from its neutral value."""
    neutral = {"temperature": 1, "top_k": 0, "top_p": 1, "typical_p": 1}
    return take(options, "do_sample", bool, False) or any(
        options.get(name) not in (None, value) for name, value in neutral.items()
    )


def _check(options: Fields) -> None:
    for name in POSITIVE:
        value = options.get(name)
        is_bad = isinstance(value, int | float) and not value > 0
        _refuse(is_bad, name, f"`{name}` must be strictly positive")
    for name in SHARES:
        value = options.get(name)
        is_bad = isinstance(value, int | float) and not 0 < value < 1
        _refuse(is_bad, name, f"`{name}` must be > 0.0 and < 1.0")


def _refuse(when: bool, field: str, message: str) -> None:
    if when:
        raise bad_value(field, message)
