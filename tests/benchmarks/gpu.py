"""What one GPU gives: `python -m tests.benchmarks.engine --device cuda [short] [FOLDER]`.

Random weights of the 124M shape, 32-token prompts, 128 new tokens; tokens a second of the engine in
process at 1, 16 and 128 streams, prompts counted in the time; the first token; a turn of the model
alone; transformers beside it; training. The bounds are measured too: a large copy, and a large
matrix product in bfloat16. A part that fails says so, and the others go on. Written to
FOLDER/gpu.json, .bench by default. The short form leaves out training, and transformers but at 128.
"""

import contextlib
import io
import json
import logging
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks._programs import BENCH, ROOT, prompts
from tests.benchmarks.engine import make_model

STREAMS = (1, 16, 128)
N_PROMPT, N_NEW = 32, 128
SETTINGS = {"top_k 40": {"temperature": 0.7, "top_k": 40}, "all": {"temperature": 1, "top_k": 0}}
ROWS, LENGTH, STEPS = 16, 1024, 40  # of training
TRAIN_S = 60  # that it may take

Row = tuple[str, str, float | None]  # what, of what, how much


def main(folder: Path = BENCH, is_short: bool = False) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU here.")
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = [("GPU", torch.cuda.get_device_name(), None)]
    parts: list[Callable[[], list[Row]]] = [bounds, ours, turns, transformers, training]
    if is_short:
        parts = [bounds, ours, turns, transformers_at_most]
    for part in parts:
        began = time.perf_counter()
        try:
            rows += part()
        except Exception:
            traceback.print_exc(limit=-4, file=sys.stdout)
            rows.append((part.__name__, "FAILED; see above", None))
        rows.append((part.__name__, "seconds in all", time.perf_counter() - began))
        (folder / "gpu.json").write_text(json.dumps(rows, indent=1))
    print(f"\ntorch {torch.__version__}, {N_PROMPT} + {N_NEW} tokens")
    for what, of, value in [*rows, *shares(rows)]:
        print(f"{what:24} {of:36}" + ("" if value is None else f"{value:14,.2f}"))


def bounds() -> list[Row]:
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(lambda: a @ b)
    source = torch.randn(2**30, device="cuda")
    target = torch.empty_like(source)
    copied = timed(lambda: target.copy_(source))
    return [
        ("bound", "copy, GB/s read and written", 2 * source.nbytes / copied / 1e9),
        ("bound", "matrix product, TFLOP/s", 2 * 8192**3 / seconds / 1e12),
    ]


def timed(run: Callable[[], Any], times: int = 20) -> float:
    """Median seconds on the device."""
    for _ in range(3):
        run()
    seconds = []
    for _ in range(times):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(seconds)


def ours() -> list[Row]:
    from app.engine import Engine, EngineOptions, Params

    began = time.perf_counter()
    model = str(make_model())
    engine = Engine(EngineOptions(models={"bench": model}, max_running=128, cache_bytes=6 * 2**30))
    rows: list[Row] = [("continuo", "start, s", time.perf_counter() - began)]
    info = engine.info().models[0]
    rows.append(("continuo", f"on {info.device} in {info.precision}", None))
    seeds = iter(range(1, 10**6))

    def ask(ids: list[int], **params: Any):
        seed = next(seeds)  # and another beginning: nothing of it is in the cache
        return engine.submit([seed, *ids[1:]], Params(ignore_eos=True, seed=seed, **params))

    def write(n: int, params: dict) -> float:
        began = time.perf_counter()
        for completion in [ask(ids, max_tokens=N_NEW, **params) for ids in prompts(n, N_PROMPT)]:
            for _ in completion:
                pass
        return n * N_NEW / (time.perf_counter() - began)

    for name, params in SETTINGS.items():
        for n in STREAMS:
            speed = max(write(n, params) for _ in range(3))
            rows.append(("continuo", f"{name}, {n} streams, tokens/s", speed))
    for length in (32, 900):
        for n in (1, 64):
            waits = [first_tokens(ask, n, length) for _ in range(4)][1:]
            waited_ms = 1e3 * min(max(one) for one in waits)
            rows.append(("continuo", f"first token of {n} x {length}, ms, last", waited_ms))
    engine.close()
    return rows


def first_tokens(ask: Callable[..., Any], n: int, length: int) -> list[float]:
    """Seconds until each of n has its first token."""
    from app.engine import Finished

    running = [ask(ids, max_tokens=1) for ids in prompts(n, length)]
    ends = [event for one in running for event in one if isinstance(event, Finished)]
    return [end.timings.first_token_ms / 1e3 for end in ends]


