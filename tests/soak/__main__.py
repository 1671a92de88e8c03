"""`make soak`: load and faults, as a table: python -m tests.soak [--minutes 10] [--readers 200]

A real server of the starter, 16 continuations at a time. First readers of every kind for some
minutes; then each fault in the midst of running streams, and how long until the next text.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil

from tests.server import ROOT, serve
from tests.soak.readers import Tally, Texts, ask, compare, head, one_reader, stream

STREAMS = 12  # that run when a fault strikes
LONG = {"prompt": "Once upon a ", "seed": 5, "max_tokens": 400, "temperature": 0.9}


def parts(server):
    """Master, workers and engine of a server."""
    master = psutil.Process(server.process.pid)
    engines = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"/{master.pid}-" in word for word in process.info["cmdline"] or ())
    ]
    return {"master": [master], "worker": master.children(), "engine": engines}


def measure(server):
    """Of worker and engine: MB, threads, open files."""
    found = {}
    for name, processes in parts(server).items():
        if name != "master":
            [process] = processes
            megabytes = process.memory_info().rss / 2**20
            found[name] = (round(megabytes), process.num_threads(), process.num_fds())
    return found


async def look_alive(address, until, times):
    """/livez four times a second; a look that fails took ten seconds."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        begun = loop.time()
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*address), 10)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status, _ = await asyncio.wait_for(head(reader), 10)
            writer.close()
            times.append(loop.time() - begun if status == 200 else 10.0)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            times.append(10.0)
        await asyncio.sleep(0.25)


async def load(server, n_readers, minutes):
    rng, tally, times = random.Random(1), Tally(), []
    texts = Texts(rng)
    await texts.learn(server.address)
    before, peak = measure(server), {}
    until = asyncio.get_running_loop().time() + 60 * minutes

    async def watch():
        while asyncio.get_running_loop().time() < until:
            for name, numbers in measure(server).items():
                old = peak.get(name, numbers)
                peak[name] = tuple(map(max, zip(old, numbers, strict=True)))
            await asyncio.sleep(2)

    readers = [
        one_reader(server.address, texts, tally, random.Random(i), until) for i in range(n_readers)
    ]
    await asyncio.gather(look_alive(server.address, until, times), watch(), *readers)
    while server.metric("continuo_num_requests_running"):
        await asyncio.sleep(0.2)
    await asyncio.sleep(5)
    after = measure(server)
    print(f"\n{n_readers} readers, {minutes:g} minutes, {sum(tally.seen.values())} requests\n")
    print("| what | how often |\n|---|--:|")
    for name, n in sorted(tally.seen.items()):
        print(f"| {name} | {n} |")
    print(f"| bytes compared / lost | {tally.bytes_read:,} / {tally.bytes_lost} |")
    times.sort()
    p50, p99, most = statistics.median(times), times[int(0.99 * len(times))], times[-1]
    shown = " / ".join(f"{1000 * seconds:.0f}" for seconds in (p50, p99, most))
    print(f"| /livez p50 / p99 / greatest, ms | {shown} |")
    for name in before:
        print(f"| {name}: MB, threads, files: before, peak, after | "
              f"{before[name]}, {peak[name]}, {after[name]} |")  # fmt: skip
    faults = list(tally.faults)
    if p99 > 1:
        faults.append(f"/livez took {p99:.2f} s at the 99th percentile")
    for name in before:
        if after[name][1] > before[name][1] + 200 or after[name][2] > before[name][2] + 8:
            faults.append(f"{name} kept threads or files: {before[name]} -> {after[name]}")
    return faults, texts


# ---- faults


async def with_streams(server, expected, strike):
    """Strike in the midst of streams; how they ended, and the seconds until the next text."""
    ends, tally = {"whole": 0, "told": 0, "cut": 0, "refused": 0}, Tally()

    async def read():
        try:
            status, _, body, _ = await stream(server.address, LONG)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            ends["cut"] += 1
            return
        if status != 200:
            ends["refused"] += 1
            return
        compare(expected, body, tally)
        told = tally.seen.pop("streams ended with an error event", 0)
        ends["told" if told else "whole"] += 1

    readers = [asyncio.create_task(read()) for _ in range(STREAMS)]
    while server.metric("continuo_num_requests_running") < STREAMS and not all(
        reader.done() for reader in readers
    ):
        await asyncio.sleep(0.02)
    struck = time.monotonic()
    await strike()
    while True:
        try:
            status, *_ = await asyncio.wait_for(ask(server.address, LONG | {"max_tokens": 2}), 60)
            if status == 200:
                break
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        if time.monotonic() - struck > 120:
            return ends, None, tally
        await asyncio.sleep(0.05)
    recovered = time.monotonic() - struck
    await asyncio.wait(readers)
    return ends, recovered, tally


