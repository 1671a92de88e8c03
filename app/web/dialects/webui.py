"""What text-generation-webui adds under /v1/internal, as far as SillyTavern and mikupad use it."""

import math

from flask import Blueprint, Response

from app.engine import Params, Token

from ..body.reply import reply
from ..docs import openapi
from ..errors import RETRY_S, Problem, bad_value
from ..run import run as streaming
from ..service import service
from . import shared as words

webui = Blueprint("webui", __name__, url_prefix="/v1/internal")


@webui.get("/model/info")
def model_info() -> Response:
    """The default model's name."""
    info = service().model()
    return reply({"model_name": info.name, "lora_names": [], "loader": info.backend})


@webui.post("/encode")
@openapi.takes({"text": openapi.TEXT}, required=("text",))
def encode() -> Response:
    """A text's tokens."""
    ids = _tokens()
    return reply({"tokens": ids, "length": len(ids)})


@webui.post("/token-count")
@openapi.takes({"text": openapi.TEXT}, required=("text",))
def token_count() -> Response:
    """How many tokens a text is."""
    return reply({"length": len(_tokens())})


def _tokens() -> list[int]:
    return list(words.tokens_of(words.text(words.read(), "text"), service().model()))


@webui.post("/decode")
@openapi.takes({"tokens": openapi.IDS}, required=("tokens",))
def decode() -> Response:
    """The text of a list of tokens."""
    info = service().model()
    return reply({"text": words.text_of(words.ids("tokens", words.read(), info), info)})


@webui.post("/logits")
@openapi.takes(
    {"prompt": openapi.TEXT, "top_logits": {"description": "How many."}, "use_samplers": {}},
    required=("prompt",),
)
def logits() -> Response:
    """The likeliest next tokens and their probabilities, before any sampling."""
    fields = words.read()
    if fields.get("use_samplers"):
        raise bad_value("use_samplers", "use_samplers must be false: odds are the model's own.")
    names = {"logprobs": ("top_logits",)}
    asked = words.params(fields, names, {"logprobs": 50, "max_tokens": 1, "ignore_eos": True})
    token = _first_token(words.text(fields, "prompt"), asked)
    return reply({words.plain(top.bytes): math.exp(top.logprob) for top in token.top})


def _first_token(prompt: str, asked: Params) -> Token:
    tokens = streaming.collect(streaming.start(prompt, asked)).choices[0].tokens
    if not tokens:
        raise Problem(503, "unavailable", "There was no time for it.", retry_after=RETRY_S)
    return tokens[0]


@webui.post("/stop-generation")
def stop_generation() -> Response:
    """Nothing: it would stop everybody. Whoever hangs up ends their own request."""
    words.read_if_any()
    return reply({"status": "success"})
