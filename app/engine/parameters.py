"""Everything a request may ask of the engine: one table.

Validator, REST, page, docs and command line all read it. `Params` is the table: a field's
annotation holds its bounds, the value that switches it off, and its one line of help. `PARAMETERS`
is the same as data. Imports no torch.
"""

import dataclasses
import typing
from typing import Annotated, Any

import msgspec

MAX_SEED = 2**53 - 1  # the largest integer that JSON and JavaScript carry exactly


class InvalidParams(ValueError):
    """A parameter out of its bounds: `field` names it, the message says what it may be."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclasses.dataclass(frozen=True)
class Parameter:
    name: str
    type: str  # int, float, bool, or a list or mapping of them, in words
    default: Any
    low: float | None  # the least and the greatest value, both allowed
    high: float | None
    neutral: Any  # the value that switches it off; None where there is none
    help: str


@dataclasses.dataclass(frozen=True)
class _Says:
    """What an annotation of Params says besides the type."""

    help: str
    low: float | None = None
    high: float | None = None
    neutral: Any = None


class Params(msgspec.Struct, frozen=True, kw_only=True):
    max_tokens: Annotated[
        int | None, _Says("Most tokens to write; null goes on until stopped.", 0, 1_000_000)
    ] = 128
    min_tokens: Annotated[
        int, _Says("Fewest tokens before an end is allowed; 0 = off.", 0, 1_000_000, 0)
    ] = 0
    temperature: Annotated[
        float, _Says("How bold: 0 takes the likeliest, 1 the model's own odds.", 0, 5, 1)
    ] = 0.7
    top_k: Annotated[
        int, _Says("Choose among the k likeliest tokens; 0 = off.", 0, 1_000_000, 0)
    ] = 40
    top_p: Annotated[
        float, _Says("Choose among the likeliest that together reach p; 1 = off.", 0, 1, 1)
    ] = 1.0
    min_p: Annotated[
        float, _Says("Drop tokens below this share of the likeliest's odds; 0 = off.", 0, 1, 0)
    ] = 0.0
    typical_p: Annotated[
        float, _Says("Keep the tokens of typical surprise that reach p; 1 = off.", 0, 1, 1)
    ] = 1.0
    repetition_penalty: Annotated[
        float, _Says("Divides the score of tokens already in the text; 1 = off.", 0.01, 10, 1)
    ] = 1.0
    presence_penalty: Annotated[
        float, _Says("Taken once from the score of tokens already written; 0 = off.", -10, 10, 0)
    ] = 0.0
    frequency_penalty: Annotated[
        float,
        _Says("Taken from a token's score for each time it was written; 0 = off.", -10, 10, 0),
    ] = 0.0
    penalty_range: Annotated[
        int, _Says("How many latest tokens the penalties look at; 0 = all.", 0, 1_000_000, 0)
    ] = 0
    logit_bias: Annotated[
        dict[int, float], _Says("Added to the score of tokens, by id.", -100, 100)
    ] = {}
    banned: Annotated[
        list[int | str], _Says("Tokens never to write: ids, or texts of one token.")
    ] = []
    stop: Annotated[list[str], _Says("Texts that end the continuation.")] = []
    stop_token_ids: Annotated[list[int], _Says("Tokens that end the continuation, by id.")] = []
    include_stop: Annotated[bool, _Says("Keep the stop text in the result.", neutral=False)] = False
    ignore_eos: Annotated[bool, _Says("Go on past the end-of-text token.", neutral=False)] = False
    seed: Annotated[
        int | None, _Says("Same seed, same text; null draws one and reports it.", 0, MAX_SEED)
    ] = None
    n: Annotated[int, _Says("How many continuations of the same prompt.", 1, 64)] = 1
    logprobs: Annotated[
        int | None,
        _Says("Report log-probabilities, with this many alternatives; null = off.", 0, 50),
    ] = None
    prompt_logprobs: Annotated[
        int | None, _Says("The same for the prompt's own tokens; null = off.", 0, 50)
    ] = None
    max_time: Annotated[
        float | None,
        _Says("Most seconds to spend, waiting included; null = the server's.", 0.01, 86_400),
    ] = None
    healing: Annotated[
        bool,
        _Says("Let the first token also complete a word cut at the prompt's end.", neutral=False),
    ] = True


def _read_table() -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(Params, include_extras=True)
    defaults = {f.name: getattr(Params(), f.name) for f in msgspec.structs.fields(Params)}
    rows = []
    for name, hint in hints.items():
        said: _Says = hint.__metadata__[0]
        words = str(
            hint.__origin__.__name__ if isinstance(hint.__origin__, type) else hint.__origin__
        )
        rows.append(
            Parameter(
                name,
                words.replace("None", "null"),
                defaults[name],
                said.low,
                said.high,
                said.neutral,
                said.help,
            )  # fmt: skip
        )
    return tuple(rows)


PARAMETERS = _read_table()
