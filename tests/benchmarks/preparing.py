"""How fast text becomes tokens, and how much memory it takes, whatever its size.

Made-up words, as often as words are in prose, in the shapes that people bring: many small files,
and one large one.
"""

import functools
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CORPORA = {
    "200 files, 100 MB": (200, 100),
    "one file, 2 GB": (1, 2000),
}
MEGABYTE = 1_000_000
ENDS = [" "] * 17 + [", ", ". ", ".\n\n"]

PREPARE = """
import json, resource, sys, time
from pathlib import Path

from app.gpt2 import Tokenizer
from app.training.corpus.corpus import Rules
from app.training.corpus.prepare import Files, prepare
from app.training.corpus.sources import find

start = time.perf_counter()
texts, cache = Path(sys.argv[1]), Path(sys.argv[2])
files = Files(find([str(texts)], (), cache))
corpus = prepare(files, Tokenizer.gpt2(), Rules(), cache, lambda line: None)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "tokens": len(corpus.train) + len(corpus.validation) + len(corpus.test),
}))
"""


def write_corpus(folder: Path, files: int, megabytes: int) -> None:
    draw = np.random.default_rng(0)
    for n in range(files):
        with (folder / f"{n:04}.txt").open("w", encoding="utf-8") as file:
            written = 0
            while written < megabytes * MEGABYTE // files:
                written += file.write(_page(draw))


def _page(draw: np.random.Generator) -> str:
    """3,000 words: a few are everywhere and new ones never end, about as often as in novels."""
    words = map(_spelled, (draw.zipf(1.35, 3000) % 10**9).tolist())
    ends = map(ENDS.__getitem__, draw.integers(len(ENDS), size=3000).tolist())
    return "".join(itertools.chain.from_iterable(zip(words, ends, strict=True)))


@functools.lru_cache(1 << 16)
def _spelled(rank: int) -> str:
    """The word of this rank; common ones are short: 1 -> "tene", 13 -> "none"."""
    letters = []
    while rank or len(letters) < 4:
        rank, letter = divmod(rank, 5 if len(letters) % 2 else 13)
        letters.append("eoaiu"[letter] if len(letters) % 2 else "nthsrdlcmwfgp"[letter])
    return "".join(letters)


def main() -> None:
    print("| text | MB/s | peak memory, MB | tokens |")
    print("|---|--:|--:|--:|")
    for name, (files, megabytes) in CORPORA.items():
        with tempfile.TemporaryDirectory() as home:
            texts = Path(home, "texts")
            texts.mkdir()
            write_corpus(texts, files, megabytes)
            command = [sys.executable, "-c", PREPARE, str(texts), str(Path(home, "cache"))]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            r = json.loads(done.stdout)
        speed = megabytes / r["seconds"]
        print(f"| {name} | {speed:.1f} | {r['peak'] / 1e6:,.0f} | {r['tokens']:,} |", flush=True)
