"""llama.cpp's server: /completion, /props and /slots, as mikupad and SillyTavern use them."""

from typing import Any

import msgspec
from flask import Blueprint, Response, g, request

from app.engine import PARAMETERS, ModelInfo

from ...body import fields as schema
from ...body.reply import reply
from ...docs import openapi
from ...errors import Problem, bad_value
from ...run import run as streaming
from ...run.run import Prompt
from ...service import service
from .. import shared as words
from ..shared import Fields
from . import reply as llamacpp_frames
from .reply import DEFAULTS, NAMES, SAMPLERS, Asked, render

llamacpp = Blueprint("llamacpp", __name__)

MAX_TIME_MS = 86_400_000
MAX_BIASES = next(row.max_items or 0 for row in PARAMETERS if row.name == "logit_bias")

# ---- continue


@llamacpp.post("/completion")
@llamacpp.post("/completions")
@openapi.takes(
    {
        "prompt": {"description": "A text, its token ids, or both mixed; or a list of texts."},
        "stream": words.maybe(openapi.FLAG),
    }
    | words.described(NAMES),
    required=("prompt",),
)
@openapi.gives("application/json", "text/event-stream")
def completion() -> Response:
    """Continue a text, as llama.cpp's clients ask for it."""
    fields = words.read()
    words.refuse_grammars(fields)
    info = words.model(fields)
    asked = _asked(fields, info)
    prompts, is_list = _prompts(fields, info)
    if not schema.take(fields, "stream", bool, False):
        runs = streaming.collect_all(prompts, asked.params, info.name)
        said = [llamacpp_frames.whole(run, asked, index) for index, run in enumerate(runs)]
        return reply(said if is_list else said[0])
    if len(prompts) > 1:
        raise bad_value("prompt", "One prompt at a time can be streamed.")
    run = streaming.start(prompts[0], asked.params, info.name)
    return words.streamed(run, llamacpp_frames.stream(run, asked))


# ---- reading


def _prompts(fields: Fields, info: ModelInfo) -> tuple[list[Prompt], bool]:
    """Texts and ids mixed in one list are one prompt here; so is {"prompt_string": text}."""
    value = fields.get("prompt")
    if isinstance(value, dict):
        value = value.get("prompt_string")
    if not isinstance(value, list) or not {int, str} <= {type(part) for part in value}:
        return words.prompts({"prompt": value}, info)
    texts = sum(isinstance(part, str) for part in value)
    schema.check_count("prompt", texts, service().options.max_prompts)
    ids: list[int] = []
    for part in value:
        piece = words.prompt(part if isinstance(part, str) else [part], info)
        ids += words.tokens_of(piece, info)
    return [ids], False


def _asked(fields: Fields, info: ModelInfo) -> Asked:
    bias, banned = _biases(fields, info)
    max_time = min(schema.take(fields, "t_max_predict_ms", int, 0), MAX_TIME_MS)
    more = {
        "logit_bias": bias,
        "banned": banned,
        "max_time": max_time / 1000 if max_time >= 10 else None,
    }
    params = words.params(_settled(fields, info), NAMES, DEFAULTS | more)
    params = msgspec.structs.replace(params, logprobs=params.logprobs or None)  # 0 is off
    as_odds = schema.take(fields, "post_sampling_probs", bool, False)
    return Asked(params, info, schema.take(fields, "return_tokens", bool, False), as_odds)


def _settled(fields: Fields, info: ModelInfo) -> Fields:
    """The values that mean something of their own here, said in values that all know."""
    said = dict(fields)
    length, temperature = words.first(fields, NAMES["max_tokens"]), fields.get("temperature")
    if length is None or (isinstance(length, int) and length < 0):
        said["n_predict"] = info.n_positions  # endless, but for the server's own bound
    if isinstance(temperature, int | float) and temperature < 0:
        said["temperature"] = 0
    for name in _silent(fields):
        said |= {NAMES[ours][0]: neutral for ours, neutral in SAMPLERS[name].items()}
    return said


def _silent(fields: Fields) -> set[str]:
    """The samplers that do not take part."""
    named = schema.take(fields, "samplers", list, list(SAMPLERS))
    named = ["typ_p" if name == "typical_p" else name for name in named]
    silent = {name for name in SAMPLERS if name not in named}
    return silent | ({"penalties"} if fields.get("repeat_last_n") == 0 else set())


def _biases(fields: Fields, info: ModelInfo) -> tuple[dict[int, float], list[int | str]]:
    """[[id or text, bias or false], ...], or an object of the same; false bans."""
    value = fields.get("logit_bias") or []
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise bad_value(
            "logit_bias", "logit_bias must be a list such as [[11, -1.5], [13, false]]."
        )
    schema.check_count("logit_bias", max(1, len(pairs)), MAX_BIASES)
    bias: dict[int, float] = {}
    banned: list[int | str] = []
    if schema.take(fields, "ignore_eos", bool, False):
        banned += info.eos_token_ids
    for token, amount in pairs:
        id = words.id_of(token) if isinstance(value, dict) else token
        ids = [id] if isinstance(id, int) else words.tokens_of(token, info)
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


# ---- tell


@llamacpp.get("/props")
def props() -> Response:
    """The model's window and the defaults, as llama.cpp's clients ask for them."""
    info = service().model()
    defaults = words.params({}, NAMES, DEFAULTS | {"max_tokens": info.n_positions})
    return reply(
        {
            "default_generation_settings": {
                "n_ctx": info.n_positions,
                "params": llamacpp_frames.settings(defaults),
            },
            "total_slots": service().engine.info().max_running,
            "model_path": info.name,
            "chat_template": "",
            "build_info": f"continuo {openapi.VERSION}",
        }
    )


@llamacpp.get("/slots")
def slots() -> Response:
    """How many continuations may run at a time, and which places are taken; no text."""
    engine = service().engine
    total, running = engine.info().max_running, engine.stats().running
    if request.args.get("fail_on_no_slot") == "1" and running >= total:
        raise Problem(503, "unavailable", "No slot is free.", retry_after=1.0)
    window = service().model().n_positions
    return reply([{"id": i, "n_ctx": window, "is_processing": i < running} for i in range(total)])


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with content."""
    g.render_problem = render
    text = words.text(fields, "content")
    made = service().engine.tokenize(text)
    if not schema.take(fields, "with_pieces", bool, False):
        return reply({"tokens": made.ids})
    pairs = zip(made.ids, made.offsets, strict=True)
    return reply({"tokens": [{"id": id, "piece": text[a:b]} for id, (a, b) in pairs]})
