"""/v1/chat/completions, for models that write scripts: messages become lines of a script, and the
answer is the next speaker's line.

    {"role": "user", "content": "Hi!"}  ->  JOEY: Hi!
                                            ROSS:

The model's card names the speakers: the first is the user, the second the assistant, unless a
message has a `name`. The answer ends where another line begins.
"""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import Ended, Failed, ModelInfo, Params, Started, Token

from ...body.fields import check_count, seen, take
from ...errors import bad_value, failed
from ...run.run import Choice, Run
from ...run.stream import Frames, each
from .. import shared
from ..shared import Fields
from .reply import DONE, REASONS, Consumed, error_frame, usage_of
from .request import DEFAULTS, NAMES

CHAT_NAMES = {
    name: theirs for name, theirs in NAMES.items() if name not in ("n", "logprobs", "max_tokens")
} | {"n": ("n",), "max_tokens": ("max_completion_tokens", "max_tokens")}
REFUSED = ("tools", "functions", "logprobs", "top_logprobs", "modalities", "audio")

NO_SCRIPT = (
    "This model completes text; it does not chat. Use /v1/completions, or name speakers in its "
    "card.toml if it writes scripts."
)


class ChatRequest(msgspec.Struct):
    prompt: str
    params: Params
    info: ModelInfo
    stream: bool
    include_usage: bool
    id: str = msgspec.field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = msgspec.field(default_factory=lambda: int(time.time()))


class Line(msgspec.Struct):
    """A message as a line of the script. Without a speaker: a note before the script."""

    speaker: str | None
    text: str


# ---- reading


def read(fields: Fields) -> ChatRequest:
    info = shared.model(fields)
    card = info.card or {}
    speakers = [name.rstrip().rstrip(":") for name in card.get("speakers", [])]
    if not speakers:
        raise bad_value("messages", NO_SCRIPT)
    shared.refuse_grammars(fields)
    for name in REFUSED:
        if fields.get(name) not in (None, False, [], 0):
            raise bad_value(name, f"{name} is not supported: the answer is a line of text.")
    lines = _lines(fields, speakers)
    answering = _answering(lines, speakers)
    options = take(fields, "stream_options", dict, {})
    return ChatRequest(
        prompt=_transcript(lines, answering),
        params=_params(fields, card, _stops(lines, speakers)),
        info=info,
        stream=take(fields, "stream", bool, False),
        include_usage=take(options, "include_usage", bool, False),
    )


def _lines(fields: Fields, speakers: list[str]) -> list[Line]:
    messages = take(fields, "messages", list, [])
    check_count("messages", len(messages))
    return [_line(message, speakers) for message in messages]


def _line(message: Any, speakers: list[str]) -> Line:
    if not isinstance(message, dict):
        raise bad_value(
            "messages", f"A message is an object with role and content; got {seen(message)}."
        )
    role, text = message.get("role"), _text(message.get("content"))
    name = " ".join(take(message, "name", str, "").split())
    if role in ("system", "developer"):
        return Line(name or None, text)
    if role == "user":
        return Line(name or speakers[0], text)
    if role == "assistant":
        return Line(name or speakers[min(1, len(speakers) - 1)], text)
    raise bad_value("messages", f"role must be system, user or assistant; got {seen(role)}.")


def _text(content: Any) -> str:
    """A text, or OpenAI's list of parts."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts
    ):
        raise bad_value("messages", f"content must be a text; got {seen(content)}.")
    return " ".join("".join(part["text"] for part in parts).splitlines()).strip()  # one line


def _answering(lines: list[Line], speakers: list[str]) -> str:
    """The assistant's last name; else the second speaker, or whoever did not speak last."""
    last = next((line.speaker for line in reversed(lines) if line.speaker), None)
    usual = speakers[min(1, len(speakers) - 1)]
    return usual if usual != last else next((s for s in speakers if s != last), usual)


def _transcript(lines: list[Line], answering: str) -> str:
    script = [
        f"{line.speaker}: {line.text}" if line.speaker else f"{line.text}\n" for line in lines
    ]
    return "\n".join([*script, f"{answering}:"])


def _stops(lines: list[Line], speakers: list[str]) -> list[str]:
    """What begins another line, for any speaker."""
    names = dict.fromkeys([*speakers, *(line.speaker for line in lines if line.speaker)])
    return [f"\n{name}:" for name in names][:48]


def _params(fields: Fields, card: dict[str, Any], stops: list[str]) -> Params:
    own = {name: value for name, value in card.get("settings", {}).items() if name in CHAT_NAMES}
    params = shared.params(fields, CHAT_NAMES, DEFAULTS | {"max_tokens": 128} | own)
    stop = [*stops, *card.get("stop", []), *params.stop]
    return msgspec.structs.replace(params, stop=stop[:64])


# ---- saying


class ChatMessage(msgspec.Struct):
    content: str | UnsetType = UNSET
    role: str | UnsetType = UNSET


class ChatChoice(msgspec.Struct, kw_only=True):
    index: int
    message: ChatMessage | UnsetType = UNSET
    delta: ChatMessage | UnsetType = UNSET
    finish_reason: str | None = None


class ChatCompletion(msgspec.Struct, kw_only=True):
    """A whole answer, or a chunk of one."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Consumed | None | UnsetType = UNSET


def whole(run: Run, wanted: ChatRequest) -> ChatCompletion:
    completion = _completion(wanted, "chat.completion", [_choice(c) for c in run.choices])
    completion.usage = usage_of([run])
    return completion


def _choice(choice: Choice) -> ChatChoice:
    return ChatChoice(
        index=choice.index,
        message=ChatMessage(choice.text.strip(), "assistant"),
        finish_reason=REASONS[choice.reason or "cancelled"],
    )


def _completion(wanted: ChatRequest, kind: str, choices: list[ChatChoice]) -> ChatCompletion:
    return ChatCompletion(
        id=wanted.id, object=kind, created=wanted.created, model=wanted.info.name, choices=choices
    )


def stream(run: Run, wanted: ChatRequest) -> Iterator[bytes]:
    yield from each(run, Deltas(run, wanted))
    if wanted.include_usage and run.failure is None:
        chunk = _completion(wanted, "chat.completion.chunk", [])
        chunk.usage = usage_of([run])
        yield shared.data(chunk)
    yield DONE


class Deltas(Frames):
    def __init__(self, run: Run, wanted: ChatRequest) -> None:
        self._wanted = wanted
        # Of each: whether the space after the speaker's name has been removed.
        self._is_begun = [False for _ in run.choices]

    def started(self, event: Started) -> bytes:
        roles = (ChatMessage("", "assistant") for _ in self._is_begun)
        return b"".join(self._chunk(index, delta) for index, delta in enumerate(roles))

    def token(self, event: Token) -> bytes:
        text = self._trim(event.choice, event.text)
        return self._chunk(event.choice, ChatMessage(text)) if text else b""

    def ended(self, event: Ended) -> bytes:
        text = self._trim(event.choice, event.text)
        delta = ChatMessage(text) if text else ChatMessage()
        return self._chunk(event.choice, delta, finish_reason=REASONS[event.reason])

    def failed(self, event: Failed) -> bytes:
        return error_frame(failed(event))

    def _trim(self, index: int, text: str) -> str:
        if not self._is_begun[index]:
            text = text.lstrip()
            self._is_begun[index] = bool(text)
        return text

    def _chunk(self, index: int, delta: ChatMessage, finish_reason: str | None = None) -> bytes:
        choice = ChatChoice(index=index, delta=delta, finish_reason=finish_reason)
        return shared.data(_completion(self._wanted, "chat.completion.chunk", [choice]))
