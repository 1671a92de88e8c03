"""Alerts and dashboard: read by Prometheus's own tools, asked of a real Prometheus that scrapes a
real server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests
import yaml

from tests.deployment.proxy import free_port
from tests.server import fake, serve
from tests.waiting import wait_until

FOLDER = Path(__file__).parents[2] / "deployment"
ALERTS = FOLDER / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((FOLDER / "grafana" / "continuo.json").read_text(encoding="utf-8"))
TARGETS = [
    pytest.param(target["expr"], id=f"{panel['title']}: {target['legendFormat']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
RULES = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Prometheus is not installed: make tools"
)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_promtool_accepts_the_rules_and_the_configuration():
    run("promtool", "check", "rules", ALERTS)
    run("promtool", "check", "config", FOLDER / "prometheus" / "prometheus.yml")


@needs_prometheus
def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    text = (Path(__file__).parent / "alerts_test.yml").read_text(encoding="utf-8")
    for rule in RULES:
        assert f'firing", alertname="{rule["alert"]}"' in text, f"{rule['alert']} has no test"
    (tmp_path / "alerts_test.yml").write_text(text.replace("RULES", str(ALERTS)))
    run("promtool", "test", "rules", tmp_path / "alerts_test.yml")


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """A query of a Prometheus that has seen a server at work twice."""
    folder = tmp_path_factory.mktemp("prometheus")
    with serve(fake()) as server:
        port, (host, at) = free_port(), server.address
        scrape = {"job_name": "continuo", "static_configs": [{"targets": [f"{host}:{at}"]}]}
        configuration = {"global": {"scrape_interval": "200ms"}, "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(json.dumps(configuration))
        server.post("/generate", json={"prompt": "x", "max_tokens": 3})
        server.get("/nothing")
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", "--log.level=error",
             f"--storage.tsdb.path={folder}", f"--web.listen-address=127.0.0.1:{port}"],
        )  # fmt: skip

        def ask(query):
            url = f"http://127.0.0.1:{port}/api/v1/query"
            return requests.get(url, params={"query": query}, timeout=30).json()

        try:
            wait_until(lambda: _has_two_samples(ask))
            yield ask
        finally:
            process.terminate()
            process.wait(30)


def _has_two_samples(ask):
    try:
        found = ask("count_over_time(continuo_ready[1m]) > 1")
    except requests.RequestException:  # not there yet, or only beginning
        return False
    return found["status"] == "success" and found["data"]["result"]


@needs_prometheus
@pytest.mark.parametrize("expr", TARGETS)
def test_a_panel_shows_something(expr, ask):
    """Nothing was refused or cut here, so such a panel may be empty; its counters are known."""
    query = expr.replace("$job", "continuo").replace("$__rate_interval", "1m")
    found = ask(query)
    assert found["status"] == "success", found
    if not found["data"]["result"]:
        assert known(expr) and ("rejected" in expr or "cancelled" in expr or "wasted" in expr)


@needs_prometheus
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_the_server_counts(rule, ask):
    assert ask(rule["expr"])["status"] == "success"
    assert known(rule["expr"])


def known(expr):
    """Every metric in it is one of ours."""
    from app.web.watch.metrics import Metrics
    from tests.fake_engine import FakeEngine

    text = Metrics(FakeEngine()).text().decode()
    names = {
        line.split()[2].removesuffix("_total") for line in text.splitlines() if "# TYPE" in line
    }
    asked = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"\bcontinuo_\w+", expr)}
    return asked <= names


def test_no_panel_names_a_data_source():
    assert (
        len(set(re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD)))) == 2
    )  # its own, and that
