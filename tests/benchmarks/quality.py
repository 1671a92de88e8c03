"""What each backend and precision costs the starter, and what token healing gains it.

Perplexity of .bench/held-out/*.txt, texts that the model has not been trained on, in windows cut
one after the other; every token but a window's first is counted. Healing: the model goes on
greedily from places drawn at random, most of them within a word; counted is how much of what it
writes is what the author wrote.
"""

import math
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.benchmarks._programs import BENCH, ROOT

STARTER = ROOT / "models" / "starter"
HELD_OUT = BENCH / "held-out"
WINDOWS = 24  # spread over the texts
CUTS, CONTEXT, AHEAD = 400, 400, 12  # characters before a cut, and looked at after it
NATIVE = (("float32", "float32"), ("bfloat16", "int8"), ("int8", "int8"))


def main() -> None:
    from app import gpt2

    checkpoint, paths = gpt2.load(STARTER), sorted(HELD_OUT.glob("*.txt"))
    if not paths:
        print(f"MISSING: put texts that the model has not seen into {HELD_OUT}.")
        return
    # once through the tokenizer and back: with the quotes and dashes that the model knows
    ids = [checkpoint.tokenizer.encode(path.read_text(encoding="utf-8")) for path in paths]
    print("| backend | weights | cache | perplexity | more than exact |\n|---|---|---|--:|--:|")
    exact = None
    for backend, weights, cache, model, windows in models(checkpoint, ids):
        value = perplexity(model, windows)
        exact = value if exact is None else exact
        print(f"| {backend} | {weights} | {cache} | {value:.3f} | {value / exact - 1:.3%} |")
    healing("\n".join(checkpoint.tokenizer.decode(some) for some in ids))


def models(checkpoint: Any, ids: list[list[int]]) -> Iterator[tuple]:
    from app import gpt2

    windows = cut(ids, checkpoint.config.n_positions)
    for precision in ("float32", "bfloat16"):
        model = gpt2.TorchPagedModel(checkpoint.config, checkpoint.weights, precision, "cpu")
        yield "torch", precision, precision, model, windows
    for precision, cache in NATIVE:
        if precision == "int8":
            model = gpt2.open_int8(checkpoint.config, checkpoint.weights)
        else:
            model = gpt2.NativeModel(checkpoint.config, checkpoint.weights, precision)
        yield "native", model.precision, cache, model, windows


def cut(ids: list[list[int]], size: int) -> list[list[int]]:
    windows = [some[at : at + size] for some in ids for at in range(0, len(some) - size, size)]
    return windows[:: max(1, len(windows) // WINDOWS)]


def perplexity(model: Any, windows: list[list[int]]) -> float:
    """As a server reads a prompt: in one piece, the logits of all its tokens wanted."""
    from app.gpt2 import Feed, sampling

    size = model.config.n_positions
    model.allocate(-(-size // 32))
    pages, nats, n = range(-(-size // 32)), 0.0, 0
    for window in windows:
        logits = model.forward([Feed(window, 0, pages, len(window))]).logits
        for row, id in zip(logits, window[1:], strict=False):
            nats -= float(sampling.logprobs(np.asarray(row))[id])
        n += len(window) - 1
    return math.exp(nats / n)


def healing(text: str) -> None:
    from app.engine import Engine, EngineOptions, Params

    engine = Engine(EngineOptions(models={"starter": str(STARTER)}, max_queue=CUTS, max_wait=600))
    draw = random.Random(1)
    cuts = [draw.randrange(CONTEXT, len(text) - AHEAD) for _ in range(CUTS)]
    print("\n| healing | characters right in a row | next 3 right |\n|---|--:|--:|")
    for is_healing in (False, True):
        params = Params(max_tokens=AHEAD, temperature=0.0, healing=is_healing)
        running = [engine.submit(text[at - CONTEXT : at], params) for at in cuts]
        right = [
            agreeing(text_of(c), text[at : at + AHEAD]) for c, at in zip(running, cuts, strict=True)
        ]
        print(
            f"| {'on' if is_healing else 'off'} | {sum(right) / CUTS:.2f} "
            f"| {sum(n >= 3 for n in right) / CUTS:.1%} |"
        )
    engine.close()


def text_of(completion: Any) -> str:
    from app.engine import Ended, Token

    return "".join(e.text for e in completion if isinstance(e, Token | Ended))


def agreeing(written: str, meant: str) -> int:
    return len(os.path.commonprefix([written, meant]))


if __name__ == "__main__":
    main()
