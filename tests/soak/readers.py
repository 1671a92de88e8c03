"""Two hundred readers of every kind, as asyncio tasks on raw connections, and what they met."""

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field

PATIENCE_S = 120
PROMPTS = ("Once upon a ", "The house ", "It was late in the evening, and ", "“No,” said the ")
SAMPLERS = (
    {"temperature": 0},
    {"temperature": 1.0, "top_k": 0},
    {"temperature": 0.7, "top_k": 40},
    {"temperature": 0.9, "top_p": 0.95, "top_k": 0},
    {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.1, "logprobs": 3},
)
BROKEN = (
    b'{"prompt": "x", ',
    b'{"prompt": 5}',
    b'{"prompt": "x", "temperature": 99}',
    b'{"prompt": "x", "max_token": 5}',
    b"\xff\xfe\x00",
)


@dataclass
class Tally:
    """What happened, by name; and what must not have."""

    seen: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    bytes_read: int = 0
    bytes_lost: int = 0


class Texts:
    """Requests with seeds, and the text that each must give in any company."""

    def __init__(self, rng, n=24):
        self.requests = [
            SAMPLERS[seed % len(SAMPLERS)]
            | {"prompt": rng.choice(PROMPTS), "max_tokens": rng.choice((1, 20, 80, 200))}
            | {"seed": seed}
            for seed in range(n)
        ]
        self.texts = {}

    async def learn(self, address):
        for i, asked in enumerate(self.requests):
            status, _, body = await ask(address, asked)
            assert status == 200, body
            self.texts[i] = json.loads(body)["text"]


def post(body, headers=()):
    lines = ["POST /generate HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def connection(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def head(reader):
    """Status and headers."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers


async def body_of(reader, headers, pause=0.0):
    """The whole body; IncompleteReadError when it was cut."""
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    data = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        data += (await reader.readexactly(size + 2))[:-2]
        if pause:
            await asyncio.sleep(pause)
    await reader.readexactly(2)
    return data


async def ask(address, asked):
    async with connection(address) as (reader, writer):
        writer.write(post(json.dumps(asked).encode()))
        status, headers = await head(reader)
        return status, headers, await body_of(reader, headers)


async def stream(address, asked, hang_up_after=None, pause=0.0):
    """Status, headers, what came, and whether it came to its end."""
    async with connection(address) as (reader, writer):
        writer.write(post(json.dumps(asked | {"stream": True}).encode()))
        status, headers = await head(reader)
        if status != 200:
            return status, headers, await body_of(reader, headers), True
        if hang_up_after is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(body_of(reader, headers), hang_up_after)
            return status, headers, b"", False
        return status, headers, await body_of(reader, headers, pause), True


def text_of(body):
    """The text of a stream's events, and the name of its last one."""
    text, last = "", ""
    for event in body.decode().split("\n\n"):
        name, _, data = event.partition("\ndata: ")
        if name == "event: token":
            text += json.loads(data)["text"]
        if name.startswith("event: "):
            last = name.removeprefix("event: ")
    return text, last


async def one_reader(address, texts, tally, rng, until):
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        kind = rng.choices(
            ("whole stream", "hang up", "slow reader", "slow upload", "broken"), (8, 8, 2, 2, 4)
        )[0]
        try:
            await asyncio.wait_for(act(kind, address, texts, tally, rng), PATIENCE_S)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            tally.seen[f"{kind}: {type(error).__name__}"] += 1
            tally.faults.append(f"{kind}: {error!r}")
        await asyncio.sleep(rng.uniform(0, 1))


async def act(kind, address, texts, tally, rng):
    i = rng.randrange(len(texts.requests))
    if kind == "broken":
        async with connection(address) as (reader, writer):
            writer.write(post(rng.choice(BROKEN)))
            status, headers = await head(reader)
            body = await body_of(reader, headers)
        if status in (400, 422):
            tally.seen[f"{kind}: {status}"] += 1
            return
        return judge(kind, status, headers, body, tally)
    if kind == "slow upload":
        async with connection(address) as (reader, writer):
            for byte in post(json.dumps(texts.requests[i]).encode()):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            status, headers = await head(reader)
            body = await body_of(reader, headers)
        return judge(kind, status, headers, body, tally)
    hang_up = rng.uniform(0, 3) if kind == "hang up" else None
    pause = 0.1 if kind == "slow reader" else 0.0
    status, headers, body, is_whole = await stream(address, texts.requests[i], hang_up, pause)
    judge(kind, status, headers, body, tally)
    if status == 200 and is_whole and kind != "hang up":
        compare(texts.texts[i], body, tally)


def judge(kind, status, headers, body, tally):
    why = "" if status == 200 else f" {json.loads(body)['error']['type']}"
    tally.seen[f"{kind}: {status}{why}"] += 1
    announced = status in (429, 503) and "retry-after" in headers
    if status != 200 and not announced:
        tally.faults.append(f"{kind}: {status} without a time to come again")


def compare(expected, body, tally):
    """The same seed gives the same text; one that was ended says so."""
    text, last = text_of(body)
    tally.bytes_read += len(text.encode())
    if last == "error":
        tally.seen["streams ended with an error event"] += 1
        expected = expected[: len(text)]
    elif last != "done":
        tally.faults.append(f"a stream ended with {last!r}")
    if text != expected:
        tally.bytes_lost += max(1, len(expected.encode()) - len(text.encode()))
        tally.faults.append(f"{text!r:.60} is not {expected!r:.60}")
