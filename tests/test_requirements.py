"""requirements.lock is requirements.txt with all that it brings, each file with its hash."""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = dict(re.findall(r"^([a-z0-9.-]+)==(\S+) \\$", LOCK, re.MULTILINE))


def pinned(file):
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#-":
            name, _, version = line.partition("==")
            yield canonicalize_name(name.split("[")[0]), version


def test_the_lock_says_what_the_requirements_say():
    """After a change of requirements.txt: make lock."""
    assert dict(pinned("requirements.txt")).items() - {("torch", "2.13.0")} <= LOCKED.items()


def test_everything_has_a_hash():
    entries = re.split(r"\n(?=[a-z])", LOCK)
    for entry in entries:
        assert entry.startswith("#") or "--hash=sha256:" in entry, entry


def test_nothing_that_is_needed_is_missing():
    for name in [*LOCKED, "torch"]:
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.name.startswith(("nvidia", "cuda", "triton")):
                continue  # what a torch for CUDA brings
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in LOCKED, f"{name} needs {needed.name}"


def test_the_cluster_adds_to_what_serving_needs():
    assert "-r requirements.txt" in (ROOT / "requirements-cluster.txt").read_text(encoding="utf-8")