def turns() -> list[Row]:
    """The model alone: a turn of single tokens, recorded and not, and a turn of prompts."""
    from app import gpt2
    from app.gpt2 import Feed
    from app.gpt2.sampling import Draw

    checkpoint = gpt2.load(make_model())
    model = gpt2.open_on_gpu(checkpoint.config, checkpoint.weights, "auto", 128, 0)
    began = time.perf_counter()
    model.allocate(128 * 32)
    rows: list[Row] = [("turn", "check and recordings, s", time.perf_counter() - began)]
    for is_recorded in (True, False):
        if not is_recorded:
            model._recorded_step.forget()
        for kind, draw in {"top_k 40": Draw(1, 2, 0.7, 40), "all": Draw(1, 2)}.items():
            for n in STREAMS:
                for past in (100, 900):
                    feeds = [
                        Feed([7], past, range(32 * row, 32 * row + 32), 1, draw) for row in range(n)
                    ]
                    seconds = waited(lambda feeds=feeds: model.forward(feeds))
                    what = "" if is_recorded else "unrecorded, "
                    rows.append(("turn", f"{what}{kind}, {n} x {past}, ms", 1e3 * seconds))
    for n, length in ((1, 32), (1, 900), (4, 900), (40, 100)):
        feeds = [
            Feed(ids, 0, range(32 * row, 32 * row + 32), 1, Draw(1, 2, 0.7, 40))
            for row, ids in enumerate(prompts(n, length))
        ]
        seconds = waited(lambda feeds=feeds: model.forward(feeds))
        rows.append(("turn", f"prompts {n} x {length}, tokens/s", n * length / seconds))
    return rows


def waited(run: Callable[[], Any], times: int = 15) -> float:
    """Median seconds on the host, which waits for the device each time."""
    seconds = []
    for _ in range(times + 3):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[3:])


def transformers(streams: Sequence[int] = STREAMS) -> list[Row]:
    from transformers import GPT2LMHeadModel

    with quiet():
        network = GPT2LMHeadModel.from_pretrained(make_model(), dtype=torch.bfloat16).to("cuda")
    network.generation_config.pad_token_id = 0
    network.generation_config.eos_token_id = None

    def write(n: int) -> float:
        ids = torch.tensor(prompts(n, N_PROMPT), device="cuda")
        began = time.perf_counter()
        made = network.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=N_NEW,
            do_sample=True, temperature=0.7, top_k=40,
        )  # fmt: skip
        assert made.cpu().shape[1] == N_PROMPT + N_NEW
        return n * N_NEW / (time.perf_counter() - began)

    with quiet():
        return [
            ("transformers", f"top_k 40, {n} streams, tokens/s", max(write(n) for _ in range(2)))
            for n in streams
        ]


def transformers_at_most() -> list[Row]:
    return transformers(STREAMS[-1:])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what it says about its own settings."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def training() -> list[Row]:
    shape = (12, 768, 12, 50257, ROWS, LENGTH, STEPS)
    told = json.dumps({"who": "ours", "shape": shape, "precision": "bfloat16"})
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks._training", told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TRAIN_S)
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    speed = json.loads(done.stdout.splitlines()[-1])["speed"]
    return [("training", f"124M, {ROWS} x {LENGTH}, tokens/s", speed)]


def shares(rows: list[Row]) -> list[Row]:
    """Of what the bounds allow."""
    found = {(what, of): value for what, of, value in rows if value is not None}
    copy = found.get(("bound", "copy, GB/s read and written"))
    product = found.get(("bound", "matrix product, TFLOP/s"))
    made: list[Row] = []
    one = found.get(("continuo", "top_k 40, 1 streams, tokens/s"))
    if copy and one:
        limit = copy * 1e9 / (2 * 124e6)  # each weight read once, two bytes
        made.append(("bound", "1 stream, tokens/s", limit))
        made.append(("share", "1 stream of that", one / limit))
    for n in STREAMS:
        key = f"top_k 40, {n} streams, tokens/s"
        if found.get(("continuo", key)) and found.get(("transformers", key)):
            ratio = found["continuo", key] / found["transformers", key]
            made.append(("ratio", f"to transformers, {n} streams", ratio))
    trained = found.get(("training", f"124M, {ROWS} x {LENGTH}, tokens/s"))
    if product and trained:
        per_token = 6 * 124e6 + 6 * 12 * 768 * LENGTH  # weights; attention, half of it masked
        share = trained * per_token / product / 1e12
        made.append(("share", "training of the product's rate", share))
    return made
