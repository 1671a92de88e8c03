"""How fast text becomes tokens, and how much memory it takes, whatever its size.

Text of made-up words in the shapes that people bring: many small files, and one large one.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

CORPORA = {
    "200 files, 100 MB": (200, 100),
    "one file, 2 GB": (1, 2000),
}
MEGABYTE = 1_000_000

PREPARE = """
import json, resource, sys, time
from pathlib import Path

from app.gpt2 import Tokenizer
from app.training.corpus import Rules, prepare
from app.training.sources import find

start = time.perf_counter()
texts, cache = Path(sys.argv[1]), Path(sys.argv[2])
corpus = prepare(find([str(texts)], (), cache), Tokenizer.gpt2(), Rules(), cache, lambda line: None)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "tokens": len(corpus.train) + len(corpus.validation) + len(corpus.test),
}))
"""


def write_corpus(folder: Path, files: int, megabytes: int) -> None:
    draw = random.Random(0)
    letters = "etaoinshrdlcumwfgypbvk"
    words = ["".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(30_000)]
    lines = [" ".join(draw.choices(words, k=80)) + ".\n\n" for _ in range(2000)]
    for n in range(files):
        with (folder / f"{n:04}.txt").open("w", encoding="utf-8") as file:
            written = 0
            while written < megabytes * MEGABYTE // files:
                written += file.write("".join(draw.choices(lines, k=200)))


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
