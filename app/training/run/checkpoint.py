"""The state of a run on disk: step-N folders in runs/NAME; the newest intact one is resumed.

    step-00000400/  weights.safetensors  optimizer.pt  state.json  sha256.json
    last, best      files that name two of them; no links, since some mounts refuse links

Knows no training: stores weights, optimizer and counters as they are.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from app.gpt2 import whole_file, whole_folder

PREFIX = "step-"
MANIFEST = "sha256.json"


def step_folders(run: Path) -> list[Path]:
    """Oldest first; half-written folders have other names."""
    return sorted(run.glob(PREFIX + "*"))


def save(run: Path, weights: dict, optimizer: dict, state: dict[str, Any], keep: int) -> Path:
    """Write step-N whole, name it, and remove those that are neither new nor best."""
    folder = run / f"{PREFIX}{state['step']:08d}"
    with whole_folder(folder, ours=MANIFEST) as temporary:
        save_file(weights, temporary / "weights.safetensors")
        torch.save(optimizer, temporary / "optimizer.pt")
        (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
        sums = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps(sums, indent=2), encoding="utf-8")
    best = run / f"{PREFIX}{state['best_step'] or 0:08d}"
    _name(run / "last", folder)
    if best.is_dir():
        _name(run / "best", best)
    kept = {folder, *step_folders(run)[-keep:], best}
    for old in step_folders(run):
        if old not in kept:
            shutil.rmtree(old)
    return folder


def _name(file: Path, folder: Path) -> None:
    if file.is_symlink():  # left by older versions
        file.unlink()
    with whole_file(file) as new:
        new.write_text(folder.name + "\n", encoding="utf-8")


def named(run: Path, word: str) -> Path:
    """The checkpoint that `last` or `best` names."""
    return run / (run / word).read_text(encoding="utf-8").strip()


def newest(run: Path) -> tuple[Path | None, list[Path]]:
    """The newest intact checkpoint, and the broken ones that are newer."""
    broken: list[Path] = []
    for folder in reversed(step_folders(run)):
        if is_intact(folder):
            return folder, broken
        broken.append(folder)
    return None, broken


def is_intact(folder: Path) -> bool:
    """Every file that was written is there and has its checksum."""
    try:
        sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(sha256(folder / name) == digest for name, digest in sums.items())
    except (OSError, ValueError):
        return False


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> tuple[dict, dict, dict[str, Any]]:
    """Weights, the optimizer's state, and the counters."""
    weights = load_file(folder / "weights.safetensors")
    optimizer = torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu")
    return weights, optimizer, json.loads((folder / "state.json").read_text(encoding="utf-8"))
