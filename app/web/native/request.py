"""What a body asks of POST /generate."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.engine import PARAMETERS, InvalidParams, Params, make_params

from ..body.fields import check_total, refuse_unknown, seen, take, texts
from ..errors import bad_value, invalid_params
from . import context

_PARAMETERS = [row.name for row in PARAMETERS]
_OWN = ("prompt", "model", "stream", "include_prompt", *context.FIELDS)


class GenerateRequest(NamedTuple):
    prompts: list[str]  # with memory and note in them
    is_list: bool
    params: Params
    model: str | None
    include_prompt: bool | None  # None: the format decides
    stream: bool


def read(fields: Mapping[str, Any]) -> GenerateRequest:
    refuse_unknown(fields, {*_OWN, *_PARAMETERS})
    prompts, is_list = _prompts(fields)
    params = _params({name: fields[name] for name in _PARAMETERS if name in fields})
    check_total(len(prompts), params.n)
    model = take(fields, "model", str, None)
    include_prompt = take(fields, "include_prompt", bool, None)
    stream = take(fields, "stream", bool, False)
    prompts, params = context.put_in(fields, prompts, params, model)
    return GenerateRequest(prompts, is_list, params, model, include_prompt, stream)


def _params(fields: dict[str, Any]) -> Params:
    if isinstance(fields.get("stop"), str):
        fields["stop"] = [fields["stop"]]
    try:
        return make_params(fields)
    except InvalidParams as error:
        raise invalid_params(error, fields.get(error.field)) from None


def _prompts(fields: Mapping[str, Any]) -> tuple[list[str], bool]:
    if "prompt" not in fields:
        raise bad_value("prompt", 'prompt is missing; send "" to start from nothing.')
    prompt = fields["prompt"]
    if isinstance(prompt, str):
        return [prompt], False
    if not isinstance(prompt, list):
        raise bad_value("prompt", f"prompt must be a text or a list of texts; got {seen(prompt)}.")
    return texts("prompt", prompt), True
