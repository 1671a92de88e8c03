"""What clients of KoboldAI and koboldcpp ask before they connect, and while they wait."""

from flask import Blueprint, Response

from ...body.read import read_json
from ...body.reply import reply
from ...docs import openapi
from ...service import service
from .. import shared
from .reply import Counted, Decoded, Name, Story, Value, Version
from .request import DEFAULTS

about = Blueprint("kobold_about", __name__, url_prefix="/api")

KOBOLD_AI = "1.2.5"  # from 1.2.2 on it takes stop_sequence
# Clients conclude features from it: since 1.48 koboldcpp streams, counts tokens and has min_p.
KOBOLD_CPP = "1.48"


@about.get("/v1/info/version")
@about.get("/latest/info/version")
@openapi.replies(Name)
def version() -> Response:
    """The version of KoboldAI whose API this is."""
    return reply(Name(KOBOLD_AI))


@about.get("/v1/model")
@about.get("/latest/model")
@openapi.replies(Name)
def model() -> Response:
    """The default model's name."""
    return reply(Name(service().model().name))


@about.get("/v1/config/max_context_length")
@about.get("/latest/config/max_context_length")
@about.get("/extra/true_max_context_length")
@openapi.replies(Value)
def max_context_length() -> Response:
    """The model's window."""
    return reply(Value(service().model().n_positions))


@about.get("/v1/config/max_length")
@about.get("/latest/config/max_length")
@openapi.replies(Value)
def max_length() -> Response:
    """How many tokens are written by default."""
    return reply(Value(DEFAULTS["max_tokens"]))


@about.get("/v1/config/soft_prompt")
@about.get("/latest/config/soft_prompt")
@openapi.replies(Value)
def soft_prompt() -> Response:
    """None: there are no soft prompts here."""
    return reply(Value(""))


@about.get("/extra/version")
@openapi.replies(Version)
def extra_version() -> Response:
    """The version of koboldcpp whose API this is, and which features are missing."""
    return reply(Version(protected=bool(service().options.api_keys), version=KOBOLD_CPP))


@about.get("/extra/preloadstory")
@openapi.replies(Story)
def preloadstory() -> Response:
    """None: no story is preloaded."""
    return reply(Story())


@about.post("/extra/tokencount")
@openapi.takes({"prompt": openapi.TEXT}, required=("prompt",))
@openapi.replies(Counted)
def tokencount() -> Response:
    """A text's tokens; `ids` starts with the begin-of-text token, as clients expect."""
    info = service().model()
    ids = shared.tokens_of(shared.text(read_json(), "prompt"), info)
    return reply(Counted(len(ids), [info.bos_token_id, *ids]))


@about.post("/extra/detokenize")
@openapi.takes({"ids": openapi.IDS}, required=("ids",))
@openapi.replies(Decoded)
def detokenize() -> Response:
    """The text of a list of tokens."""
    info = service().model()
    text = shared.text_of(shared.ids("ids", read_json(), info), info)
    return reply(Decoded(text))
