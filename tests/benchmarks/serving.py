"""Tokens per second through HTTP: 1, 16 and 32 readers of one 124M-shaped model, and who else.

Every row of a table comes from one run: the same weights (random, of GPT-2 small's shape), prompts
of 32 tokens that no two requests share, 64 new tokens, top-k 40, all streamed, every reader asking
again as soon as its text has ended; prefill counted. The load comes from one more process on the
same cores. Rows:

    transformers   one float32 stream in process: what most people run
    llama-server   q8_0, built for this processor by `make bench-llama`
    continuo       int8 weights, gunicorn with one web worker and with two

The web's share is the CPU time of the web workers over theirs and the engine's together; memory is
all processes' PSS after the load, with a cache for 16 full windows.
"""

import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks._programs import BENCH
from tests.benchmarks.engine import make_model

READERS = (1, 16, 32)
NEW_TOKENS = 64
PROMPT_WORDS = 32  # of one token each
CACHE_MB = 324  # 16 windows of 1,024 tokens in 8 bits
SECONDS = 8.0  # of load for each figure, after a round to warm up


# ---- the load: one thread, raw sockets, counting events ----


class Reader:
    """One reader's connection: asks, counts what comes, and knows when its first token came."""

    def __init__(self, address: tuple[str, int], path: str, mark: bytes, last: bytes) -> None:
        self.address, self.path, self.mark, self.last = address, path, mark, last
        self.tail = b""  # what came last, in which a mark may have begun

    def ask(self, body: dict) -> None:
        payload = json.dumps(body).encode()
        self.socket = socket.create_connection(self.address)
        self.socket.sendall(
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
            + payload
        )
        self.asked, self.first, self.tokens, self.tail = time.perf_counter(), None, 0, b""

    def read(self) -> bool:
        """Take what has come; False when the text has ended."""
        data = self.socket.recv(65536)
        seen = self.tail + data
        n = seen.count(self.mark)
        if n and self.first is None:
            self.first = time.perf_counter() - self.asked
        self.tokens += n
        self.tail = seen[seen.rfind(self.mark) + len(self.mark) :] if n else seen
        if data and self.last not in self.tail:
            return True
        self.socket.close()
        return False


def load(readers: list[Reader], bodies: Iterator[dict]) -> tuple[float, float, float]:
    """(tokens/s, median and 95th percentile of seconds to the first token)."""
    for measured in (False, True):
        tokens, firsts = 0, []
        start, end = time.perf_counter(), time.perf_counter() + (SECONDS if measured else 2.0)
        with selectors.DefaultSelector() as selector:
            for reader in readers:
                reader.ask(next(bodies))
                selector.register(reader.socket, selectors.EVENT_READ, reader)
            while selector.get_map():
                for key, _ in selector.select():
                    reader = key.data
                    if reader.read():
                        continue
                    selector.unregister(key.fileobj)
                    # an event may hold the bytes of two tokens, but it never ends early
                    assert reader.tokens > NEW_TOKENS / 2, (reader.tokens, reader.tail[-500:])
                    tokens += NEW_TOKENS
                    firsts.append(reader.first)
                    if time.perf_counter() < end:
                        reader.ask(next(bodies))
                        selector.register(reader.socket, selectors.EVENT_READ, reader)
    rate = tokens / (time.perf_counter() - start)
    return rate, statistics.median(firsts), sorted(firsts)[int(len(firsts) * 0.95)]


def prompts(folder: Path) -> Iterator[str]:
    """Texts of 32 tokens that begin differently: words that are a token each."""
    from app.gpt2 import Tokenizer

    tokenizer = Tokenizer.beside(folder)
    words = [w for i in range(1000, 9000) if (w := tokenizer.decode([i]))[0] == " " and w.isascii()]
    words = [w for w in words if w[1:].isalpha()]
    draw = random.Random(0)
    while True:
        yield "".join(draw.choices(words, k=PROMPT_WORDS))


# ---- the servers ----


