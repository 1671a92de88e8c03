"""The README is true: its commands exist, its settings are all there are."""

import re
from pathlib import Path

from app.__main__ import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_leads_to_a_file():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), f"the README links to {target}, which is not there"


def test_every_command_is_in_the_readme_and_exists():
    said = set(re.findall(r"^continuo ([a-z]+)", README, re.MULTILINE))
    assert set(main.commands) <= said, "a command the README does not mention"
    assert said <= set(main.commands), "a command the README made up"


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets
