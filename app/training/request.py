"""What a user asks of this room, from the command line or Python. None: not given."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.gpt2 import ModelNotFound, find

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class TextRequest:
    """Which texts, how they become documents, and in whose vocabulary."""

    texts: tuple[str, ...]  # files, folders, globs, addresses, - for stdin; or a prepared folder
    exclude: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    split: str | None = None  # shares to train, validate and test with: 70-20-10
    column: str | None = None
    encoding: str | None = None
    prose: bool = False
    line_by_line: bool = False
    bos: str | None = None
    eos: str | None = None
    pad: str | None = None
    new_vocabulary: int | None = None
    base: str | None = None
    into: Path = ROOT  # where models/ and runs/ are


# What cannot change once a folder is prepared.
OF_PREPARING = (
    "exclude", "validation", "test", "split", "column", "encoding", "prose", "bos", "eos", "pad",
    "new_vocabulary",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainRequest(TextRequest):
    """The texts, and the model to train on them."""

    name: str
    size: str | None = None
    cool_down: str | None = None  # a level run, to cut a release from
    about: str | None = None
    prompts: tuple[str, ...] = ()
    fresh: bool = False
    dry_run: bool = False
    quiet: bool = False
    config: dict[str, Any] = field(default_factory=dict)  # fields of TrainConfig
    resume_words: tuple[str, ...] | None = None  # after `continuo train`; None: called from Python


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    models: tuple[str, ...]
    texts: tuple[str, ...] = ()  # none: the test part of the first model's corpus
    exclude: tuple[str, ...] = ()
    column: str | None = None
    encoding: str | None = None
    prose: bool = False
    line_by_line: bool = False
    batch: int = 4
    into: Path = ROOT


def model_at(name: str, into: Path) -> Path:
    """The model of this name in into/models, or else in this checkout, which has the starter."""
    try:
        return find(name, into / "models")
    except ModelNotFound:
        return find(name, ROOT / "models")
