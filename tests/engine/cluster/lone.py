"""python -m tests.engine.cluster.lone PORT MODEL: a cluster of one node, its head at PORT, with one
replica of a model; it says "deployed" and stays."""

import os
import signal
import sys
import warnings

from app.engine import EngineOptions, cluster_application
from app.engine.cluster.routing import APP


def main():
    port, model = sys.argv[1:]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    warnings.simplefilter("ignore")  # of Ray's own
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"gcs_server_port": int(port), **size})
    ray.init(cluster.address, namespace="serve", log_to_driver=False, logging_level="error")
    serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
    options = EngineOptions(models={"tiny": model}, precision="float32", threads=1)
    serve.run(cluster_application(options, 1), name=APP, route_prefix=None)
    print("deployed", file=sys.stderr, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
