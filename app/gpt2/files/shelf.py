"""models/: what is in it, and which checkpoint a name means.

The start of a web worker needs `find`, so libraries are imported only when something is opened.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.gpt2.files.checkpoint import Checkpoint, CheckpointError

TUTORIALS = "gpt2-pytorch_model.bin"  # where tutorials of 2019 put the model
STARTER = "starter"
WEIGHTS = (".bin", ".pt", ".pth", ".safetensors")
SIZES = {  # OpenAI's names; the first two sizes were miscounted when they were published
    "117M": "gpt2", "124M": "gpt2", "345M": "gpt2-medium", "355M": "gpt2-medium",
    "774M": "gpt2-large", "1558M": "gpt2-xl",
}  # fmt: skip


class ModelNotFound(ValueError):
    """A name that is neither in models/ nor a path, in one sentence."""


def find(word: str | Path | None, models: Path) -> Path:
    """The path that `word` means: a name in `models`, or else a path.

    None means the tutorials' file if it exists, else the starter.
    """
    if word is None:
        word = TUTORIALS if (models / TUTORIALS).is_file() else STARTER
    for path in (models / word, Path(word), models / SIZES.get(str(word), word)):
        # a TensorFlow prefix (model-4000) is not a file, but model-4000.index is
        if path.exists() or path.with_name(path.name + ".index").exists():
            return path
    there = ", ".join(entry.name for entry in entries(models)) or "nothing"
    raise ModelNotFound(
        f"There is no model {str(word)!r}: name a path, or what {models} holds: {there}."
    )


def name_of(path: Path) -> str:
    """The name of the model at `path`: its folder's, or its file's without the ending."""
    return path.stem if path.suffix in WEIGHTS else path.resolve().name


def entries(models: Path) -> list[Path]:
    """What could be checkpoints in `models`: folders, and files named like weights."""
    if not models.is_dir():
        return []
    return sorted(
        entry
        for entry in models.iterdir()
        if not entry.name.startswith((".", "__")) and (entry.is_dir() or entry.suffix in WEIGHTS)
    )


def open_all(models: Path) -> "Iterator[tuple[str, Checkpoint | CheckpointError]]":
    """Each name in `models` with its checkpoint, or the error that keeps it from opening."""
    from app.gpt2.files.checkpoint import CheckpointError, load

    for entry in entries(models):
        try:
            yield entry.name, load(entry)
        except CheckpointError as error:
            yield entry.name, error
