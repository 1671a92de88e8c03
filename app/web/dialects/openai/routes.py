"""OpenAI's /v1/completions and /v1/models, with the fields that vLLM and others added to them."""

from typing import Any

import msgspec
from flask import Blueprint, Response, stream_with_context

from app.engine import ModelInfo, Params

from ...body import fields as schema
from ...body.reply import reply
from ...docs import openapi
from ...errors import Problem, bad_value
from ...run import run as streaming
from ...run.run import Prompt
from ...service import service
from .. import shared as words
from ..shared import Fields
from . import reply as openai_frames
from .reply import Asked

openai = Blueprint("openai", __name__)

NAMES = {
    "max_tokens": ("max_tokens",),
    "min_tokens": ("min_tokens",),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p", "typical"),
    "repetition_penalty": ("repetition_penalty", "rep_pen"),
    "presence_penalty": ("presence_penalty",),
    "frequency_penalty": ("frequency_penalty",),
    "penalty_range": ("repetition_penalty_range", "rep_pen_range"),
    "logit_bias": ("logit_bias",),
    "stop": ("stop", "stopping_strings"),
    "stop_token_ids": ("stop_token_ids",),
    "include_stop": ("include_stop_str_in_output",),
    "ignore_eos": ("ignore_eos",),
    "seed": ("seed",),
    "n": ("best_of", "n"),  # as many are written
    "logprobs": ("logprobs",),
}
DEFAULTS = {"max_tokens": 16, "temperature": 1.0, "top_k": 0}
CUTS = ("truncate_prompt_tokens", "truncation_length")  # vLLM's and text-generation-webui's

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "service_unavailable",
}


def render(problem: Problem) -> tuple[int, Any]:
    status = 400 if problem.status == 422 else problem.status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return status, {
        "error": {
            "message": problem.message,
            "type": TYPES.get(status, kind),
            "param": problem.field,
            "code": problem.type,
        }
    }


# ---- continue


@openai.post("/v1/completions")
@openapi.takes(
    {
        "prompt": {"description": "A text, its token ids, or a list of either."},
        "model": words.maybe(openapi.TEXT),
        "stream": words.maybe(openapi.FLAG),
        "echo": words.maybe(openapi.FLAG),
    }
    | words.described(NAMES),
    required=("prompt",),
)
@openapi.gives("application/json", "text/event-stream")
def completions() -> Response:
    """Continue a text, as OpenAI's clients ask for it."""
    asked = _asked(words.read())
    if asked.stream:
        runs = streaming.in_turn(asked.prompts, asked.params, asked.info.name)
        first = next(runs)  # admitted before the first byte
        frames = openai_frames.stream(first, runs, asked)
        return words.streamed(runs, stream_with_context(frames))
    all_runs = streaming.collect_all(asked.prompts, asked.params, asked.info.name)
    return reply(openai_frames.whole(all_runs, asked))


def _asked(fields: Fields) -> Asked:
    words.refuse_grammars(fields)
    if fields.get("suffix"):
        raise bad_value("suffix", "suffix is not supported: GPT-2 only writes on, never between.")
    info = words.model(fields)
    prompts = [_fitting(prompt, fields, info) for prompt in words.prompts(fields, info)[0]]
    params = words.params(fields, NAMES, DEFAULTS)
    stream, echo = _flag(fields, "stream"), _flag(fields, "echo")
    n = schema.take(fields, "n", int, 1)
    _check_n(n, params.n, stream)
    schema.check_total(len(prompts), params.n, service().options)
    options = schema.take(fields, "stream_options", dict, {})
    return Asked(
        prompts=prompts,
        params=_to_the_engine(params, n, echo, _banned(fields, info)),
        info=info,
        n=n,
        logprobs=params.logprobs,
        echo=echo,
        stream=stream,
        include_usage=_flag(options, "include_usage"),
        continuous_usage=_flag(options, "continuous_usage_stats"),
    )


def _flag(fields: Fields, name: str) -> bool:
    return schema.take(fields, name, bool, False)


def _check_n(n: int, best_of: int, stream: bool) -> None:
    if n < 1:
        raise bad_value("n", f"n must be at least 1; got {n}.")
    if best_of < n:
        raise bad_value("best_of", f"best_of {best_of} is below n {n}.")
    if best_of > n and stream:
        raise bad_value("best_of", "best_of cannot be streamed: the best is known at the end only.")


def _to_the_engine(params: Params, n: int, echo: bool, banned: list[Any]) -> Params:
    """best_of needs probabilities to choose by; an echo with probabilities needs the prompt's.

    Evaluations ask for an echo and one token, and cut the last entry off: there must be one, even
    where the text ends.
    """
    scored = params.logprobs is not None or params.n > n
    return msgspec.structs.replace(
        params,
        logprobs=(params.logprobs or 0) if scored else None,
        prompt_logprobs=params.logprobs if echo else None,
        ignore_eos=params.ignore_eos or (echo and scored and params.max_tokens == 1),
        banned=banned,
    )


def _banned(fields: Fields, info: ModelInfo) -> list[Any]:
    """text-generation-webui's words: ids in a text, and whether the end of the text may come."""
    banned: list[Any] = []
    bans = schema.take(fields, "custom_token_bans", str, "")
    if bans.strip():
        ids = [id for part in bans.split(",") if (id := words.id_of(part.strip())) is not None]
        if len(ids) <= bans.count(","):
            raise bad_value("custom_token_bans", "custom_token_bans must be ids such as '11,13'.")
        banned += words.check_ids("custom_token_bans", ids, info)
    if _flag(fields, "ban_eos_token"):
        banned += info.eos_token_ids
    return banned


def _fitting(prompt: Prompt, fields: Fields, info: ModelInfo) -> Prompt:
    """A prompt that fits in the window; cut at its beginning only if the client said so."""
    window = info.n_positions
    cut = words.first(fields, CUTS)
    if isinstance(prompt, str) and cut is None and len(prompt.encode()) <= window:
        return prompt  # no token is less than a byte
    if cut is not None:
        name = next(name for name in CUTS if fields.get(name) is not None)
        cut = schema.take(fields, name, int, window)
        window = window if cut < 1 else min(cut, window)
    ids = words.tokens_of(prompt, info)
    if len(ids) <= window:
        return prompt
    if cut is None:
        raise Problem(
            400,
            "context_length_exceeded",
            f"This model's window is {window} tokens; the prompt has {len(ids)}. Shorten it, or "
            "let truncate_prompt_tokens cut its beginning off.",
            field="prompt",
        )
    return ids[-window:]


# ---- tell


@openai.get("/v1/models")
def models() -> Response:
    """The models that are served, as OpenAI's clients ask for them."""
    return reply({"object": "list", "data": [_model(info) for info in service().models().values()]})


@openai.get("/v1/models/<path:name>")
def model(name: str) -> Response:
    """One model."""
    return reply(_model(service().model(name)))


def _model(info: ModelInfo) -> dict[str, Any]:
    return {
        "id": info.name,
        "object": "model",
        "created": service().began,
        "owned_by": "continuo",
        "max_model_len": info.n_positions,
    }


@openai.post("/v1/chat/completions")
def chat() -> Response:
    """Not for this kind of model; says what is."""
    raise bad_value("messages", "This model completes text; it does not chat. Use /v1/completions.")


# ---- tokens, as vLLM says them


@openai.get("/tokenizer_info")
def tokenizer_info() -> Response:
    """The special tokens, for evaluations that let the server do the tokenizing."""
    info = service().model()
    eos, bos = (
        service().engine.detokenize([id]) for id in (info.eos_token_ids[0], info.bos_token_id)
    )
    return reply({"eos_token": eos, "bos_token": bos, "pad_token": eos})


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with a prompt."""
    info = words.model(fields)
    ids = words.tokens_of(words.text(fields, "prompt"), info)
    return reply({"count": len(ids), "max_model_len": info.n_positions, "tokens": ids})
