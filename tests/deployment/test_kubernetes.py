"""deployment/kubernetes/, against the schemas of Kubernetes and of KEDA."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

kubernetes_validate = pytest.importorskip("kubernetes_validate")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployment" / "kubernetes"
KEDA = ROOT / ".venv-tools" / "node_modules" / "@kubernetes-models" / "keda"
OBJECTS = [
    pytest.param(found, id=f"{path.name}:{found['kind']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
OTHERS = ("keda.sh", "ray.io")  # kinds that Kubernetes itself does not have


def of_kind(kind):
    found = next(param.values[0] for param in OBJECTS if param.values[0]["kind"] == kind)
    return copy.deepcopy(found)


@pytest.mark.parametrize("found", OBJECTS)
def test_kubernetes_knows_every_field(found):
    if found["apiVersion"].split("/")[0] not in OTHERS:
        kubernetes_validate.validate(found, "1.34", strict=True)


def test_a_misspelt_field_would_be_noticed():
    found = of_kind("Deployment")
    found["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, "1.34", strict=True)


# Prints nothing and ends with 0, or says what is wrong.
JUDGE = """
const { ScaledObject } = require("@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject");
new ScaledObject(JSON.parse(require("fs").readFileSync(0))).validate();
"""


@pytest.mark.skipif(not KEDA.exists(), reason="KEDA's schemas are not installed: make tools")
def test_keda_agrees_with_the_scaled_object():
    def judge(found):
        return subprocess.run(
            ["node", "-e", JUDGE], env=os.environ | {"NODE_PATH": str(KEDA.parents[1])},
            input=json.dumps(found), capture_output=True, text=True,
        )  # fmt: skip

    found = of_kind("ScaledObject")
    done = judge(found)
    assert done.returncode == 0, done.stderr
    found["spec"]["triggers"][0]["metadata"]["threshold"] = 8
    assert "threshold must be string" in judge(found).stderr


def test_a_pod_drains_before_it_is_killed():
    spec = of_kind("Deployment")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    grace = next(row["value"] for row in container["env"] if row["name"] == "CONTINUO_GRACE")
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] >= before + int(grace) + 5


def test_a_stop_lets_the_door_of_a_ray_pod_drain_before_its_node_leaves(tmp_path):
    """Only Ray had the signal, so readers were cut off."""
    [workers] = of_kind("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    [container] = workers["template"]["spec"]["containers"]
    stands_in = tmp_path / "continuo"
    stands_in.write_text(
        f"#!{sys.executable}\nimport signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print(sys.argv[1], 'is up', flush=True)\n"
        "signal.sigwait({signal.SIGTERM})\n"
        "print(sys.argv[1], 'ends', flush=True)\n"
    )
    stands_in.chmod(0o700)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment["KUBERAY_GEN_RAY_START_CMD"] = "continuo ray"
    command = [*container["command"], *container["args"]]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as pod:
        assert {pod.stdout.readline(), pod.stdout.readline()} == {"serve is up\n", "ray is up\n"}
        pod.terminate()
        assert pod.stdout.read() == "serve ends\nray ends\n"


def test_all_speak_of_the_same_deployment():
    deployment = of_kind("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert of_kind("Service")["spec"]["selector"].items() <= labels
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert of_kind("ScaledObject")["spec"]["scaleTargetRef"]["name"] == "continuo"


def test_scaling_asks_for_gauges_that_there_are():
    from app.web.watch.metrics import _EngineCollector
    from tests.fake_engine import FakeEngine

    names = {metric.name for metric in _EngineCollector(FakeEngine()).collect()}
    triggers = of_kind("ScaledObject")["spec"]["triggers"]
    asked = [re.search(r"continuo_\w+", row["metadata"]["query"])[0] for row in triggers]
    assert asked and set(asked) <= names