async def kill(server, part):
    for process in parts(server)[part]:
        process.kill()


async def freeze(server):
    [engine] = parts(server)["engine"]
    engine.suspend()
    await asyncio.sleep(20)
    engine.resume()


@contextlib.contextmanager
def running(folder, environment=None, **settings):
    command = [sys.executable, "-m", "app", "serve", str(folder / "starter")]
    common = {"max_running": 16, "cache": folder / "cache", "grace": 8}
    with serve(command, environment, **(common | settings)) as server:
        server.wait_for("Continuo writes at", 120)
        yield server


def fault_row(name, ends, recovered, tally):
    time_ = "never" if recovered is None else f"{recovered:.1f}"
    print(f"| {name} | {ends['whole']} | {ends['told']} | {ends['cut']} | {ends['refused']} | "
          f"{tally.bytes_lost} | {time_} |", flush=True)  # fmt: skip
    bad = [f"{name}: {fault}" for fault in tally.faults]
    if recovered is None:
        bad.append(f"{name}: no text for two minutes")
    return bad


async def strike_all(folder):
    faults = []
    print("\n| fault, with 12 running streams | whole | ended with an error event | cut | refused "
          "| bytes lost | s to the next text |\n|---|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    with running(folder) as server:
        expected = json.loads((await ask(server.address, LONG))[2])["text"]
        for name, strike in {
            "kill -9 of the engine": lambda: kill(server, "engine"),
            "kill -9 of the web worker": lambda: kill(server, "worker"),
            "SIGSTOP of the engine, 20 s": lambda: freeze(server),
            "model file replaced": lambda: replace(folder),
        }.items():
            faults += fault_row(name, *await with_streams(server, expected, strike))
    for name, number in (("SIGTERM", signal.SIGTERM), ("kill -9 of the master", signal.SIGKILL)):
        name = f"{name}, then started again"
        faults += await strike_server(folder, name, number, expected)
    if os.geteuid() == 0:
        faults += await on_a_full_disk(folder, expected)
    faults += await on_a_jumping_clock(folder, expected)
    return faults


async def replace(folder):
    for file in (folder / "starter").iterdir():
        shutil.copy(file, folder / "aside")
        os.replace(folder / "aside", file)


async def strike_server(folder, name, number, expected):
    with running(folder) as server, contextlib.ExitStack() as stack:
        port = server.address[1]

        async def strike():
            server.process.send_signal(number)
            await asyncio.to_thread(server.process.wait, 60)
            while True:  # the port is free once the orphaned worker has gone
                again = stack.enter_context(running_on(folder, port))
                if await asyncio.to_thread(started, again):
                    return

        return fault_row(name, *await with_streams(server, expected, strike))


def running_on(folder, port):
    command = [sys.executable, "-m", "app", "serve", str(folder / "starter")]
    return serve(command, max_running=16, cache=folder / "cache", grace=8, port=port)


def started(server):
    try:
        server.wait_for("Continuo writes at|[Aa]ddress already in use", 60)
    except AssertionError:
        return False
    return any("writes at" in line for line in server.lines)


async def on_a_full_disk(folder, expected):
    """Cache and home on a tmpfs of a megabyte, full."""
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        with running(folder, cache=small / "cache", runtime=small) as server:

            async def strike():
                with contextlib.suppress(OSError):
                    (small / "full").write_bytes(bytes(2**20))
                await kill(server, "engine")

            name = "full disk for cache and home, kill -9 of the engine"
            return fault_row(name, *await with_streams(server, expected, strike))
    finally:
        subprocess.run(["umount", "-l", small], check=True)


async def on_a_jumping_clock(folder, expected):
    """The wall clock of the server and its engine; what a process measures by does not jump."""
    clock, library = folder / "clock", folder / "clock.so"
    clock.write_bytes((0).to_bytes(8, "little"))
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", source, "-o", library], check=True)
    environment = {"LD_PRELOAD": str(library), "CLOCK": str(clock)}
    faults = []
    with running(folder, environment) as server:
        for name, days in (("clock a day ahead", 1), ("clock two days back", -1)):

            async def strike(days=days):
                with clock.open("r+b") as file:
                    file.write((86_400 * days).to_bytes(8, "little", signed=True))

            faults += fault_row(name, *await with_streams(server, expected, strike))
            date = parsedate_to_datetime(server.get("/livez").headers["Date"]).timestamp()
            if round((date - time.time()) / 86_400) != days:
                faults.append(f"{name}: it did not jump")
    return faults


async def main():
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--readers", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "models" / "starter", folder / "starter")
        with running(folder) as server:
            faults, _ = await load(server, options.readers, options.minutes)
        faults += await strike_all(folder)
    for fault in faults[:20]:
        print("FAULT:", fault)
    print(f"\n{len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
