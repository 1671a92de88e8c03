"""The README is true: its tree is the tree, its commands exist, its settings are all there are."""

import re
import subprocess
from pathlib import Path

import pytest

from app.__main__ import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = README.split("## The house")[1].split("```")[3]
FOLDERS_TOLD_WHOLE = ("app/gpt2/vocabulary", "static/words")  # one line for all that is in them


def files_in_tree() -> set[str]:
    """Paths drawn in the README: a name a line, two spaces deeper for each folder."""
    found, folders = set(), []
    for line in TREE.splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders[depth:] = [name.rstrip("/")]
        found.add("/".join(folders))
    return found


def tracked(pattern: str) -> set[str]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("pattern", ["app/*.py", "static/*", "templates/*", "deployment/*"])
def test_every_file_of_the_house_has_its_duty_in_the_tree(pattern):
    drawn = files_in_tree()
    for path in tracked(pattern):
        is_told = path in drawn or path.startswith(FOLDERS_TOLD_WHOLE)
        assert is_told or path.endswith("__init__.py"), f"{path} is not in the README's tree"


def test_every_link_leads_to_a_file():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), f"the README links to {target}, which is not there"


def test_everything_in_the_tree_is_there():
    for path in files_in_tree():
        assert (ROOT / path).exists(), f"the README's tree has {path}, which is not there"


def test_every_command_is_in_the_readme_and_exists():
    said = set(re.findall(r"^continuo ([a-z]+)", README, re.MULTILINE))
    assert set(main.commands) <= said, "a command the README does not mention"
    assert said <= set(main.commands), "a command the README made up"


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets
