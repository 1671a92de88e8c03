"""The routes under /v1/internal of text-generation-webui that SillyTavern and mikupad use."""

import math

import msgspec
from flask import Blueprint, Response

from app.engine import Params, Token

from ..body.read import read_json
from ..body.reply import reply
from ..docs import openapi
from ..errors import RETRY_S, Problem, bad_value
from ..run.lists import collect
from ..run.run import start
from ..service import service
from . import shared

webui = Blueprint("webui", __name__, url_prefix="/v1/internal")


class LoadedModel(msgspec.Struct):
    model_name: str
    loader: str
    lora_names: list[str] = []


class Length(msgspec.Struct):
    length: int


class Encoded(Length):
    tokens: list[int]


class Text(msgspec.Struct):
    text: str


class Status(msgspec.Struct):
    status: str = "success"


@webui.get("/model/info")
@openapi.replies(LoadedModel)
def model_info() -> Response:
    """The default model's name."""
    info = service().model()
    return reply(LoadedModel(info.name, info.backend))


@webui.post("/encode")
@openapi.takes({"text": openapi.TEXT}, required=("text",))
@openapi.replies(Encoded)
def encode() -> Response:
    """A text's tokens."""
    ids = _tokens()
    return reply(Encoded(len(ids), ids))


@webui.post("/token-count")
@openapi.takes({"text": openapi.TEXT}, required=("text",))
@openapi.replies(Length)
def token_count() -> Response:
    """How many tokens a text has."""
    return reply(Length(len(_tokens())))


def _tokens() -> list[int]:
    return list(shared.tokens_of(shared.text(read_json(), "text"), service().model()))


@webui.post("/decode")
@openapi.takes({"tokens": openapi.IDS}, required=("tokens",))
@openapi.replies(Text)
def decode() -> Response:
    """The text of a list of tokens."""
    info = service().model()
    return reply(Text(shared.text_of(shared.ids("tokens", read_json(), info), info)))


@webui.post("/logits")
@openapi.takes(
    {"prompt": openapi.TEXT, "top_logits": {"description": "How many."}, "use_samplers": {}},
    required=("prompt",),
)
@openapi.replies(dict[str, float])
def logits() -> Response:
    """The likeliest next tokens and their probabilities, before any sampling."""
    fields = read_json()
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
@openapi.replies(Status)
def stop_generation() -> Response:
    """Does nothing: it would stop everybody. Hanging up ends one's own request."""
    shared.read_if_any()
    return reply(Status())
