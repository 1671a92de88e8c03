"""A real cluster of several nodes on this machine, with replicas of the tiny model."""

import importlib.util
import warnings

import pytest

from app.engine import EngineOptions
from tests.server import ROOT

if importlib.util.find_spec("ray") is None:  # requirements-cluster.txt
    collect_ignore_glob = ["test_*.py"]
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own about pydantic
        import ray
        from ray import serve
        from ray.cluster_utils import Cluster

        from app.engine import cluster_application, join_cluster
        from app.engine.cluster.routing import APP


def pytest_collection_modifyitems(items):
    for item in items:
        if "engine/cluster" in item.path.as_posix():
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # Ray warns of itself


@pytest.fixture(scope="session")
def cluster():
    """A head that computes nothing, and two nodes of two processors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # for the replicas
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
        size = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **size})
        size.pop("include_dashboard")
        for _ in range(2):
            cluster.add_node(num_cpus=2, resources={"replica": 2}, **size)
        ray.init(cluster.address, namespace="serve", log_to_driver=False, logging_level="error")
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        yield cluster
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="session")
def deploy(cluster, tiny):
    """deploy(replicas, ...) runs so many; the last call holds."""

    def deploy(replicas=1, most=None, **options):
        options = {"precision": "float32", "threads": 1} | options
        wanted = EngineOptions(models={"tiny": str(tiny)}, **options)
        serve.run(cluster_application(wanted, replicas, most), name=APP, route_prefix=None)

    return deploy


@pytest.fixture
def client():
    client = join_cluster()
    yield client
    client.close()
