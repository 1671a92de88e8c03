"""A level run, whose rate stays as it is, so that a release can be cut from it at any step.

A release is a run of its own: it begins as a copy of the level run's newest checkpoint and lets
the rate fall to 0, while the level run goes on untouched.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import msgspec

from app.training.config import TrainConfig, spelled
from app.training.errors import TrainingError
from app.training.run import checkpoint
from app.training.run.run import Level, State

RECORD = "run.json"  # in a run's folder: its config, its corpus, the rows of a step, its level run
SETTLED = ("steps", "epochs", "schedule", "timed")  # by where the level run is, and by decay


def state_of(level: Level, learning_rate: float) -> tuple[dict, dict, dict[str, Any]]:
    """What the release begins with; its best weights and their average are its own."""
    try:
        weights, optimizer, state = checkpoint.load(
            level.run / f"{checkpoint.PREFIX}{level.step:08d}"
        )
    except OSError:
        raise TrainingError(
            f"{level.run} has moved on from step {level.step:,} meanwhile; repeat the command."
        ) from None
    rate = optimizer["0"]["param_groups"][0]["lr"]
    if rate != learning_rate:
        raise TrainingError(
            f"{level.run} is at a rate of {rate:g}, not level at {learning_rate:g}; cut a release "
            "from a run with --schedule constant, after its warm-up."
        )
    optimizer.pop("average", None)
    new = dataclasses.replace(State(**state), best_step=None, best_loss=math.inf, stale=0)
    return weights, optimizer, dataclasses.asdict(new)


class CorpusRecord(msgspec.Struct, frozen=True):
    key: str
    folder: str  # absolute, or beside the runs


class LevelRecord(msgspec.Struct, frozen=True):
    run: str
    step: int


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """run.json."""

    config: dict[str, Any]  # a TrainConfig's fields, perhaps an older version's
    corpus: CorpusRecord
    rows_per_step: list[int]
    level: LevelRecord | None = None  # that the run was cut from


def read_record(run: Path) -> Record | None:
    """What runs/NAME was started as; None if it was not."""
    if not (run / RECORD).is_file():
        return None
    return msgspec.json.decode((run / RECORD).read_bytes(), type=Record)


def level_of(run: Path, release: Path | None) -> Level:
    """The level run as it is now, or as `release` has left it."""
    if release is not None:
        record = read_record(release)
        left = None if record is None else record.level
        if left is None or left.run != run.name:
            raise TrainingError(f"{release} was not cut from {run}; choose another --name.")
        return Level(run, left.step)
    newest, _ = checkpoint.newest(run)
    if newest is None:
        raise TrainingError(f"{run} has no checkpoint to cut a release from.")
    return Level(run, int(newest.name.removeprefix(checkpoint.PREFIX)))


def cooling(recorded: dict[str, Any], given: dict[str, Any], step: int) -> TrainConfig:
    """The level run's config, but that the rate falls to 0 in the last `decay` of the steps."""
    for name in SETTLED:
        if name in given:
            raise TrainingError(f"--cool-down settles {spelled(name)} by --decay; leave it out.")
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    config = {name: value for name, value in recorded.items() if name in known}
    config |= {"timed": False, "max_minutes": None} | given
    decay = config["decay"]
    if not 0 < decay < 1:
        raise TrainingError(f"--decay is {decay}; with --cool-down it is a share between 0 and 1.")
    steps = max(step + 1, round(step / (1 - decay)))
    return TrainConfig(**config | {"schedule": "wsd", "steps": steps})
