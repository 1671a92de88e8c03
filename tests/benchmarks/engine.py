"""Tokens a second, side by side: this engine, in each precision, and what one could use instead.

Random weights of the 124M shape, 32-token prompts, 64 new tokens, 2 threads; each program runs in a
process of its own, one after the other. Also written to .bench/engine.json.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tests.benchmarks._programs import BENCH, PROGRAMS, ROOT, STREAMS
from tests.tiny import random_weights

N_BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}


def main() -> None:
    model = make_model()
    bandwidth = measure_bandwidth()
    print(f"Memory bandwidth of two threads: {bandwidth:.1f} GB/s")
    results = {name: run(name, model) for name in PROGRAMS}
    (BENCH / "engine.json").write_text(json.dumps({"bandwidth": bandwidth, **results}, indent=1))
    print_table(results, bandwidth)


def make_model() -> Path:
    """GPT-2 124M with random weights: fine for speed."""
    from app import gpt2

    path = BENCH / "model"
    if not path.exists():
        config = gpt2.Config()
        weights = random_weights(config, spread=0.04)
        gpt2.save(path, config, weights, gpt2.Tokenizer.gpt2())
    return path


def measure_bandwidth() -> float:
    """Gigabytes a second that two threads read: what a token of one reader is bound by."""
    arrays = [np.ones(2**27, np.float32) for _ in range(2)]  # half a gigabyte each

    def read_once() -> float:
        threads = [threading.Thread(target=array.sum) for array in arrays]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(array.nbytes for array in arrays) / (time.perf_counter() - began) / 1e9

    return max(read_once() for _ in range(5))


def run(name: str, model: Path) -> list[dict]:
    words = [sys.executable, "-m", "tests.benchmarks._programs", name, str(model)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return [{"what": "missing", "why": "it failed; see above"}]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def print_table(results: dict[str, list[dict]], bandwidth: float) -> None:
    print(f"{'tokens/s':30}" + "".join(f"{n:>8}" for n in STREAMS), end="")
    print(f"{'prefill':>9}{'ctx 100':>9}{'ctx 900':>9}{'MB':>7}{'of limit':>9}")
    for name, said in results.items():
        print(f"{name:30}" + row(name, said, bandwidth))


def row(name: str, said: list[dict], bandwidth: float) -> str:
    missing = [one["why"] for one in said if one["what"] == "missing"]
    if missing:
        return f"MISSING ({missing[0]})"
    speeds = {one["streams"]: one for one in said if one["what"] == "speed"}
    contexts = {one["length"]: one["tokens_per_s"] for one in said if one["what"] == "context"}
    others = {one["what"]: one for one in said}
    cells = [f"{speeds[n]['tokens_per_s']:8.0f}" for n in STREAMS]
    cells.append(number(others.get("prefill", {}).get("tokens_per_s")))
    cells += [number(contexts.get(length)) for length in (100, 900)]
    cells.append(number(others.get("memory", {}).get("peak_mb"), 7))
    weight = N_BYTES.get(name.split()[-1])
    limit = bandwidth * 1e9 / (weight * 124e6) if weight and name.startswith("continuo") else None
    cells.append(f"{speeds[1]['tokens_per_s'] / limit:9.0%}" if limit else f"{'':9}")
    return "".join(cells)


def number(value: float | None, width: int = 9) -> str:
    return f"{'' if value is None else round(value):>{width}}"


if __name__ == "__main__":
    main()
