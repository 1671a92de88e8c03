"""models/: which checkpoint a word means, and what stands there.

A web worker's start needs `find` too, so no library is imported until something is opened.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.gpt2.files.checkpoint import Checkpoint, CheckpointError

TUTORIALS = "gpt2-pytorch_model.bin"  # where the tutorials of 2019 tell people to put their model
STARTER = "starter"
WEIGHTS = (".bin", ".pt", ".pth", ".safetensors")
SIZES = {  # OpenAI's names; the first two sizes were miscounted when they were published
    "117M": "gpt2", "124M": "gpt2", "345M": "gpt2-medium", "355M": "gpt2-medium",
    "774M": "gpt2-large", "1558M": "gpt2-xl",
}  # fmt: skip


class ModelNotFound(ValueError):
    """A word that means no checkpoint: neither in models/ nor a path."""


def find(word: str | Path | None, models: Path) -> Path:
    """The path that `word` means: a name in `models`, or else a path of its own.

    None means the tutorials' file if somebody put it there, else the starter.
    """
    if word is None:
        word = TUTORIALS if (models / TUTORIALS).is_file() else STARTER
    for path in (models / word, Path(word), models / SIZES.get(str(word), word)):
        # a TensorFlow prefix (model-4000) is no file itself; model-4000.index beside it is
        if path.exists() or path.with_name(path.name + ".index").exists():
            return path
    there = ", ".join(entry.name for entry in entries(models)) or "nothing"
    raise ModelNotFound(
        f"There is no model {str(word)!r}: no such path, and {models} holds {there}."
    )


def name_of(path: Path) -> str:
    """What a model at `path` is called: its folder's name, or its file's without the ending."""
    return path.stem if path.suffix in WEIGHTS else path.resolve().name


def entries(models: Path) -> list[Path]:
    """What in `models` could be a checkpoint: its folders, and files with a name of weights."""
    if not models.is_dir():
        return []
    return sorted(
        entry
        for entry in models.iterdir()
        if not entry.name.startswith((".", "__")) and (entry.is_dir() or entry.suffix in WEIGHTS)
    )


def open_all(models: Path) -> "Iterator[tuple[str, Checkpoint | CheckpointError]]":
    """Each name in `models` with its checkpoint, or with why it does not open."""
    from app.gpt2.files.checkpoint import CheckpointError, load

    for entry in entries(models):
        try:
            yield entry.name, load(entry)
        except CheckpointError as error:
            yield entry.name, error
