"""deployment/continuo.service, as systemd itself reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deployment" / "continuo.service"
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


@pytest.fixture
def unit(tmp_path):
    """As after `make serve` in /opt/continuo; the program that it starts has to be there."""
    program = tmp_path / ".venv" / "bin" / "continuo"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/continuo", str(tmp_path)))
    return path


def test_systemd_understands_every_line(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert done.returncode == 0 and not said, done.stderr


def test_little_is_exposed(unit):
    """systemd's own measure, from 0 to 10 (times 10 here); a plain unit has 9.6."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_it_may_drain_before_it_is_killed():
    text = UNIT.read_text(encoding="utf-8")
    grace = int(re.search(r"CONTINUO_GRACE=(\d+)", text)[1])
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) >= grace + 5
