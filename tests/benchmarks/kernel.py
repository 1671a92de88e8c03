"""Turns of the kernel alone: each precision, by each instruction set that this processor has.

Random weights of the 124M shape, all cores, the least of several turns in milliseconds. Rows of one
token with so many before it, in pages that lie anywhere, then a prompt of 512 tokens. Plain C is
left out; it is there to be right, not fast.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.tiny import random_weights

TURNS = (
    (1, 64),
    (4, 64),
    (16, 64),
    (32, 64),
    (1, 900),
    (16, 900),
    (32, 900),
)  # rows, tokens before
PREFILL = 512
PAGES = 32  # of a row


def main() -> None:
    from app.gpt2 import Config, Feed, NativeModel
    from app.gpt2.native import build, library
    from app.gpt2.native.quantize import quantize

    config, rng = Config(), np.random.default_rng(0)
    weights = random_weights(config, spread=0.04)
    pages = rng.permutation(32 * PAGES).reshape(32, PAGES).tolist()
    turns = {
        f"{rows} at {past}": [
            Feed([int(rng.integers(50000))], past, pages[row], 1) for row in range(rows)
        ]
        for rows, past in TURNS
    }
    turns[f"prefill {PREFILL}"] = [Feed(rng.integers(0, 50000, PREFILL).tolist(), 0, pages[0], 1)]
    print("| ms | " + " | ".join(turns) + " |\n|---|" + "--:|" * len(turns))
    with TemporaryDirectory() as folder:
        for precision in ("int8", "bfloat16", "float32"):
            kept = quantize(config, weights) if precision == "int8" else weights
            for isa in build.runnable():
                if isa == "plain":
                    continue
                kernel = library.load_for(isa, Path(folder))
                model = NativeModel(config, kept, precision, kernel=kernel)
                model.allocate(32 * PAGES)
                times = [least_ms(model, feeds) for feeds in turns.values()]
                cells = " | ".join(f"{ms:.1f}" for ms in times)
                print(f"| {precision}, {isa} | {cells} |", flush=True)


def least_ms(model, feeds, times: int = 15) -> float:
    model.forward(feeds)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        model.forward(feeds)
        took.append(time.perf_counter() - began)
    return 1000 * min(took)


if __name__ == "__main__":
    main()
