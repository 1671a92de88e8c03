"""OpenAI's /v1/completions and /v1/models, with fields that vLLM and others added."""

from flask import Blueprint, Response, stream_with_context

from ...body.read import read_json
from ...body.reply import reply
from ...docs import openapi
from ...native.reply import ModelCard, card
from ...run.lists import collect_all, in_turn
from ...run.run import start
from ...run.stream import respond
from ...service import service
from .. import shared
from ..shared import Fields
from . import chat
from .reply import Completion, ModelList, SpecialTokens, Tokens, stream, whole
from .request import NAMES, read

openai = Blueprint("openai", __name__)


@openai.post("/v1/completions")
@openapi.takes(
    {
        "prompt": {"description": "A text, its token ids, or a list of either."},
        "model": shared.maybe(openapi.TEXT),
        "stream": shared.maybe(openapi.FLAG),
        "echo": shared.maybe(openapi.FLAG),
    }
    | shared.described(NAMES),
)
@openapi.gives("application/json", "text/event-stream")
@openapi.replies(Completion)
def completions() -> Response:
    """Continue a text, for OpenAI's clients."""
    wanted = read(read_json())
    if wanted.stream:
        runs = in_turn(wanted.prompts, wanted.params, wanted.info.name)
        first = next(runs)  # admitted before the first byte
        frames = stream(first, runs, wanted)
        return respond(runs, stream_with_context(frames))  # the next runs still have to be admitted
    return reply(whole(collect_all(wanted.prompts, wanted.params, wanted.info.name), wanted))


@openai.get("/v1/models")
@openapi.replies(ModelList)
def models() -> Response:
    """The models that are served, for OpenAI's clients."""
    return reply(ModelList([card(info) for info in service().models().values()]))


@openai.get("/v1/models/<path:name>")
@openapi.replies(ModelCard)
def model(name: str) -> Response:
    """One model."""
    return reply(card(service().model(name)))


@openai.post("/v1/chat/completions")
@openapi.takes(
    {
        "messages": {"type": "array", "items": {"type": "object"}},
        "model": shared.maybe(openapi.TEXT),
        "stream": shared.maybe(openapi.FLAG),
    }
    | shared.described(chat.CHAT_NAMES),
    required=("messages",),
)
@openapi.gives("application/json", "text/event-stream")
@openapi.replies(chat.ChatCompletion)
def chat_completions() -> Response:
    """The next line of a script, for models whose card names speakers."""
    wanted = chat.read(read_json())
    if wanted.stream:
        run = start(wanted.prompt, wanted.params, wanted.info.name)
        return respond(run, chat.stream(run, wanted))
    (run,) = collect_all([wanted.prompt], wanted.params, wanted.info.name)
    return reply(chat.whole(run, wanted))


# ---- tokens, as in vLLM


@openai.get("/tokenizer_info")
@openapi.replies(SpecialTokens)
def tokenizer_info() -> Response:
    """The special tokens, for evaluations that tokenize on the server."""
    info = service().model()
    eos, bos = (
        service().engine.detokenize([id]) for id in (info.eos_token_ids[0], info.bos_token_id)
    )
    return reply(SpecialTokens(eos, bos, eos))


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with a prompt."""
    info = shared.model(fields)
    ids = shared.tokens_of(shared.text(fields, "prompt"), info)
    return reply(Tokens(len(ids), info.n_positions, ids))
