"""Turn what a caller sent into a Request, or raise InvalidParams.

Runs in the caller's thread, so it reads only what never changes.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from app.gpt2 import MAX_SEED, Config, TokenizerError, row_seed

from ..completion import Event
from ..parameters import InvalidParams, Params
from .cache import page_keys
from .phrases import Phrases
from .request import End, Request, Row
from .vocabulary import Vocabulary
from .written import Heal, Written


class Prompt(NamedTuple):
    ids: list[int]
    starts: list[int] | None  # of each id, its first character; None for a prompt of ids


def prepare(
    prompt: str | Sequence[int],
    params: Params,
    config: Config,
    vocabulary: Vocabulary,
    id: str,
    put: Callable[[Event], None],
    now: float,
    max_time: float,
    told_before: Sequence[Sequence[int]] = (),
) -> Request:
    read = _read_prompt(prompt, config, vocabulary)
    ends, banned = _ends(params, config, vocabulary), _banned(params, vocabulary)
    _check_ids("logit_bias", params.logit_bias, vocabulary)
    if len({*banned, *ends}) >= vocabulary.n_tokens:
        raise InvalidParams("banned", "banned leaves no token to write; ban fewer.")
    wants_healing = params.healing and params.prompt_logprobs is None and bool(read.starts)
    heal = _heal(read.ids, ends, banned, vocabulary) if wants_healing else None
    ids = read.ids[:-1] if heal else read.ids
    n_dropped = max(0, len(ids) - config.n_positions)
    n_kept = min(params.keep, config.n_positions // 2) if n_dropped else 0
    ids = ids[:n_kept] + ids[n_kept + n_dropped :]
    if params.max_time is not None:
        max_time = min(max_time, params.max_time)
    request = Request(
        id=id,
        params=params,
        put=put,
        submitted=now,
        deadline=now + max_time,
        prompt_tokens=len(read.ids),
        n_dropped=n_dropped,
        context_start=read.starts[n_kept + n_dropped] if read.starts else 0,
        ends=ends,
        banned=banned,
        keys=page_keys(ids),
        phrases=Phrases(params.banned_phrases) if params.banned_phrases else None,
        is_breaker=vocabulary.containing(params.dry_breakers) if params.dry_multiplier else None,
    )
    seed = secrets.randbelow(MAX_SEED + 1) if params.seed is None else params.seed
    request.rows = [
        Row(
            request=request,
            choice=k,
            seed=row_seed(seed, k),
            ids=list(ids),
            written=Written(params, request.phrases, heal),
            told_before=list(told),
        )
        for k, told in zip(range(params.n), told_before or [()] * params.n, strict=True)
    ]
    return request


def _read_prompt(prompt: str | Sequence[int], config: Config, vocabulary: Vocabulary) -> Prompt:
    if isinstance(prompt, str):
        try:
            ids, offsets = vocabulary.tokenizer.encode_with_offsets(prompt)
        except TokenizerError as error:
            raise InvalidParams("prompt", str(error)) from None
        return Prompt(ids or [config.bos_token_id], [start for start, _ in offsets])
    _check_ids("prompt", prompt, vocabulary)
    return Prompt(list(prompt) or [config.bos_token_id], None)


def _heal(
    ids: list[int], ends: Collection[int], banned: Collection[int], vocabulary: Vocabulary
) -> Heal | None:
    """The prompt's last token, if another that begins alike may be drawn in its place."""
    id, data = ids[-1], vocabulary.bytes_of(ids[-1])
    if len(ids) == 1 or not data or id in vocabulary.tokenizer.specials.values():
        return None
    allowed = [other for other in vocabulary.agreeing(data).tolist() if other not in banned]
    if all(other == id or other in ends for other in allowed):
        return None
    return Heal(id, data, np.array(allowed))


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
