"""The web's settings: who may come in, sizes, and timeouts.

`continuo serve --help` prints the descriptions. Imports no Flask.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class WebOptions(msgspec.Struct, frozen=True, kw_only=True):
    # ---- who may come in
    api_keys: Annotated[
        tuple[str, ...], Meta(description="Accepted API keys; empty: no key is needed.")
    ] = ()
    api_key_file: Annotated[
        str | None, Meta(description="A file of API keys, one on each line.")
    ] = None
    limit_per_key: Annotated[
        str | None, Meta(description="Rate of continuations for one key, such as 60/minute.")
    ] = None
    limit_per_address: Annotated[
        str | None, Meta(description="Rate of continuations for one address, such as 60/minute.")
    ] = None
    running_per_key: Annotated[
        Count | None, Meta(description="Continuations that may run at once for one key.")
    ] = None
    running_per_address: Annotated[
        Count | None,
        Meta(description="The same for one address or IPv6 /64; this machine itself has no limit."),
    ] = 32
    limit_storage: Annotated[
        str,
        Meta(
            description="Where limits are counted: a storage of the limits library, or sqlite:///path."
        ),
    ] = "memory://"
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Host names to answer to on loopback; *.example.org: all below it, *: any."
        ),
    ] = ()
    origins: Annotated[
        tuple[str, ...], Meta(description="Origins whose pages may call this server; *: all.")
    ] = ()
    frames: Annotated[
        tuple[str, ...],
        Meta(
            description="Sites that may show the page in a frame, such as https://huggingface.co."
        ),
    ] = ()
    proxies: Annotated[
        int,
        Meta(
            ge=0,
            description="Proxies in front of the server whose X-Forwarded-* headers are trusted.",
        ),
    ] = 0
    # ---- sizes
    max_body: Annotated[Count, Meta(description="Most bytes in a request's body.")] = 4_000_000
    max_prompt: Annotated[Count, Meta(description="Most characters in a prompt.")] = 1_000_000
    max_prompts: Annotated[
        Count, Meta(description="Most prompts, or continuations to score, in a list.")
    ] = 128
    max_total: Annotated[
        Count, Meta(description="Most continuations of one request: prompts times n.")
    ] = 512
    # ---- connections and words
    ping: Annotated[
        Seconds, Meta(description="Seconds of silence after which a stream sends a sign of life.")
    ] = 15.0
    patience: Annotated[
        Seconds, Meta(description="Seconds until a stalled connection is closed.")
    ] = 60.0
    grace: Annotated[
        Seconds, Meta(description="Seconds that running streams get when the server stops.")
    ] = 30.0
    log: Annotated[
        Literal["human", "json"],
        Meta(description="The log's format: one line per request, for people or machines."),
    ] = "human"
    log_prompts: Annotated[bool, Meta(description="Log prompts too.")] = False
    traces: Annotated[
        str | None,
        Meta(description="Where to send traces, such as http://host:4318/v1/traces."),
    ] = None

    def __post_init__(self) -> None:
        for limit in (self.limit_per_key, self.limit_per_address):
            if limit is not None:
                from limits import parse_many  # a slow import that few need

                parse_many(limit)  # raises a ValueError that says why
