"""What guesses from the text itself give one stream, several checked in a turn.

A guess is right only if it is the very token that its seed and position draw, so a text written
without guesses tells exactly which would have been right; the turns that check them are timed on
the kernel. Held-out prose, and text that repeats: a passage twice, to be written a third time. Then
the engine itself, on the starter, with guesses and without by turns.
"""

import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.kernel import least_ms
from tests.benchmarks.quality import HELD_OUT, STARTER

STORIES, CONTEXT, WRITTEN = 24, 400, 256
PAST = 300  # tokens before the turns that are timed
LONGEST = 8  # guesses in a turn, at most
HABITS = {
    "prose, a request's defaults": {},
    "prose, the card's settings": {"min_p": 0.05, "repetition_penalty": 1.1, "dry_multiplier": 0.8},
    "a passage a third time, greedily": {"temperature": 0.0},
}
ROUNDS = 5


def main() -> None:
    from app import gpt2

    checkpoint = gpt2.load(STARTER)
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(HELD_OUT.glob("*.txt")))
    if not text:
        print(f"MISSING: put texts that the model has not seen into {HELD_OUT}.")
        return
    costs = dict(shapes(checkpoint))
    for shape, ms in costs.items():
        times = ", ".join(f"{m:.2f}" for m in ms)
        print(f"{shape}: a turn of 1 to {LONGEST + 1} tokens: {times} ms")
    print(f"\n| text | alike | at most | right | drafted turns | {' | '.join(costs)} |")
    print("|---|--:|--:|--:|--:|" + "--:|" * len(costs))
    prompts = passages(checkpoint, text)
    for name, texts in written(prompts):
        for alike in (3, 6):
            for most in (2, 4, LONGEST):
                turns = [turn for begun, ids in texts for turn in drafted(ids, begun, alike, most)]
                guessed, right = sum(g for g, _ in turns), sum(r for _, r in turns)
                share = sum(g > 0 for g, _ in turns) / len(turns)
                gains = [gain(turns, ms) for ms in costs.values()]
                print(
                    f"| {name} | {alike} | {most} | {right / max(1, guessed):.0%} | {share:.0%} | "
                    + " | ".join(f"{g - 1:+.1%}" for g in gains) + " |",
                    flush=True,
                )  # fmt: skip
    print("\n| text | tokens/s without | with | gain |\n|---|--:|--:|--:|")
    for name, without, with_guesses in measured(prompts):
        gains = [new / old for old, new in zip(without, with_guesses, strict=True)]
        speeds = f"{statistics.median(without):.0f} | {statistics.median(with_guesses):.0f}"
        print(f"| {name} | {speeds} | {statistics.median(gains) - 1:+.1%} |", flush=True)


def shapes(checkpoint: Any) -> Iterator[tuple[str, list[float]]]:
    """Milliseconds of a turn of one row with 1, 2, ... tokens, all their logits wanted."""
    from app import gpt2
    from app.gpt2 import Feed
    from tests.tiny import random_weights

    large = gpt2.Config()
    for name, config, weights in (
        ("starter", checkpoint.config, checkpoint.weights),
        ("124M", large, random_weights(large, spread=0.04)),
    ):
        model = gpt2.open_int8(config, weights)
        model.allocate(32)
        yield (
            name,
            [least_ms(model, [Feed([5] * n, PAST, range(32), n)]) for n in range(1, LONGEST + 2)],
        )


def passages(checkpoint: Any, text: str) -> dict[str, list[list[int]]]:
    """The prompts of each habit."""
    step = len(text) // (STORIES + 1)
    found = [text[at : at + CONTEXT] for at in range(0, step * STORIES, step)]
    encode = checkpoint.tokenizer.encode
    return {
        name: [encode(p * 2 + p[:40] if "third time" in name else p) for p in found]
        for name in HABITS
    }


def params_of(name: str) -> Any:
    from app.engine import Params

    return Params(max_tokens=WRITTEN, seed=1, ignore_eos=True, healing=False, **HABITS[name])


def open_starter(n_guesses: int) -> Any:
    from app.engine import Engine, EngineOptions
    from app.gpt2 import NativeModel

    NativeModel.n_guesses, before = n_guesses, NativeModel.n_guesses
    engine = Engine(EngineOptions(models={"starter": str(STARTER)}))
    NativeModel.n_guesses = before
    return engine


def written(
    prompts: dict[str, list[list[int]]],
) -> Iterator[tuple[str, list[tuple[int, list[int]]]]]:
    """Texts of each habit as tokens, and where the model began to write."""
    from app.engine import Token

    engine = open_starter(0)
    for name, habit in prompts.items():
        running = [engine.submit(ids, params_of(name)) for ids in habit]
        yield (
            name,
            [
                (len(ids), ids + [event.id for event in completion if isinstance(event, Token)])
                for ids, completion in zip(habit, running, strict=True)
            ],
        )
    engine.close()


def measured(
    prompts: dict[str, list[list[int]]],
) -> Iterator[tuple[str, list[float], list[float]]]:
    """Tokens a second of one stream after the other, without guesses and with, in each round."""
    from app.gpt2 import NativeModel

    engines = [open_starter(n) for n in (0, NativeModel.n_guesses)]
    for name, habit in prompts.items():
        speeds: list[list[float]] = [[], []]
        for _ in range(ROUNDS + 1):
            for engine, found in zip(engines, speeds, strict=True):
                began = time.perf_counter()
                for ids in habit:
                    list(engine.submit(ids, params_of(name)))
                found.append(len(habit) * WRITTEN / (time.perf_counter() - began))
        yield name, speeds[0][1:], speeds[1][1:]
    for engine in engines:
        engine.close()


def drafted(ids: list[int], begun: int, alike: int, most: int) -> Iterator[tuple[int, int]]:
    """(guesses, how many of them were right) of each turn."""
    from app.engine.turns import guesses

    guesser, at = guesses.Guesser(), begun
    guesses.ALIKE, before = alike, guesses.ALIKE
    while at < len(ids):
        found = guesser.guess(ids[:at], most)
        pairs = zip(found, ids[at:], strict=False)
        right = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if found:
            guesser.learn(right, len(found))
        yield len(found), right
        at += right + 1
    guesses.ALIKE = before


def gain(turns: list[tuple[int, int]], ms: list[float]) -> float:
    """Tokens a second, over those of turns of one token."""
    tokens = sum(right + 1 for _, right in turns)
    return tokens * ms[0] / sum(ms[guesses] for guesses, _ in turns)


if __name__ == "__main__":
    main()
