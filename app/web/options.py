"""What an operator may set: who may come in, how large, how patient. Settings adds the sources.

Each field's description is what `continuo serve --help` prints. Imports no Flask.
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
    api_key_file: Annotated[str | None, Meta(description="A file of keys, one on a line.")] = None
    limit_per_key: Annotated[
        str | None, Meta(description="Continuations for one key, such as 60/minute.")
    ] = None
    limit_per_address: Annotated[
        str | None, Meta(description="Continuations for one address, such as 60/minute.")
    ] = None
    running_per_key: Annotated[
        Count | None, Meta(description="Continuations that one key may have at a time.")
    ] = None
    running_per_address: Annotated[
        Count | None,
        Meta(description="The same for one address, or one IPv6 /64; this machine's own is free."),
    ] = 32
    limit_storage: Annotated[
        str,
        Meta(
            description="Where limits are counted, as the limits library has it, or sqlite:///path."
        ),
    ] = "memory://"
    hosts: Annotated[
        tuple[str, ...],
        Meta(description="Host names to answer to on loopback; *.example.org: all below, *: any."),
    ] = ()
    origins: Annotated[
        tuple[str, ...], Meta(description="Origins whose pages may call this server; * is all.")
    ] = ()
    frames: Annotated[
        tuple[str, ...],
        Meta(
            description="Sites that may show the page in a frame, such as https://huggingface.co."
        ),
    ] = ()
    proxies: Annotated[
        int, Meta(ge=0, description="Proxies in front whose X-Forwarded-* are believed.")
    ] = 0
    # ---- sizes
    max_body: Annotated[Count, Meta(description="Bytes of a request's body.")] = 4_000_000
    max_prompt: Annotated[Count, Meta(description="Characters of a prompt.")] = 1_000_000
    max_prompts: Annotated[Count, Meta(description="Prompts, or continuations, in a list.")] = 128
    max_total: Annotated[
        Count, Meta(description="Continuations of one request: prompts times n.")
    ] = 512
    # ---- connections and words
    ping: Annotated[
        Seconds, Meta(description="Seconds of silence after which a stream says it is there.")
    ] = 15.0
    patience: Annotated[
        Seconds, Meta(description="Seconds a stalled connection is waited for.")
    ] = 60.0
    grace: Annotated[
        Seconds, Meta(description="Seconds that running streams get when the server stops.")
    ] = 30.0
    log: Annotated[
        Literal["human", "json"], Meta(description="One line per request, for people or machines.")
    ] = "human"
    log_prompts: Annotated[bool, Meta(description="Write prompts into the log too.")] = False
    traces: Annotated[
        str | None,
        Meta(description="Where spans are sent, as http://host:4318/v1/traces; unset: nowhere."),
    ] = None

    def __post_init__(self) -> None:
        for limit in (self.limit_per_key, self.limit_per_address):
            if limit is not None:
                from limits import parse_many  # a slow import that few need

                parse_many(limit)  # ValueError says why not
