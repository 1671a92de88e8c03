"""python -m tests.benchmarks.capacity: how many servers so many readers a day need.

Measures the turns of the 124M shape here, then simulates servers that take such turns. Readers come
as a Poisson process; the busiest hour has 2.5 times the day's mean. Prints for each number of
readers the fewest servers that keep the 95th percentile of the first token under two seconds and
refuse less than one in a thousand, beside the formula of docs/capacity.md.
"""

import argparse
import heapq
import math
import random
import statistics
import sys
import time
from typing import NamedTuple

from app.engine import Engine, EngineOptions, Params, Token
from tests.benchmarks.engine import BENCH, make_model

PROMPT, TEXT = 300, 120  # tokens, in the mean; texts are geometric, prompts even from 50 to 550
TEXTS_EACH = 12  # continuations of one reader in a day
PEAK = 2.5  # the busiest hour against the day's mean
ROWS, QUEUE = 32, 64  # that run and wait in one server
WANTED_S, WANTED_SHARE = 2.0, 0.001


class Turns(NamedTuple):
    """What one server's machine takes."""

    rows: dict[int, float]  # how many rows write -> seconds of a turn
    prompt: float  # seconds for a token of a prompt


def measure():
    """On the 124M shape with random weights; rows with contexts from 50 to 900 tokens."""
    options = EngineOptions(
        models={"model": str(make_model())}, max_wait=600, compiled=str(BENCH / "cache")
    )
    engine = Engine(options)
    rng, rows = random.Random(0), {}
    for n in (1, 4, 8, 16, 32):
        endless = Params(max_tokens=None, ignore_eos=True)
        prompts = [[rng.randrange(50_000) for _ in range(50 + 850 * i // n)] for i in range(n)]
        running = [engine.submit(prompt, endless) for prompt in prompts]
        for completion in running:
            while not isinstance(completion.next(), Token):
                pass
        before = engine.stats()
        time.sleep(3)
        now = engine.stats()
        rows[n] = (now.busy_s - before.busy_s) / (now.turns - before.turns)
        for completion in running:
            completion.cancel()
            list(completion)
    begun = time.monotonic()
    for _ in range(4):
        list(engine.submit([rng.randrange(50_000) for _ in range(512)], Params(max_tokens=1)))
    prompt = (time.monotonic() - begun) / (4 * 512)
    engine.close()
    return Turns(rows, prompt)


def turn_time(rows, turns):
    """Linear between the measured numbers of rows, and beyond the last two."""
    known = sorted(turns.rows)
    low = max([n for n in known[:-1] if n <= rows], default=known[0])
    high = known[known.index(low) + 1]
    share = (rows - low) / (high - low)
    return turns.rows[low] + share * (turns.rows[high] - turns.rows[low])


def tokens_per_s(turns):
    """What one server writes when it is full, prompts included."""
    a_row = TEXT * turn_time(ROWS, turns) / ROWS + PROMPT * turns.prompt
    return TEXT / a_row


def formula(readers, turns, load=0.6):
    """Servers for the busiest hour at this load."""
    texts_per_s = readers * TEXTS_EACH / 86_400 * PEAK
    return max(1, math.ceil(texts_per_s * TEXT / (load * tokens_per_s(turns))))


def simulate(rate, servers, turns, seconds=900, seed=0):
    """First tokens' times, and the share refused; each text goes to the emptiest server."""
    rng = random.Random(seed)
    clock = [0.0] * servers  # of each server: the end of its turn
    running = [[] for _ in range(servers)]  # tokens left of each row
    waiting = [[] for _ in range(servers)]  # (arrival, prompt, text)
    order = [(0.0, server) for server in range(servers)]
    heapq.heapify(order)
    arrival, firsts, refused, n = rng.expovariate(rate), [], 0, 0
    while order[0][0] < seconds:
        now, server = heapq.heappop(order)
        while arrival <= now:
            n += 1
            best = min(range(servers), key=lambda s: len(running[s]) + len(waiting[s]))
            job = (arrival, rng.randint(50, 550), 1 + int(rng.expovariate(1 / TEXT)))
            if len(waiting[best]) >= QUEUE:
                refused += 1
            else:
                waiting[best].append(job)
            arrival += rng.expovariate(rate)
        took = 0.0
        begun = []
        while waiting[server] and len(running[server]) < ROWS and took < 0.05:  # a turn's prompts
            job = waiting[server].pop(0)
            took += job[1] * turns.prompt
            running[server].append(job[2])
            begun.append(job[0])
        rows = running[server]
        took += turn_time(len(rows), turns) if rows else 0.005
        firsts += [now + took - came for came in begun]
        running[server] = [left - 1 for left in rows if left > 1]
        clock[server] = now + took
        heapq.heappush(order, (clock[server], server))
    firsts.sort()
    return firsts, refused / max(1, n)


def servers_for(readers, turns):
    """The fewest that are good enough in the busiest hour, from the formula's number down or up."""
    rate = readers * TEXTS_EACH / 86_400 * PEAK
    n = formula(readers, turns)

    def is_enough(servers):
        # Texts to one of very many servers are a Poisson process again: simulate four of them.
        some = min(servers, 4)
        firsts, refused = simulate(rate * some / servers, some, turns)
        enough = not firsts or firsts[int(0.95 * len(firsts))] < WANTED_S
        return enough and refused < WANTED_SHARE

    while n > 1 and is_enough(n - max(1, n // 10)):
        n -= max(1, n // 10)
    while not is_enough(n):
        n += max(1, n // 10)
    return n


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.capacity")
    parser.add_argument("--turns", help="ms by rows, such as 1:7.3,16:38: instead of measuring")
    parser.add_argument("--prompt", type=float, help="ms for a token of a prompt, with --turns")
    given = parser.parse_args(arguments)
    if given.turns:
        pairs = (pair.split(":") for pair in given.turns.split(","))
        turns = Turns({int(n): float(ms) / 1000 for n, ms in pairs}, given.prompt / 1000)
    else:
        turns = measure()
    print("| rows | " + " | ".join(map(str, turns.rows)) + " | a token of a prompt |")
    print("|---" + "|--:" * (len(turns.rows) + 1) + "|")
    times = [*turns.rows.values(), turns.prompt]
    print("| ms | " + " | ".join(f"{1000 * seconds:.1f}" for seconds in times) + " |\n")
    print(f"One full server writes {tokens_per_s(turns):.0f} tokens/s, prompts included.\n")
    print("| readers a day | texts/s at the peak | servers, formula | servers, simulated | "
          "first token p50 / p95, s |\n|--:|--:|--:|--:|--:|")  # fmt: skip
    for readers in (100, 10_000, 1_000_000):
        n = servers_for(readers, turns)
        rate = readers * TEXTS_EACH / 86_400 * PEAK
        some = min(n, 4)
        firsts, _ = simulate(rate * some / n, some, turns, seed=1)
        p50, p95 = statistics.median(firsts), firsts[int(0.95 * len(firsts))]
        print(f"| {readers:,} | {rate:.2f} | {formula(readers, turns)} | {n} | "
              f"{p50:.2f} / {p95:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
