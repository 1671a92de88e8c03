"""Readers of a completion server: each sends a prompt, reads the stream, and notes the times."""

import asyncio
import json
import time
from typing import NamedTuple
from urllib.parse import urlsplit


class Reading(NamedTuple):
    first: float  # seconds to the first piece of text
    end: float
    n_pieces: int


def read_all(url: str, bodies: list[dict]) -> tuple[list[Reading], float]:
    """All at once; what each saw, and the seconds that all took together."""

    async def run() -> list[Reading]:
        return await asyncio.gather(*(_read(url, body) for body in bodies))

    began = time.perf_counter()
    readings = asyncio.run(run())
    return readings, time.perf_counter() - began


async def _read(url: str, body: dict) -> Reading:
    at = urlsplit(url)
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    data = json.dumps(body).encode()
    head = f"POST {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    first, n_pieces = None, 0
    async for line in reader:
        if line.startswith(b"HTTP/1.1") and b" 200 " not in line:
            raise RuntimeError(f"{url} answered {line!r}")
        if line.startswith(b"data: {"):
            first = first or time.perf_counter() - began
            n_pieces += 1
    writer.close()
    return Reading(first or 0.0, time.perf_counter() - began, n_pieces)
