"""A training run: its inputs, its folders, and how far it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.training.config import TrainConfig
from app.training.corpus.corpus import Corpus
from app.training.run.samples import PROMPTS


@dataclass(frozen=True)
class Level:
    """A run whose rate stays as it is, and the step where another leaves it to cool down."""

    run: Path  # runs/NAME of the level run
    step: int


@dataclass(frozen=True)
class Run:
    config: TrainConfig
    corpus: Corpus
    folder: Path  # runs/NAME
    result: Path  # models/NAME
    resume_command: str = "the same call again"
    prompts: tuple[str, ...] = PROMPTS
    about: str | None = None  # one line for where people choose a model
    tell: Callable[[str], None] = print
    quiet: bool = False  # not even a progress line on a terminal
    fresh: bool = False  # start over, even if runs/NAME exists
    dry_run: bool = False  # print the plan and stop
    level: Level | None = None  # the run that this one is cut from


@dataclass
class State:
    """How far a run is; saved with every checkpoint."""

    step: int = 0  # optimizer steps done
    tokens: int = 0  # tokens trained on, without padding
    seconds: float = 0.0  # of training, over all sittings
    best_step: int | None = None
    best_loss: float = math.inf  # of the validation
    stale: int = 0  # validations since the best
