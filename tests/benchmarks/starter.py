"""What the starter's model card shows: nine continuations, none of them picked; how much of them
is copied from the corpus (where its tokens are still in runs/); and how soon a server answers.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks._programs import ROOT
from tests.server import read_until, serve

STARTER = ROOT / "models" / "starter"
PROMPTS = (
    "Once upon a time", "The door opened and", '"You are late," said', "It was raining when",
    "My uncle had never", "She looked at the letter", "In the year 1887", "The captain turned", "",
)  # fmt: skip
SETTINGS = {"temperature": 0.8, "top_k": 40, "max_tokens": 120}


def main() -> None:
    from app import continue_texts

    texts = []
    for seed, prompt in enumerate(PROMPTS, start=1):
        [text] = continue_texts(STARTER, prompt, seed=seed, **SETTINGS).values()
        texts.append(text.removeprefix(prompt))
        lines = f"{f'**{prompt}**' if prompt else ''}{texts[-1]}".strip().split("\n")
        print(f"{seed}. " + "\n   ".join(lines).replace("   \n", "\n") + "\n")
    tell_copied(texts)
    tell_starts()


def tell_copied(texts: list[str]) -> None:
    from app.gpt2 import Tokenizer
    from app.training.corpus.tokens import TokenFile
    from app.training.report.copying import copied

    tokenizer, written = Tokenizer.beside(STARTER), (STARTER / "tokenizer.json").read_bytes()
    for folder in sorted(ROOT.glob("runs/.tokens/*/")):
        if (folder / "tokenizer.json").read_bytes() == written:
            corpus = TokenFile(folder / "train.tokens")
            found = copied([tokenizer.encode(text) for text in texts], corpus, tokenizer)
            print(
                f"{found.share:.1%} of the tokens stand in runs of eight or more that the corpus "
                f"has; the longest run is {len(found.longest)} characters: {found.longest!r}."
            )
            return
    print("MISSING: what is copied is measured beside the corpus that it was trained on.")


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
