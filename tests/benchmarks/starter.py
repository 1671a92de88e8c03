"""What the starter's model card shows: nine continuations, none of them picked, and the same nine
with other settings; how much of what it writes is copied from the corpus (where its tokens are
still in runs/); and how soon a server answers.
"""

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.benchmarks._programs import ROOT
from tests.benchmarks.quality import HELD_OUT
from tests.server import read_until, serve

STARTER = ROOT / "models" / "starter"
PROMPTS = (
    "Once upon a time", "The door opened and", '"You are late," said', "It was raining when",
    "My uncle had never", "She looked at the letter", "In the year 1887", "The captain turned", "",
)  # fmt: skip
N_TOKENS = 120
FIXED = {"temperature": 0.8, "top_k": 40}  # before there was a model
HELD_OUT_LENGTH = 60_000  # characters, of each text
DOZENS = range(10, 16)  # seeds, for what is copied


def main() -> None:
    from app.engine.cards import card_data
    from app.samples import open_engine

    card = (card_data(str(STARTER)) or {})["settings"]
    no_dry = {name: value for name, value in card.items() if not name.startswith("dry")}
    others = {"a request's own": {}, "the card's but for DRY": no_dry, "the card's": card}
    with open_engine(STARTER) as engine:
        nine = dict(enumerate(PROMPTS, start=1)).items()
        print(f"## With {FIXED}\n")
        tell(nine, fixed := written(engine, nine, FIXED))
        groups = {"those nine": fixed}
        for name, settings in others.items():
            print(f"## With {name}: {settings or 'the defaults'}\n")
            tell(nine, texts := written(engine, nine, settings))
            groups[f"nine with {name}"] = texts
        dozens = [(seed, prompt) for seed in DOZENS for prompt in PROMPTS]
        groups[f"{len(dozens)} others with the card's"] = written(engine, dozens, card)
    for path in sorted(HELD_OUT.glob("*.txt")):
        groups[f"held out: {path.name}"] = [path.read_text(encoding="utf-8")[:HELD_OUT_LENGTH]]
    tell_copied(groups)
    tell_starts()


def written(engine, asked: Iterable[tuple[int, str]], settings: dict) -> list[str]:
    from app.engine import Ended, Token, make_params

    running = [
        engine.submit(prompt, make_params(settings | {"seed": seed, "max_tokens": N_TOKENS}))
        for seed, prompt in asked
    ]
    return [
        "".join(event.text for event in completion if isinstance(event, Token | Ended))
        for completion in running
    ]


def tell(asked: Iterable[tuple[int, str]], texts: list[str]) -> None:
    for (number, prompt), text in zip(asked, texts, strict=True):
        lines = f"{f'**{prompt}**' if prompt else ''}{text}".strip().split("\n")
        print(f"{number}. " + "\n   ".join(lines).replace("   \n", "\n") + "\n")


def tell_copied(groups: dict[str, list[str]]) -> None:
    from app.gpt2 import Tokenizer
    from app.training.corpus.tokens import TokenFile
    from app.training.report.copying import copied

    print("## Copied\n")
    tokenizer, own = Tokenizer.beside(STARTER), (STARTER / "tokenizer.json").read_bytes()
    folders = sorted(ROOT.glob("runs/.tokens/*/tokenizer.json"))
    folder = next((file.parent for file in folders if file.read_bytes() == own), None)
    if folder is None:
        print("MISSING: what is copied is measured beside the corpus that it was trained on.")
        return
    corpus = TokenFile(folder / "train.tokens")
    print("| texts | in runs of eight tokens or more that the corpus has | the longest | words |")
    print("|---|--:|---|--:|")
    for name, texts in groups.items():
        found = copied([tokenizer.encode(text) for text in texts], corpus, tokenizer)
        n_words = sum(any(map(str.isalpha, word)) for word in found.longest.split())
        print(f"| {name} | {found.share:.1%} | {found.longest!r} | {n_words} |", flush=True)


def tell_starts() -> None:
    with tempfile.TemporaryDirectory() as cache:
        print("\n| start | first token, s |\n|---|--:|")
        for name in ("first", "second", "third"):
            print(f"| {name} | {seconds_to_first_token(Path(cache)):.1f} |", flush=True)


def seconds_to_first_token(cache: Path) -> float:
    """From the command to a reader's first word."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "app", "serve", str(STARTER)]
    with serve(command, cache=str(cache), log="json") as server:
        server.wait_for("writes at", timeout=120)
        read_until(server.connect({"prompt": "Once", "stream": True}), b"event: token")
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
