"""Tokens a second and memory of `continuo train`'s loop beside transformers' Trainer.

The same shapes, rows, fused AdamW, precision and threads; each in a fresh process, one after the
other in turn, more often where a run is short. Speed is over all steps but the first quarter;
memory is the peak, beside what our plan said before it started.
"""

import json
import statistics
import subprocess
import sys

SHAPES: dict[str, tuple] = {  # layers, width, heads, vocabulary, rows, tokens in a row, steps
    "4 x 128": (4, 128, 4, 65, 12, 64, 200),
    "6 x 384": (6, 384, 6, 8192, 8, 256, 30),
    "12 x 768 (124M)": (12, 768, 12, 50257, 1, 256, 12),
}
ROUNDS = {"4 x 128": 3, "6 x 384": 1, "12 x 768 (124M)": 1}
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    print("| shape | precision | Trainer, tokens/s | ours | ratio | Trainer, MB | ours | planned |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for name, shape in SHAPES.items():
        for precision in PRECISIONS:
            try:
                row(name, shape, precision)
            except subprocess.CalledProcessError as error:  # the other rows are still worth having
                print(f"| {name} | {precision} | MISSING: {error.stderr.splitlines()[-1]} |")


def row(name: str, shape: tuple, precision: str) -> None:
    results: dict[str, list] = {"trainer": [], "ours": []}
    for _ in range(ROUNDS[name]):
        for who, found in results.items():
            found.append(measured(who, shape, precision))
    speed = {who: statistics.median(r["speed"] for r in found) for who, found in results.items()}
    memory = {who: max(r["memory"] for r in found) / 1e6 for who, found in results.items()}
    planned = results["ours"][0]["planned"] / 1e6
    ratio = speed["ours"] / speed["trainer"]
    print(
        f"| {name} | {precision} | {speed['trainer']:,.0f} | {speed['ours']:,.0f} | {ratio:.2f} "
        f"| {memory['trainer']:,.0f} | {memory['ours']:,.0f} | {planned:,.0f} |",
        flush=True,
    )


def measured(who: str, shape: tuple, precision: str) -> dict:
    words = json.dumps({"who": who, "shape": shape, "precision": precision})
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks._training", words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])
