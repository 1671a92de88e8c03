"""Tokens a second, side by side: this engine, in each precision, and what one could use instead.

Random weights of the 124M shape and, for two programs, of the 355M one; 32-token prompts, 64 new
tokens, 2 threads; each program runs in a process of its own, one after the other. "of limit" is one
stream's speed as a share of what memory allows if each weight is read once a token. Also written to
.bench/engine.json. With `--device cuda [short]` it is gpu.py's comparison on a GPU.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks._programs import BENCH, PROGRAMS, ROOT, STREAMS
from tests.tiny import random_weights

N_BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}
SHAPES = {"124M": {}, "355M": {"n_embd": 1024, "n_layer": 24, "n_head": 16, "n_inner": 4096}}
N_WEIGHTS = {"124M": 124e6, "355M": 355e6}
LARGER = ["continuo int8", "transformers float32"]
ELSEWHERE = {"openvino genai int8": BENCH / "genai/bin/python"}  # `make bench-genai` makes it


def main() -> None:
    if sys.argv[1:3] == ["--device", "cuda"]:
        from tests.benchmarks import gpu

        is_short = sys.argv[3:4] == ["short"]
        return gpu.main(*map(Path, sys.argv[3 + is_short :]), is_short=is_short)
    bandwidth = measure_bandwidth()
    print(f"Memory bandwidth of two threads: {bandwidth:.1f} GB/s")
    everything: dict[str, Any] = {"bandwidth": bandwidth}
    for shape, programs in {"124M": list(PROGRAMS), "355M": LARGER}.items():
        everything[shape] = measure(shape, programs, bandwidth * 1e9 / N_WEIGHTS[shape])
    (BENCH / "engine.json").write_text(json.dumps(everything, indent=1))


def measure(shape: str, programs: list[str], limit: float) -> dict[str, list[dict]]:
    """A row for each program, as it is measured, and then what they come to beside each other."""
    model, results = make_model(shape), {}
    print(f"\n{shape + ', tokens/s':30}" + "".join(f"{n:>8}" for n in STREAMS), end="")
    print(f"{'prefill':>9}{'ctx 100':>9}{'ctx 900':>9}{'MB':>7}{'of limit':>9}", flush=True)
    for name in programs:
        results[name] = run(name, model)
        print(f"{name:30}" + row(name, results[name], limit), flush=True)
    print_ratios(results)
    print_gaps(results)
    return results


def make_model(shape: str = "124M") -> Path:
    """GPT-2 with random weights: fine for speed."""
    from app import gpt2

    path = BENCH / ("model" if shape == "124M" else f"model-{shape}")
    if not path.exists():
        config = gpt2.Config(**SHAPES[shape])
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
    python = ELSEWHERE.get(name, Path(sys.executable))
    if not python.exists():
        return [{"what": "missing", "why": f"{python.relative_to(ROOT)} is not there"}]
    words = [str(python), "-m", "tests.benchmarks._programs", name, str(model)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return [{"what": "missing", "why": "it failed; see above"}]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def print_ratios(results: dict[str, list[dict]]) -> None:
    """How many times as fast each precision of ours is as each of the others."""
    speeds = {name: speeds_of(said) for name, said in results.items()}
    for name in (name for name in speeds if name.startswith("continuo") and speeds[name]):
        for other in (o for o in speeds if not o.startswith("continuo") and speeds[o]):
            ratios = (speeds[name][n] / speeds[other][n] for n in STREAMS)
            print(f"{f'{name} / {other}':46}", *(f"{ratio:8.2f}" for ratio in ratios), sep="")


def print_gaps(results: dict[str, list[dict]]) -> None:
    """How long the next token takes while prompts of 1,000 tokens arrive beside the stream."""
    for name, said in results.items():
        for one in (one for one in said if one["what"] == "gap"):
            print(
                f"{name}, {one['streams']} streams: {one['alone']:.0f} ms between tokens; "
                f"beside long prompts median {one['median']:.0f}, p99 {one['p99']:.0f}"
            )


def row(name: str, said: list[dict], limit: float) -> str:
    """`limit`: the tokens a second that memory allows one stream at a byte a weight."""
    missing = [one["why"] for one in said if one["what"] == "missing"]
    if missing:
        return f"MISSING ({missing[0]})"
    speeds = speeds_of(said)
    contexts = {one["length"]: one["tokens_per_s"] for one in said if one["what"] == "context"}
    others = {one["what"]: one for one in said}
    cells = [f"{speeds[n]:8.0f}" for n in STREAMS]
    cells.append(number(others.get("prefill", {}).get("tokens_per_s")))
    cells += [number(contexts.get(length)) for length in (100, 900)]
    cells.append(number(others.get("memory", {}).get("peak_mb"), 7))
    weight = N_BYTES.get(name.split()[-1]) if name.startswith("continuo") else None
    cells.append(f"{speeds[1] * weight / limit:9.0%}" if weight else f"{'':9}")
    return "".join(cells)


def speeds_of(said: list[dict]) -> dict[int, float]:
    return {one["streams"]: one["tokens_per_s"] for one in said if one["what"] == "speed"}


def number(value: float | None, width: int = 9) -> str:
    return f"{'' if value is None else round(value):>{width}}"


if __name__ == "__main__":
    main()
