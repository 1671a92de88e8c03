"""Tokens a second and memory of `continuo train`'s loop beside transformers' Trainer.

The same shapes, rows, fused AdamW, precision and threads; each in a fresh process, one after the
other, several times in turn. Speed is over all steps but the first quarter; memory is the peak.
"""

import json
import statistics
import subprocess
import sys

SHAPES = {  # layers, width, heads, vocabulary, rows, tokens in a row, steps
    "4 x 128": (4, 128, 4, 65, 12, 64, 200),
    "6 x 384": (6, 384, 6, 8192, 8, 256, 30),
    "12 x 768 (124M)": (12, 768, 12, 50257, 1, 256, 12),
}
ROUNDS = 3
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    print("| shape | precision | Trainer, tokens/s | ours | ratio | Trainer, MB | ours |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name, shape in SHAPES.items():
        for precision in PRECISIONS:
            row(name, shape, precision)


def row(name: str, shape: tuple, precision: str) -> None:
    results: dict[str, list] = {"trainer": [], "ours": []}
    for _ in range(ROUNDS):
        for who, found in results.items():
            found.append(measured(who, shape, precision))
    speed = {who: statistics.median(r["speed"] for r in found) for who, found in results.items()}
    memory = {who: max(r["memory"] for r in found) / 1e6 for who, found in results.items()}
    ratio = speed["ours"] / speed["trainer"]
    print(
        f"| {name} | {precision} | {speed['trainer']:,.0f} | {speed['ours']:,.0f} | {ratio:.2f} "
        f"| {memory['trainer']:,.0f} | {memory['ours']:,.0f} |",
        flush=True,
    )


def measured(who: str, shape: tuple, precision: str) -> dict:
    words = json.dumps({"who": who, "shape": shape, "precision": precision})
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks._training", words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])
