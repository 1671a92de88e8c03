"""deployment/kubernetes/, against the schemas of Kubernetes and of KEDA."""

import copy
import json
import os
import re
import subprocess
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
