"""The routes under /v1/internal of text-generation-webui that SillyTavern and mikupad use."""

import math

from flask import Blueprint, Response

from app.engine import Params, Token

from ..body.reply import reply
from ..docs import openapi
from ..errors import RETRY_S, Problem, bad_value
from ..run.lists import collect
from ..run.run import start
from ..service import service
from . import shared

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
    """How many tokens a text has."""
    return reply({"length": len(_tokens())})


def _tokens() -> list[int]:
    return list(shared.tokens_of(shared.text(shared.read(), "text"), service().model()))


@webui.post("/decode")
@openapi.takes({"tokens": openapi.IDS}, required=("tokens",))
def decode() -> Response:
    """The text of a list of tokens."""
    info = service().model()
    return reply({"text": shared.text_of(shared.ids("tokens", shared.read(), info), info)})


@webui.post("/logits")
@openapi.takes(
    {"prompt": openapi.TEXT, "top_logits": {"description": "How many."}, "use_samplers": {}},
    required=("prompt",),
)
def logits() -> Response:
    """The likeliest next tokens and their probabilities, before any sampling."""
    fields = shared.read()
    if fields.get("use_samplers"):
        raise bad_value(
            "use_samplers", "use_samplers must be false: these are the model's own probabilities."
        )
    names = {"logprobs": ("top_logits",)}
    params = shared.params(fields, names, {"logprobs": 50, "max_tokens": 1, "ignore_eos": True})
    token = _first_token(shared.text(fields, "prompt"), params)
    return reply({shared.plain(top.bytes): math.exp(top.logprob) for top in token.top})


def _first_token(prompt: str, params: Params) -> Token:
    tokens = collect(start(prompt, params)).choices[0].tokens
    if not tokens:
        raise Problem(
            503, "unavailable", "It timed out before the first token.", retry_after=RETRY_S
        )
    return tokens[0]


@webui.post("/stop-generation")
def stop_generation() -> Response:
    """Does nothing: it would stop everybody. Hanging up ends one's own request."""
    shared.read_if_any()
    return reply({"status": "success"})
