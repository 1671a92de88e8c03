"""Every setting: what `continuo serve --help` shows and CONTINUO_* may set.

Only this module reads the environment. A bad value raises a SettingsError that names its variable.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from app.web import Count, Seconds, WebOptions

PREFIX = "CONTINUO_"


# What --public sets, unless those are set too.
PUBLIC: dict[str, Any] = {"hosts": ("*",), "proxies": 1}
PUBLIC_LIMIT = "30/minute"  # continuations for one address, if no key is needed


class SettingsError(ValueError):
    """A setting with a bad value, in one sentence that names it."""


class Settings(WebOptions, frozen=True, kw_only=True):
    """The settings of the engine and the server; those of the web are in WebOptions."""

    models: Annotated[
        tuple[str, ...],
        Meta(description="Names in models/ or paths, the default one first."),
    ] = ()
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0 takes a free one.")] = 5000
    public: Annotated[
        bool,
        Meta(
            description="For anybody, behind a tunnel or a Space: any host name, one proxy, and a "
            "limit for each address unless keys are set."
        ),
    ] = False
    workers: Annotated[
        Count, Meta(description="Web processes; they share one copy of the model.")
    ] = 1
    # ---- the engine
    engine: Annotated[
        Literal["process", "ray"],
        Meta(description="Where the engine runs: in a process of this server, or on Ray Serve."),
    ] = "process"
    backend: Annotated[
        Literal["auto", "native", "torch"],
        Meta(description="What does the arithmetic."),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"],
        Meta(description="Precision of the weights; auto: bfloat16 on a GPU, else int8."),
    ] = "auto"
    threads: Annotated[
        Count | None, Meta(description="Threads that compute; unset: as many as cores.")
    ] = None
    cache_mb: Annotated[Count, Meta(description="MiB of memory for what the models have read.")] = (
        512
    )
    max_running: Annotated[
        Count, Meta(description="Continuations that run at once in one model.")
    ] = 64
    max_queue: Annotated[Count, Meta(description="Requests that may wait for one model.")] = 64
    max_wait: Annotated[
        Seconds, Meta(description="Seconds; a request that would wait longer is refused.")
    ] = 60.0
    max_time: Annotated[Seconds, Meta(description="The most seconds that a request may take.")] = (
        600.0
    )
    cache: Annotated[
        str | None,
        Meta(
            description="Folder for the compiled kernel and int8 weights; unset: the user's cache."
        ),
    ] = None
    runtime: Annotated[
        str | None, Meta(description="Folder for the engine's socket; unset: XDG_RUNTIME_DIR.")
    ] = None


class Setting(NamedTuple):
    """One row of the table above, as data."""

    name: str
    variable: str
    type: Any
    default: Any
    help: str


def _read_table() -> tuple[Setting, ...]:
    rows = []
    hints, plain = get_type_hints(Settings, include_extras=True), get_type_hints(Settings)
    fields = msgspec.structs.fields(Settings)
    # ours first: people look for where to listen and what to serve
    for field in sorted(fields, key=lambda field: field.name in WebOptions.__struct_fields__):
        help = next(m.description for m in get_args(hints[field.name]) if _describes(m))
        variable = PREFIX + field.name.upper()
        rows.append(Setting(field.name, variable, plain[field.name], field.default, help))
    return tuple(rows)


def _describes(meta: object) -> bool:
    return isinstance(meta, Meta) and meta.description is not None


SETTINGS = _read_table()


def read_settings(
    given: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """From the command line, else CONTINUO_*, else the defaults."""
    environ = os.environ if environ is None else environ
    given = {} if given is None else given
    values = _of_this_user(environ)
    for row in SETTINGS:
        value, name = given.get(row.name), "--" + row.name.replace("_", "-")
        if value is None and row.variable in environ:
            value, name = environ[row.variable], row.variable
        if value is not None:
            values[row.name] = _convert(row, name, value)
    if values.get("public"):
        values = PUBLIC | values
    settings = _with_keys_from_file(Settings(**values))
    if settings.public and not settings.api_keys and settings.limit_per_address is None:
        settings = msgspec.structs.replace(settings, limit_per_address=PUBLIC_LIMIT)
    for name in ("limit_per_key", "running_per_key"):
        if getattr(settings, name) is not None and not settings.api_keys:
            raise SettingsError(
                f"{PREFIX}{name.upper()} needs keys; set {PREFIX}API_KEYS, or "
                f"{PREFIX}{name.upper().replace('KEY', 'ADDRESS')}."
            )
    return settings


def _of_this_user(environ: Mapping[str, str]) -> dict[str, Any]:
    """Defaults that differ between users: folders that desktops and systemd name."""
    cache = environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime is not None and not os.access(runtime, os.W_OK):
        runtime = None  # another user's, as after `su`, or removed at logout
    return {"cache": f"{cache}/continuo", "runtime": runtime}


def _convert(row: Setting, name: str, value: Any) -> Any:
    if row.type == tuple[str, ...] and isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        whole = msgspec.convert({row.name: value}, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{name} must be {_expected(row, str(error))}; got {value!r}. ({row.help})"
        ) from None
    return getattr(whole, row.name)


def _expected(row: Setting, reason: str) -> str:
    """What may stand there, as a person would say it: a bound if `reason` names one."""
    if get_origin(row.type) is Literal:
        return " or ".join(get_args(row.type))
    if row.name.startswith("limit_per_"):
        return "a rate such as 60/minute"
    kind = next(
        (word for type, word in _WORDS.items() if row.type in (type, type | None)), "a text"
    )
    bound = _BOUND.search(reason)
    return kind if bound is None else f"{kind}, {_RELATIONS[bound[1]]} {float(bound[2]):g}"


_WORDS = {bool: "true or false", int: "a whole number", float: "a number"}
_BOUND = re.compile(r"(>=|<=|>|<) (\d+\.?\d*)")  # as in msgspec's "Expected `int` <= 65535"
_RELATIONS = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}


def _with_keys_from_file(settings: Settings) -> Settings:
    path = settings.api_key_file
    if path is None:
        return settings
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"The key file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"The key file {path} is not text in UTF-8.") from None
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys:
        raise SettingsError(f"The key file {path} holds no key; write one on each line.")
    return msgspec.structs.replace(settings, api_keys=settings.api_keys + keys)


def wants_no_color(environ: Mapping[str, str] | None = None) -> bool:
    """Whether NO_COLOR is set and not empty; see no-color.org."""
    return bool((os.environ if environ is None else environ).get("NO_COLOR"))


def as_environment(given: Mapping[str, Any]) -> dict[str, str]:
    """The environment for a process that must read these same settings."""
    variables = {
        row.variable: ",".join(value) if isinstance(value, tuple) else str(value)
        for row in SETTINGS
        if (value := given.get(row.name)) is not None
    }
    return dict(os.environ) | variables
