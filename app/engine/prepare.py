"""What a caller sent -> a Request, or the sentence that says why not.

Runs in the caller's thread: reads only what never changes.
"""

import dataclasses
import secrets
from collections.abc import Callable, Sequence

from app.gpt2 import Config, TokenizerError, sampling

from .completion import Event
from .parameters import MAX_SEED, InvalidParams, Params
from .request import End, Request, Row
from .text import TextStream
from .vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Prompt:
    ids: list[int]  # what the model sees, a window at most
    heal: bytes  # taken back from the end
    n_tokens: int  # before anything was dropped or taken back
    n_dropped: int
    context_start: int


def prepare(
    prompt: str | Sequence[int],
    params: Params,
    config: Config,
    vocabulary: Vocabulary,
    id: str,
    put: Callable[[Event], None],
    now: float,
    max_time: float,
) -> Request:
    read = _read_prompt(prompt, params, config, vocabulary)
    if params.max_time is not None:
        max_time = min(max_time, params.max_time)
    request = Request(
        id=id,
        params=params,
        put=put,
        submitted=now,
        deadline=now + max_time,
        prompt_tokens=read.n_tokens,
        n_dropped=read.n_dropped,
        context_start=read.context_start,
        ends=_ends(params, config, vocabulary),
        banned=_banned(params, vocabulary),
    )
    _check_ids("logit_bias", params.logit_bias, vocabulary)
    if len({*request.banned, *request.ends}) >= vocabulary.n_tokens:
        raise InvalidParams("banned", "banned leaves no token that could be written.")
    seed = secrets.randbelow(MAX_SEED + 1) if params.seed is None else params.seed
    request.rows = [
        Row(
            request=request,
            choice=k,
            seed=sampling.row_seed(seed, k),
            ids=list(read.ids),
            text=TextStream(params.stop, params.include_stop),
            heal=read.heal,
        )
        for k in range(params.n)
    ]
    return request


def _read_prompt(
    prompt: str | Sequence[int], params: Params, config: Config, vocabulary: Vocabulary
) -> Prompt:
    heal, starts = b"", None
    if isinstance(prompt, str):
        try:
            ids, offsets = vocabulary.tokenizer.encode_with_offsets(prompt)
        except TokenizerError as error:
            raise InvalidParams("prompt", str(error)) from None
        starts = [start for start, _ in offsets]
    else:
        ids = list(prompt)
        _check_ids("prompt", ids, vocabulary)
    ids = ids or [config.bos_token_id]
    n_tokens = len(ids)
    if starts and n_tokens > 1 and params.healing and params.prompt_logprobs is None:
        heal = vocabulary.heal(ids[-1])
        ids = ids[:-1] if heal else ids
    n_dropped = max(0, len(ids) - config.n_positions)
    context_start = starts[n_dropped] if starts else 0
    return Prompt(ids[n_dropped:], heal, n_tokens, n_dropped, context_start)


def _ends(params: Params, config: Config, vocabulary: Vocabulary) -> dict[int, End]:
    ends = {}
    if not params.ignore_eos:
        ends = {id: End("end_of_text", None) for id in config.eos_token_ids}
    _check_ids("stop_token_ids", params.stop_token_ids, vocabulary)
    ends |= {id: End("stop", id) for id in params.stop_token_ids}
    specials = vocabulary.tokenizer.specials
    return ends | {specials[text]: End("stop", text) for text in params.stop if text in specials}


def _banned(params: Params, vocabulary: Vocabulary) -> list[int]:
    ids = []
    for token in params.banned:
        if isinstance(token, str):
            coded = vocabulary.tokenizer.encode(token)
            if len(coded) != 1:
                raise InvalidParams(
                    "banned", f"banned text {token!r} is {len(coded)} tokens; it must be one."
                )
            ids += coded
        else:
            ids.append(token)
    _check_ids("banned", ids, vocabulary)
    return ids


def _check_ids(field: str, ids: Sequence[int] | dict, vocabulary: Vocabulary) -> None:
    for id in ids:
        if not 0 <= id < vocabulary.n_tokens:
            raise InvalidParams(
                field,
                f"{field} holds {id}; this model's tokens are 0 to {vocabulary.n_tokens - 1}.",
            )
