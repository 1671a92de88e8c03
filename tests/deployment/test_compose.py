"""deployment/compose.yaml, as docker-compose itself reads it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deployment"
COMPOSE = shutil.which("docker-compose")


def read(*options, **environment):
    done = subprocess.run(
        [COMPOSE, "-f", FOLDER / "compose.yaml", *options, "config"],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture
def services():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.mark.skipif(COMPOSE is None, reason="docker-compose is not installed: make tools")
def test_compose_understands_every_line():
    """Its schema refuses what it does not know; the profile adds two services."""
    assert set(read("--profile", "watch")["services"]) >= {"nginx", "continuo"}
    ports = read(CONTINUO_LISTEN="0.0.0.0")["services"]["nginx"]["ports"]
    assert "0.0.0.0" in str(ports) and "127.0.0.1" in str(read()["services"]["nginx"]["ports"])


def test_every_file_that_is_mounted_is_there(services):
    for service in services.values():
        for volume in service["volumes"]:
            if volume.startswith("."):
                assert (FOLDER / volume.split(":")[0]).exists(), volume


def test_the_proxy_is_led_to_the_service_by_name(services):
    script = services["nginx"]["command"][2].split(" > ")[0]
    script = script.replace("/sample.conf", str(FOLDER / "nginx.conf"))
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"server (\S+) max_fails", said) == ["continuo:5000"]


def test_a_container_drains_before_it_is_killed(services):
    service = services["continuo"]
    grace = int(service["environment"]["CONTINUO_GRACE"])
    assert int(service["stop_grace_period"].rstrip("s")) >= grace + 5
