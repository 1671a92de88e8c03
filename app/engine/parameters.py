"""Everything a request may ask of the engine, in one table.

The validator, the APIs, the page, the documents and the command line read it. In `Params`, a
field's annotation holds its bounds, the value that switches it off and its line of help;
`PARAMETERS` is the same as data. Imports no torch.
"""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from app.gpt2 import MAX_SEED

MAX_ID = 2**31 - 1  # of any token; the engine knows which a model has
MAX_STOP_LENGTH = 1000  # characters of one stop text


class InvalidParams(ValueError):
    """A parameter out of bounds: `field` names it, the message says what is allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclasses.dataclass(frozen=True)
class Parameter:
    name: str
    type: str  # such as "int", "float | null", "list[str]"
    default: Any
    low: float | None  # the least and greatest value allowed
    high: float | None
    neutral: Any  # the value that switches it off; None: it has none
    help: str
    max_items: int | None = None  # of a list or mapping


@dataclasses.dataclass(frozen=True)
class _Says:
    """What an annotation of Params holds besides the type."""

    help: str
    low: float | None = None
    high: float | None = None
    neutral: Any = None
    max_items: int | None = None


class Params(msgspec.Struct, frozen=True, kw_only=True):
    max_tokens: Annotated[
        int | None, _Says("The most tokens to write; null writes until stopped.", 0, 1_000_000)
    ] = 128
    min_tokens: Annotated[
        int, _Says("The fewest tokens to write before an end is allowed; 0 = off.", 0, 1_000_000, 0)
    ] = 0
    temperature: Annotated[
        float,
        _Says(
            "How bold: 0 takes the likeliest, 1 the model's own probabilities.",
            0,
            5,
            1,
        ),
    ] = 0.7
    top_k: Annotated[
        int, _Says("Choose among the k likeliest tokens; 0 = off.", 0, 1_000_000, 0)
    ] = 40
    top_p: Annotated[
        float,
        _Says("Choose among the likeliest that together reach p; 1 = off.", 0, 1, 1),
    ] = 1.0
    min_p: Annotated[
        float,
        _Says(
            "Drop tokens less probable than this share of the likeliest; 0 = off.",
            0,
            1,
            0,
        ),
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
        int, _Says("How many of the latest tokens the penalties look at; 0 = all.", 0, 1_000_000, 0)
    ] = 0
    no_repeat_ngram: Annotated[
        int, _Says("Never repeat a sequence of this many tokens; 0 = off.", 0, 100, 0)
    ] = 0
    dry_multiplier: Annotated[
        float, _Says("DRY: the least that continuing a repetition costs; 0 = off.", 0, 100, 0)
    ] = 0.0
    dry_base: Annotated[
        float, _Says("DRY: the cost grows by this factor with each token repeated.", 1, 4)
    ] = 1.75
    dry_allowed_length: Annotated[
        int, _Says("DRY: repetitions shorter than this cost nothing.", 1, 1000)
    ] = 2
    dry_breakers: Annotated[
        list[str], _Says("DRY: texts that end a repetition.", neutral=[], max_items=64)
    ] = msgspec.field(default_factory=lambda: ["\n", ":", '"', "*"])
    dry_range: Annotated[
        int, _Says("DRY: how many of the latest tokens it looks at; 0 = all.", 0, 1_000_000, 0)
    ] = 0
    xtc_probability: Annotated[
        float, _Says("XTC: how often the likeliest choices are left out; 0 = off.", 0, 1, 0)
    ] = 0.0
    xtc_threshold: Annotated[
        float,
        _Says("XTC: leaves out all above this probability but the last.", 0, 1),
    ] = 0.1
    logit_bias: Annotated[
        dict[int, float],
        _Says("Added to the score of tokens, by id.", -100, 100, {}, max_items=1024),
    ] = {}
    banned: Annotated[
        list[int | str],
        _Says("Tokens never to write: ids, or texts of one token.", 0, MAX_ID, [], max_items=1024),
    ] = []
    banned_phrases: Annotated[
        list[str],
        _Says("Phrases never to write; case does not matter.", neutral=[], max_items=256),
    ] = []
    finish_sentence: Annotated[
        int, _Says("Tokens beyond max_tokens to finish a sentence; 0 = off.", 0, 1000, 0)
    ] = 0
    stop: Annotated[
        list[str], _Says("Texts that end the continuation.", neutral=[], max_items=64)
    ] = []
    stop_token_ids: Annotated[
        list[int],
        _Says("Tokens that end the continuation, by id.", 0, MAX_ID, [], max_items=64),
    ] = []
    include_stop: Annotated[bool, _Says("Keep the stop text in the result.", neutral=False)] = False
    ignore_eos: Annotated[bool, _Says("Go on past the end-of-text token.", neutral=False)] = False
    keep: Annotated[
        int,
        _Says(
            "Tokens of the prompt's beginning that stay when the window slides; 0 = none.",
            0, 1_000_000, 0,
        ),
    ] = 0  # fmt: skip
    seed: Annotated[
        int | None,
        _Says("The same seed gives the same text; null draws one and reports it.", 0, MAX_SEED),
    ] = None
    n: Annotated[int, _Says("How many continuations to write of the same prompt.", 1, 64)] = 1
    logprobs: Annotated[
        int | None,
        _Says("Report log-probabilities and this many alternatives; null = off.", 0, 50),
    ] = None
    prompt_logprobs: Annotated[
        int | None, _Says("The same for the prompt's own tokens; null = off.", 0, 50)
    ] = None
    max_time: Annotated[
        float | None,
        _Says("The most seconds to spend, waiting included; null = the server's.", 0.01, 86_400),
    ] = None
    gives_way: Annotated[
        bool,
        _Says(
            "Begin at once or not at all, and end as soon as somebody has to wait.",
            neutral=False,
        ),
    ] = False
    healing: Annotated[
        bool,
        _Says("Let the first token also complete a word cut at the prompt's end.", neutral=False),
    ] = True

    def __post_init__(self) -> None:
        for parameter in PARAMETERS:
            _check(parameter, getattr(self, parameter.name))
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidParams(
                "min_tokens", f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}."
            )


def make_params(values: Mapping[str, Any]) -> Params:
    """Params from what a caller sent, by name; InvalidParams names the field and its bound."""
    typed = {}
    for name, value in values.items():
        if name not in _TYPES:
            raise InvalidParams(name, f"There is no parameter {name!r}{_did_you_mean(name)}")
        typed[name] = _typed(name, value)
    return Params(**typed)


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name, _TYPES, 1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _typed(name: str, value: Any) -> Any:
    if (
        isinstance(value, float)
        and value.is_integer()
        and float not in typing.get_args(_TYPES[name])
    ):
        value = int(value)  # some clients write 5 as 5.0
    try:
        return msgspec.convert(value, _TYPES[name], str_keys=True)
    except msgspec.ValidationError:
        words = _WORDS[_TYPES[name]]
        raise InvalidParams(name, f"{name} must be {words}; got {value!r:.80}.") from None


def _check(parameter: Parameter, value: Any) -> None:
    """Bounds hold for the number itself, or for each number in a list or mapping."""
    name, items = parameter.name, value
    if isinstance(value, dict):
        items = list(value.values())
        for id in value:
            _check_number(name, 0, MAX_ID, id)
    elif not isinstance(value, list):
        items = [value]
    if parameter.max_items is not None and len(items) > parameter.max_items:
        raise InvalidParams(
            name, f"{name} has {len(items)} entries; at most {parameter.max_items} are allowed."
        )
    for item in items:
        if isinstance(item, str):
            _check_text(name, item)
        elif item is not None:
            _check_number(name, parameter.low, parameter.high, item)


def _check_text(name: str, text: str) -> None:
    if not 1 <= len(text) <= MAX_STOP_LENGTH:
        raise InvalidParams(
            name,
            f"{name} holds a text of {len(text)} characters; 1 to {MAX_STOP_LENGTH} are allowed.",
        )


def _check_number(name: str, low: float | None, high: float | None, value: float) -> None:
    if low is None or high is None or low <= value <= high:
        return  # written so that NaN is refused, for which no comparison holds
    raise InvalidParams(name, f"{name} must be from {low} to {high}; got {value}.")


_TYPES = typing.get_type_hints(Params)
# How a person would say each type; the keys are all the types that Params has.
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    int | None: "a whole number or null",
    float | None: "a number or null",
    dict[int, float]: "a mapping of token ids to numbers",
    list[int]: "a list of token ids",
    list[str]: "a list of texts",
    list[int | str]: "a list of token ids or texts",
}


def _type_name(hint: Any) -> str:
    """int -> "int", int | None -> "int | null", dict[int, float] -> "dict[int, float]"."""
    return hint.__name__ if hint in (int, float, bool) else str(hint).replace("None", "null")


def _read_table() -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(Params, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(Params):
        says: _Says = hints[field.name].__metadata__[0]
        default = field.default
        if default is msgspec.NODEFAULT:
            default = field.default_factory()  # type: ignore[operator]
        rows.append(
            Parameter(
                name=field.name,
                type=_type_name(_TYPES[field.name]),
                default=default,
                low=says.low,
                high=says.high,
                neutral=says.neutral,
                help=says.help,
                max_items=says.max_items,
            )
        )
    return tuple(rows)


PARAMETERS = _read_table()
