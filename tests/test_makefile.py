"""What a machine lacks for the set-up is said in one sentence."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# not the flags and the level of the make that runs the tests
ITS_OWN = {
    name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
}
LACKS = {
    "version_info": "Continuo needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 ...",
    "ensurepip": "Python cannot make virtual environments here: apt install python3-venv",
}


@pytest.mark.parametrize("asked, sentence", LACKS.items(), ids=["too old", "no venv"])
def test_a_python_that_will_not_do_is_one_sentence(tmp_path, asked, sentence):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncase $2 in *{asked}*) exit 1;; esac\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "serve", f"PYTHON={python}", f"VENV={tmp_path}/venv"],
        cwd=ROOT, env=ITS_OWN, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.splitlines()[0] == sentence
