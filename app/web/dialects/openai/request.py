"""What a body asks of POST /v1/completions."""

import secrets
import time
from typing import Any

import msgspec

from app.engine import ModelInfo, Params

from ...body.fields import check_total, seen, take
from ...errors import Problem, bad_value
from ...run.run import Prompt
from .. import shared
from ..shared import Fields

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
    "n": ("best_of", "n"),  # generate best_of, return n
    "logprobs": ("logprobs",),
    "banned": ("bad_words",),
    "banned_phrases": ("banned_strings",),
    "no_repeat_ngram": ("no_repeat_ngram_size",),
    **shared.MODERN,
}
DEFAULTS = {"max_tokens": 16, "temperature": 1.0, "top_k": 0}
CUTS = ("truncate_prompt_tokens", "truncation_length")  # vLLM's and text-generation-webui's

# Fields that would change the text in a way we do not support are refused, never ignored.
REFUSED = {
    "suffix": "GPT-2 writes only at the end of a text",
    "allowed_token_ids": "ban the others with logit_bias",
    "use_beam_search": "use `continuo generate --beams`",
    "prompt_logprobs": "send echo and logprobs",
    "prompt_embeds": "send the text or its token ids",
}


class CompletionRequest(msgspec.Struct):
    prompts: list[Prompt]
    params: Params  # n is best_of
    info: ModelInfo
    n: int  # how many continuations to return
    logprobs: int | None
    fronts: list[str]  # with echo, each prompt; else empty
    echo: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    id: str = msgspec.field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = msgspec.field(default_factory=lambda: int(time.time()))


def read(fields: Fields) -> CompletionRequest:
    shared.refuse_grammars(fields)
    for name, advice in REFUSED.items():
        if fields.get(name) not in (None, False, "", []):
            raise bad_value(name, f"{name} is not supported: {advice}.")
    info = shared.model(fields)
    # Without a prompt OpenAI writes from nothing.
    body = fields if fields.get("prompt") is not None else {"prompt": ""}
    prompts = [_fitting(prompt, fields, info) for prompt in shared.prompts(body, info)[0]]
    params = shared.params(fields, NAMES, DEFAULTS)
    stream, echo = _flag(fields, "stream"), _flag(fields, "echo")
    n = take(fields, "n", int, 1)
    _check_n(n, params.n, stream)
    check_total(len(prompts), params.n)
    options = take(fields, "stream_options", dict, {})
    return CompletionRequest(
        prompts=prompts,
        params=_to_the_engine(params, n, echo, params.banned + _banned(fields, info)),
        info=info,
        n=n,
        logprobs=params.logprobs,
        fronts=[shared.text_of(prompt, info) if echo else "" for prompt in prompts],
        echo=echo,
        stream=stream,
        include_usage=_flag(options, "include_usage"),
        continuous_usage=_flag(options, "continuous_usage_stats"),
    )


def _flag(fields: Fields, name: str) -> bool:
    return take(fields, name, bool, False)


def _check_n(n: int, best_of: int, stream: bool) -> None:
    if n < 1:
        raise bad_value("n", f"n must be at least 1; got {n}.")
    if best_of < n:
        raise bad_value("best_of", f"best_of {best_of} is below n {n}.")
    if best_of > n and stream:
        raise bad_value("best_of", "best_of cannot be streamed: the best is known only at the end.")


def _to_the_engine(params: Params, n: int, echo: bool, banned: list[Any]) -> Params:
    """best_of needs probabilities to choose by; echo with probabilities needs the prompt's.

    Evaluations ask for an echo and one token, and drop the last entry, so there must be one even if
    the text ends at once.
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
    """text-generation-webui's fields: ids in a string, and whether the text may end."""
    banned: list[Any] = []
    bans = take(fields, "custom_token_bans", str, "")
    if bans.strip():
        ids = [id for part in bans.split(",") if (id := shared.id_of(part.strip())) is not None]
        if len(ids) <= bans.count(","):
            raise bad_value(
                "custom_token_bans",
                f"custom_token_bans must be ids such as '11,13'; got {seen(bans)}.",
            )
        banned += shared.check_ids("custom_token_bans", ids, info)
    if _flag(fields, "ban_eos_token"):
        banned += info.eos_token_ids
    return banned


def _fitting(prompt: Prompt, fields: Fields, info: ModelInfo) -> Prompt:
    """A prompt that fits in the window; cut only by truncate_prompt_tokens."""
    window = info.n_positions
    cut = shared.first(fields, CUTS)
    if isinstance(prompt, str) and cut is None and len(prompt.encode()) <= window:
        return prompt  # a token has at least a byte
    if cut is not None:
        name = next(name for name in CUTS if fields.get(name) is not None)
        cut = take(fields, name, int, window)
        window = window if cut < 1 else min(cut, window)
    ids = shared.tokens_of(prompt, info)
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
