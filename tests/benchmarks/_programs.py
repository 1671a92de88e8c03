"""The programs that engine.py compares, each run in a process of its own.

    python -m tests.benchmarks._programs NAME MODEL

prints a line of JSON for each measurement. A program that is not installed ends with MISSING.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".bench"  # what `make bench-llama` and `bench-genai` build, and models to measure
STREAMS = (1, 4, 16, 32)
N_PROMPT, N_NEW = 32, 64
THREADS = 2


class Missing(Exception):
    pass


def prompts(n: int, length: int = N_PROMPT) -> list[list[int]]:
    rng = np.random.default_rng(n * 1000 + length)
    return rng.integers(0, 50000, (n, length)).tolist()


def tell(what: str, **values: object) -> None:
    print(json.dumps({"what": what, **values}), flush=True)


def best(run: Callable[[], float], times: int = 3) -> float:
    """The least of several runs, after one that warms up."""
    run()
    return min(run() for _ in range(times))


def tell_speed(generate: Callable[[list[list[int]], int], object]) -> None:
    """Tokens a second, prompts counted in the time, for each number of streams."""

    def seconds(n: int, length: int, n_new: int) -> float:
        began = time.perf_counter()
        generate(prompts(n, length), n_new)
        return time.perf_counter() - began

    for n in STREAMS:
        took = best(lambda n=n: seconds(n, N_PROMPT, N_NEW))
        tell("speed", streams=n, tokens_per_s=n * N_NEW / took)
    tell("prefill", tokens_per_s=512 / best(lambda: seconds(1, 512, 1)))
    tell("memory", peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


# ---- in process ----


def ours(model: str, precision: str, backend: str = "native") -> None:
    from app.engine import Engine, EngineOptions, Params

    options = EngineOptions(
        models={"bench": model}, precision=precision, backend=backend, threads=THREADS,
        compiled=str(BENCH / "cache"), cache_bytes=sixteen_windows(model, precision),
    )  # fmt: skip
    began = time.perf_counter()
    engine = Engine(options)
    tell("start", seconds=time.perf_counter() - began)

    def generate(ids: list[list[int]], n_new: int) -> None:
        generate.seed += 1
        params = Params(max_tokens=n_new, ignore_eos=True, seed=generate.seed)
        for completion in [engine.submit(_fresh(prompt), params) for prompt in ids]:
            for _ in completion:
                pass

    def _fresh(prompt: list[int]) -> list[int]:
        """The same length, another beginning: nothing of it is in the cache."""
        return [generate.seed % 50000, *prompt[1:]]

    generate.seed = 0
    tell_speed(generate)
    for length in (100, 900):
        tell("context", length=length, tokens_per_s=_with_context(engine, length))
    if precision == "int8":
        for streams in (1, 8):
            _tell_gaps(engine, streams)
    engine.close()


def sixteen_windows(model: str, precision: str) -> int:
    """Bytes of their keys and values; of eight bits beside scales where weights are not exact."""
    config = json.loads((Path(model) / "config.json").read_text())
    n_numbers = 2 * config["n_layer"] * config["n_embd"] * config["n_positions"] * 16
    return n_numbers * 4 if precision == "float32" else n_numbers * 72 // 64


def _with_context(engine, length: int, streams: int = 16) -> float:
    """Tokens a second of 16 streams that go on together from texts so long, read before."""
    from app.engine import Params, Token

    contexts = prompts(streams, length)
    for n_new in (1, N_NEW):
        params = Params(max_tokens=n_new, ignore_eos=True)
        running = [engine.submit(context, params) for context in contexts]
        for completion in running:
            while not isinstance(completion.next(), Token):
                pass
        began, before = time.perf_counter(), engine.stats().completion_tokens
        for completion in running:
            for _ in completion:
                pass
    return (engine.stats().completion_tokens - before) / (time.perf_counter() - began)


def _tell_gaps(engine, streams: int) -> None:
    """How long the next tokens take, among themselves and beside prompts of 1,000 tokens."""
    from app.engine import Params

    endless = Params(max_tokens=None, ignore_eos=True)
    running = [engine.submit(prompt, endless) for prompt in prompts(streams)]
    alone = _gaps(running, 60)
    beside = []
    for long in prompts(6, 1000):
        arriving = engine.submit(long, Params(max_tokens=1, ignore_eos=True))
        while not _has_written(arriving):
            beside += _gaps(running, 1)
    for completion in [*running, arriving]:
        completion.cancel()
    median, p99 = np.percentile(beside, 50), np.percentile(beside, 99)
    tell("gap", streams=streams, alone=np.median(alone), median=median, p99=p99)


def _has_written(completion) -> bool:
    from app.engine import Token

    while (event := completion.next(0)) is not None:
        if isinstance(event, Token):
            return True
    return False


def _gaps(running, n: int) -> list[float]:
    """Milliseconds until every stream has its next token, n times."""
    from app.engine import Token

    gaps = []
    for _ in range(n):
        began = time.perf_counter()
        for completion in running:
            while not isinstance(completion.next(), Token):
                pass
        gaps.append(1000 * (time.perf_counter() - began))
    return gaps


def transformers(model: str, dtype: str) -> None:
    import torch
    from transformers import GPT2LMHeadModel

    torch.set_num_threads(THREADS)
    network = GPT2LMHeadModel.from_pretrained(model, dtype=getattr(torch, dtype))
    network.generation_config.pad_token_id = 0
    network.generation_config.eos_token_id = None

    def generate(ids: list[list[int]], n_new: int) -> None:
        batch = torch.tensor(ids)
        network.generate(
            batch, attention_mask=torch.ones_like(batch), max_new_tokens=n_new,
            do_sample=True, temperature=0.7, top_k=40,
        )  # fmt: skip

    tell_speed(generate)


def genai(model: str) -> None:
    """OpenVINO GenAI's continuous batching, of a model by its own exporter, as both come."""
    exported = Path(f"{model}-genai")
    if not exported.exists():
        raise Missing(f"`make bench-genai` makes {exported.name}")
    import openvino
    import openvino_genai

    scheduling = openvino_genai.SchedulerConfig()
    scheduling.cache_size = 1  # GB
    scheduling.enable_prefix_caching = False  # the same prompts come again
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        str(exported), scheduling, "CPU", {"INFERENCE_NUM_THREADS": THREADS}
    )
    config = openvino_genai.GenerationConfig(
        do_sample=True, temperature=0.7, top_k=40, ignore_eos=True
    )

    def generate(ids: list[list[int]], n_new: int) -> None:
        config.max_new_tokens = n_new
        inputs = [openvino.Tensor(np.array([prompt])) for prompt in ids]
        for answer in pipeline.generate(inputs, [config] * len(ids)):
            assert len(answer.m_generation_ids[0]) == n_new

    tell_speed(generate)


PROGRAMS = {
    "continuo int8": lambda model: ours(model, "int8"),
    "continuo bfloat16": lambda model: ours(model, "bfloat16"),
    "continuo float32": lambda model: ours(model, "float32"),
    "continuo torch float32": lambda model: ours(model, "float32", "torch"),
    "transformers float32": lambda model: transformers(model, "float32"),
    "transformers bfloat16": lambda model: transformers(model, "bfloat16"),
    "openvino genai int8": genai,
}


if __name__ == "__main__":
    try:
        PROGRAMS[sys.argv[1]](sys.argv[2])
    except (Missing, ImportError) as error:
        tell("missing", why=str(error))
