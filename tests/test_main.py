"""The command line as a person uses it: a real process, its words, its exit code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app import gpt2

ROOT = Path(__file__).parent.parent


def continuo(*words: object, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "app", *map(str, words)]
    environment = {**os.environ, "LC_ALL": "C", **more.pop("env", {})}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", **more
    )


def test_help_is_instant_because_no_room_is_entered():
    code = "import sys, app.__main__; print([n for n in sys.modules if n in sys.argv[1:]])"
    rooms = ["torch", "transformers", "numpy", "flask"]
    done = subprocess.run([sys.executable, "-c", code, *rooms], cwd=ROOT, capture_output=True)
    assert done.stdout.strip() == b"[]", done.stderr


def test_help_shows_each_command_in_a_whole_sentence():
    """Six of ten ended in "..."; generate's spoke of null, which nobody can type there."""
    said = continuo("--help", env={"COLUMNS": "80"}).stdout
    assert "generate" in said and "..." not in said.partition("Commands:")[2]
    assert "null" not in continuo("generate", "--help").stdout


def test_inspect_tells_what_a_checkpoint_holds(tiny):
    said = json.loads(continuo("inspect", tiny, "--json").stdout)
    assert said["n_layer"] == 2 and said["format"] == "safetensors" and said["dtype"] == "float32"
    assert said["special_tokens"] == ["<|endoftext|>"]
    assert "n layer  2" in continuo("inspect", tiny).stdout


def test_inspect_reads_a_checkpoint_whole_so_that_damage_shows(tmp_path):
    folder = tmp_path / "openai"
    shutil.copytree(ROOT / "tests" / "gpt2" / "files" / "tensorflow" / "openai", folder)
    assert continuo("inspect", folder).returncode == 0
    (data,) = folder.glob("*.data-*")
    data.write_bytes(bytes(data.stat().st_size))
    done = continuo("inspect", folder)
    assert done.returncode == 1 and f"{data} is damaged" in done.stderr


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["inspect", "nowhere"], "There is no model 'nowhere'"),
        (["inspect", "LICENSE"], "neither a PyTorch nor a safetensors file"),
        (["convert", "LICENSE", "x"], "neither a PyTorch nor a safetensors file"),
        (["inspekt"], "No such command 'inspekt'"),
    ],
)
def test_a_failure_is_one_sentence_on_stderr_and_a_non_zero_exit(words, sentence):
    done = continuo(*words)
    assert done.returncode != 0
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("format", ["safetensors", "bin", "legacy-bin"])
def test_convert_writes_what_opens_to_identical_weights(tiny, tmp_path, format):
    done = continuo("convert", tiny, tmp_path / "new", "--format", format)
    assert done.returncode == 0, done.stderr
    before, after = gpt2.load(tiny).weights, gpt2.load(tmp_path / "new").weights
    assert all((before[name] == after[name]).all() for name in before)


def test_convert_never_overwrites_without_force(tiny, tmp_path):
    target = tmp_path / "new"
    assert continuo("convert", tiny, target).returncode == 0
    again = continuo("convert", tiny, target)
    assert again.returncode == 1 and "is there already; remove it, or say --force" in again.stderr
    assert continuo("convert", tiny, target, "--force", "--dtype", "float16").returncode == 0
    assert gpt2.load(target).facts.dtype == "float16"


def test_names_in_any_script_are_printed_whatever_the_locale(tiny, tmp_path):
    path = tmp_path / "朋友"
    path.symlink_to(tiny)
    assert "朋友" in continuo("inspect", path).stdout


def test_a_pickle_saved_by_a_script_converts(tmp_path):
    """The tutorial's way: a bare state dict, renamed and copied about."""
    torch.save({"a": torch.ones(1)}, tmp_path / "x.bin")
    assert "this is not a GPT-2 (it holds a" in continuo("inspect", tmp_path / "x.bin").stderr


def test_generate_understands_the_old_tools_spellings(tiny):
    new = continuo("generate", "-m", tiny, "--max-tokens", 4, "--top-k", 1, "--seed", 1, "a")
    old = continuo("generate", "-m", tiny, "--length=4", "--top_k", 1, "--seed", 1, "a")
    assert old.returncode == 0 and old.stdout == new.stdout
