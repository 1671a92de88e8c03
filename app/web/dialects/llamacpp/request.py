"""What a body asks of POST /completion."""

from typing import Any

import msgspec

from app.engine import PARAMETERS, ModelInfo, Params

from ...body import fields as body
from ...errors import bad_value
from ...run.run import Prompt
from .. import shared
from ..shared import Fields

NAMES = {
    "max_tokens": ("n_predict", "max_tokens"),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p",),
    "repetition_penalty": ("repeat_penalty",),
    "presence_penalty": ("presence_penalty",),
    "frequency_penalty": ("frequency_penalty",),
    "penalty_range": ("repeat_last_n",),
    "stop": ("stop",),
    "seed": ("seed",),
    "keep": ("n_keep",),
    "logprobs": ("n_probs",),
    **shared.MODERN,
}
DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "penalty_range": 64}

# The parameter of each of `samplers`; samplers that are not listed are off.
SAMPLERS: dict[str, dict[str, float]] = {
    "penalties": {"repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0},
    "dry": {"dry_multiplier": 0},
    "top_k": {"top_k": 0},
    "typ_p": {"typical_p": 1},
    "top_p": {"top_p": 1},
    "min_p": {"min_p": 0},
    "xtc": {"xtc_probability": 0},
    "temperature": {"temperature": 1},
}

MAX_TIME_MS = 86_400_000
MAX_BIASES = next(row.max_items or 0 for row in PARAMETERS if row.name == "logit_bias")
MAX_KEEP = next(int(row.high or 0) for row in PARAMETERS if row.name == "keep")
RANDOM_SEED = 2**32 - 1  # -1 as an unsigned number


class CompletionRequest(msgspec.Struct):
    prompts: list[Prompt]
    texts: list[str]  # of the prompts, also if they were sent as ids
    is_list: bool
    params: Params
    info: ModelInfo
    stream: bool
    with_ids: bool  # with the tokens' ids
    as_probabilities: bool  # in place of logarithms
    samplers: list[str]  # as they were sent
    response_fields: list[str]  # empty: all


def read(fields: Fields) -> CompletionRequest:
    shared.refuse_grammars(fields)
    info = shared.model(fields)
    params = _params(fields, info)
    prompts, is_list = _prompts(fields, info)
    stream = body.take(fields, "stream", bool, False)
    if stream and len(prompts) > 1:
        raise bad_value("prompt", "Only one prompt can be streamed; send them one by one.")
    return CompletionRequest(
        prompts=prompts,
        texts=[shared.text_of(prompt, info) for prompt in prompts],
        is_list=is_list,
        params=params,
        info=info,
        stream=stream,
        with_ids=body.take(fields, "return_tokens", bool, False),
        as_probabilities=body.take(fields, "post_sampling_probs", bool, False),
        samplers=body.take(fields, "samplers", list, list(SAMPLERS)),
        response_fields=_response_fields(fields),
    )


def _response_fields(fields: Fields) -> list[str]:
    wanted = body.take(fields, "response_fields", list, [])
    if not all(isinstance(name, str) for name in wanted):
        raise bad_value("response_fields", "response_fields must be a list of names.")
    return wanted


def _prompts(fields: Fields, info: ModelInfo) -> tuple[list[Prompt], bool]:
    """A list that mixes texts and ids is one prompt here, as is {"prompt_string": text}."""
    value = fields.get("prompt")
    if isinstance(value, dict):
        if value.get("multimodal_data"):
            raise bad_value("prompt", "multimodal_data is not supported: GPT-2 reads text only.")
        value = value.get("prompt_string")
    if not isinstance(value, list) or not {int, str} <= {type(part) for part in value}:
        return shared.prompts({"prompt": value}, info)
    texts = sum(isinstance(part, str) for part in value)
    body.check_count("prompt", texts)
    ids: list[int] = []
    for part in value:
        piece = shared.prompt(part if isinstance(part, str) else [part], info)
        ids += shared.tokens_of(piece, info)
    return [ids], False


def _params(fields: Fields, info: ModelInfo) -> Params:
    bias, banned = _biases(fields, info)
    max_time = min(body.take(fields, "t_max_predict_ms", int, 0), MAX_TIME_MS)
    more = {
        "logit_bias": bias,
        "banned": banned,
        "max_time": max_time / 1000 if max_time >= 10 else None,
    }
    params = shared.params(_normalized(fields, info), NAMES, DEFAULTS | more)
    return msgspec.structs.replace(params, logprobs=params.logprobs or None)  # 0 is off


def _normalized(fields: Fields, info: ModelInfo) -> Fields:
    """llama.cpp's special values in ours: n_predict, temperature or n_keep < 0, a seed of -1."""
    plain = dict(fields)
    length, temperature = shared.first(fields, NAMES["max_tokens"]), fields.get("temperature")
    if length is None or (isinstance(length, int) and length < 0):
        plain["n_predict"] = info.n_positions  # endless, but for the server's own bound
    if isinstance(temperature, int | float) and temperature < 0:
        plain["temperature"] = 0
    if isinstance(keep := fields.get("n_keep"), int) and keep < 0:
        plain["n_keep"] = MAX_KEEP  # all of the prompt
    if fields.get("seed") == RANDOM_SEED:
        plain["seed"] = -1
    for name in _absent(fields):
        plain |= {NAMES[ours][0]: neutral for ours, neutral in SAMPLERS[name].items()}
    return plain


def _absent(fields: Fields) -> set[str]:
    """Neutral values for the samplers that are not listed."""
    named = body.take(fields, "samplers", list, list(SAMPLERS))
    named = ["typ_p" if name == "typical_p" else name for name in named]
    absent = {name for name in SAMPLERS if name not in named}
    if fields.get("repeat_last_n") == 0:
        absent.add("penalties")
    if fields.get("dry_penalty_last_n") == 0:
        absent.add("dry")
    return absent


def _biases(fields: Fields, info: ModelInfo) -> tuple[dict[int, float], list[int | str]]:
    """[[id or text, bias or false], ...], or an object of the same; false bans."""
    value = fields.get("logit_bias") or []
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise bad_value(
            "logit_bias", "logit_bias must be a list such as [[11, -1.5], [13, false]]."
        )
    if len(pairs) > MAX_BIASES:
        raise bad_value(
            "logit_bias",
            f"logit_bias has {len(pairs)} entries; at most {MAX_BIASES} are allowed.",
            value=len(pairs),
            allowed=MAX_BIASES,
        )
    bias: dict[int, float] = {}
    banned: list[int | str] = []
    if body.take(fields, "ignore_eos", bool, False):
        banned += info.eos_token_ids
    for token, amount in pairs:
        id = shared.id_of(token) if isinstance(value, dict) else token
        ids = [id] if isinstance(id, int) else shared.tokens_of(token, info)
        if amount is False:
            banned += ids
        else:
            bias |= dict.fromkeys(ids, amount)
    return bias, banned


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and (type(pair[0]) in (int, str))
        and (pair[1] is False or type(pair[1]) in (int, float))
    )
