"""python -m tests.benchmarks.cluster: what the way through Ray Serve costs.

The 124M shape and the starter on one replica of a cluster of one node, and on an engine in a
process of its own, each with one thread; the two by turns, so that what else the machine does falls
on both. Then on two replicas, each with one thread too. Needs requirements-cluster.txt.
"""

import itertools
import os
import statistics
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

from app.engine import EngineOptions, Params, Token, cluster_application, connect, join_cluster
from app.engine.cluster.routing import APP
from tests.benchmarks.engine import BENCH, make_model
from tests.server import ROOT

ROUNDS, TOKENS, READERS = 7, 96, (1, 4, 16)


def measure(engine, model, readers):
    """Tokens a second of all readers, who come together, and milliseconds to each one's first."""

    def read(seed):
        params = Params(max_tokens=TOKENS, seed=seed, ignore_eos=True)
        completion = engine.submit(f"The house {seed}", params, model)
        seen = [time.monotonic() for event in completion if isinstance(event, Token)]
        return len(seen), seen[0] - begun

    with ThreadPoolExecutor(readers) as pool:
        begun = time.monotonic()
        counts, firsts = zip(*pool.map(read, range(readers)), strict=True)
        return sum(counts) / (time.monotonic() - begun), 1000 * statistics.median(firsts)


def show(what, name, rounds, ratio=None):
    speed, first = (statistics.median(numbers) for numbers in zip(*rounds[1:], strict=True))
    share = "" if ratio is None else f"{ratio:.0%}"
    print(f"| {what} | {name} | {speed:.0f} | {first:.0f} | {share} |", flush=True)


def main():
    models = {"124M": str(make_model()), "starter": str(ROOT / "models" / "starter")}
    options = EngineOptions(models=models, threads=1, compiled=str(BENCH / "cache"))
    os.environ |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    warnings.simplefilter("ignore")
    import ray
    from ray import serve

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(proxy_location="Disabled")
    serve.run(cluster_application(options, 1), name=APP, route_prefix=None)
    with tempfile.TemporaryDirectory() as folder:
        engines = {"plain": connect(options, folder), "cluster": join_cluster()}
        while any(engine.state().name != "ready" for engine in engines.values()):
            time.sleep(0.1)
        print("| model, readers | engine | tokens/s | first token, ms | tokens/s against plain |")
        print("|---|---|--:|--:|--:|")
        for model, readers in itertools.product(models, READERS):
            rows = {name: [] for name in engines}
            for _ in range(ROUNDS + 1):
                for name, engine in engines.items():
                    rows[name].append(measure(engine, model, readers))
            pairs = zip(rows["cluster"][1:], rows["plain"][1:], strict=True)
            ratio = statistics.median(ours[0] / plain[0] for ours, plain in pairs)
            for name, found in rows.items():
                show(f"{model}, {readers}", name, found, ratio if name == "cluster" else None)
        serve.run(cluster_application(options, 2), name=APP, route_prefix=None)
        for model in models:
            rounds = [measure(engines["cluster"], model, 16) for _ in range(ROUNDS + 1)]
            show(f"{model}, 16", "cluster, two replicas", rounds)
        for engine in engines.values():
            engine.close()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