def continuo(folder: Path, workers: int) -> None:
    from tests.server import Server

    server = Server(
        [sys.executable, "-m", "app", "serve", str(folder)],
        workers=workers, cache_mb=CACHE_MB, log="json",
    )  # fmt: skip
    try:
        address = server.address
        server.wait_for("writes at", timeout=120)
        bodies = (
            {"prompt": p, "max_tokens": NEW_TOKENS, "ignore_eos": True, "stream": True}
            for p in prompts(folder)
        )
        for n in READERS:
            before = cpu_seconds(server.process.pid)
            readers = [
                Reader(address, "/generate", b"\nevent: token\n", b"\nevent: done\n")
                for _ in range(n)
            ]
            rate, median, late = load(readers, bodies)
            web, engine = (
                b - a for a, b in zip(before, cpu_seconds(server.process.pid), strict=True)
            )
            note = f"web's share {web / (web + engine):.0%}, {pss(server.process.pid) >> 20} MB"
            row(f"continuo int8, {workers} web", n, rate, median, late, note)
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)


def llama_server(folder: Path, binary: Path, weights: Path) -> None:
    for n in READERS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        words = ["-m", weights, "-np", str(n), "-c", str(n * 256), "-t", "2", "-tb", "2"]
        process = subprocess.Popen(
            [binary, *words, "--host", address[0], "--port", str(address[1])],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until_healthy(address)
            bodies = (
                {"prompt": p, "n_predict": NEW_TOKENS, "ignore_eos": True, "stream": True}
                | {"top_k": 40, "temperature": 0.7, "top_p": 1, "min_p": 0, "cache_prompt": False}
                for p in prompts(folder)
            )
            readers = [
                Reader(address, "/completion", b'\ndata: {"index"', b'"stop":true')
                for _ in range(n)
            ]
            row("llama-server q8_0", n, *load(readers, bodies))
        finally:
            process.terminate()
            process.wait()


def transformers_row(folder: Path) -> None:
    import torch
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rates = []
    for prompt, _ in zip(prompts(folder), range(4), strict=False):
        inputs = tokenizer(prompt, return_tensors="pt")
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                **inputs, do_sample=True, top_k=40, temperature=0.7,
                max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, pad_token_id=0,
            )  # fmt: skip
        rates.append(NEW_TOKENS / (time.perf_counter() - start))
    row("transformers float32", 1, max(rates), None, None)


# ---- what is looked at ----


def row(
    name: str, readers: int, rate: float, median: float | None, late: float | None, *note
) -> None:
    firsts = "| |" if median is None else f"{1000 * median:.0f} | {1000 * late:.0f} |"
    print(f"| {name} | {readers} | {rate:.0f} | {firsts} {' '.join(note)} |", flush=True)


def processes(server: int) -> tuple[list[int], list[int]]:
    """(the web's, the engine's): children of the server, and who was told that it belongs to it."""
    web, engine = [server], []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == server:
            web.append(int(entry.name))
        elif b"app.engine.process.service" in words:
            engine.append(int(entry.name))
    return web, engine


def cpu_seconds(server: int) -> tuple[float, float]:
    web, engine = processes(server)
    return sum(map(_cpu, web)), sum(map(_cpu, engine))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(server: int) -> int:
    web, engine = processes(server)
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in web + engine)
    return sum(int(text.split("\nPss:")[1].split()[0]) * 1024 for text in rollups)


def wait_until_healthy(address: tuple[str, int]) -> None:
    import requests

    while True:
        try:
            if requests.get(f"http://{address[0]}:{address[1]}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)


def main() -> None:
    folder, binary, weights = make_model(), BENCH / "llama-server", BENCH / "model-q8_0.gguf"
    print("| | readers | tokens/s | first token ms, median | p95 | |\n|---|--:|--:|--:|--:|---|")
    transformers_row(folder)
    if binary.exists() and weights.exists():
        llama_server(folder, binary, weights)
    else:
        print("| llama-server: `make bench-llama` builds it | | | | | |")
    for workers in (1, 2):
        continuo(folder, workers)
