"""python -m tests.benchmarks.cluster: what the way through Ray Serve costs.

The 124M shape on one replica of a cluster of one node, and on an engine in a process of its own,
each with one thread; the two by turns, so that what else the machine does falls on both. Then on
two replicas, each with one thread too. Needs requirements-cluster.txt.
"""

import os
import statistics
import tempfile
import time
import warnings

from app.engine import EngineOptions, Params, Token, cluster_application, connect, join_cluster
from app.engine.cluster.routing import APP
from tests.benchmarks.engine import BENCH, make_model
from tests.server import ROOT

ROUNDS, TOKENS = 7, 96


def measure(engine, readers):
    """Tokens a second of all readers, and milliseconds to the first token of all."""
    params = [Params(max_tokens=TOKENS, seed=i, ignore_eos=True) for i in range(readers)]
    begun = time.monotonic()
    running = [engine.submit(f"The house {p.seed}", p) for p in params]
    first, n = 0.0, 0
    for completion in running:
        for event in completion:
            if isinstance(event, Token):
                n += 1
                first = first or time.monotonic() - begun
    return n / (time.monotonic() - begun), 1000 * first


def main():
    models = {"bench": str(make_model())}
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
        print("| readers | engine | tokens/s | first token, ms | tokens/s against plain |")
        print("|--:|---|--:|--:|--:|")
        for readers in (1, 4, 16):
            rows = {name: [] for name in engines}
            for _ in range(ROUNDS + 1):
                for name, engine in engines.items():
                    rows[name].append(measure(engine, readers))
            pairs = zip(rows["cluster"][1:], rows["plain"][1:], strict=True)
            ratio = statistics.median(ours[0] / plain[0] for ours, plain in pairs)
            for name, found in rows.items():
                speed = statistics.median(tokens_per_s for tokens_per_s, _ in found[1:])
                first = statistics.median(milliseconds for _, milliseconds in found[1:])
                share = f"{ratio:.0%}" if name == "cluster" else ""
                print(f"| {readers} | {name} | {speed:.0f} | {first:.0f} | {share} |", flush=True)
        serve.run(cluster_application(options, 2), name=APP, route_prefix=None)
        rounds = [measure(engines["cluster"], 16) for _ in range(ROUNDS + 1)][1:]
        speed, first = (statistics.median(numbers) for numbers in zip(*rounds, strict=True))
        print(f"| 16 | cluster, two replicas | {speed:.0f} | {first:.0f} | |", flush=True)
        for engine in engines.values():
            engine.close()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
