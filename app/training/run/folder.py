"""runs/NAME: start, resume, save. Knows what must stay the same and what may change."""

import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
from safetensors import SafetensorError
from torch import nn

from app.gpt2 import whole_file
from app.training.config import spelled
from app.training.errors import TrainingError
from app.training.learn import model as network
from app.training.learn.optimizers import Optimizers
from app.training.learn.plan import Plan
from app.training.run import checkpoint
from app.training.run.level import (
    RECORD,
    CorpusRecord,
    LevelRecord,
    Record,
    read_record,
    state_of,
)
from app.training.run.metrics import copy_metrics
from app.training.run.run import Level, Run, State


def corpus_of(run: Path) -> Path | None:
    """The folder of token files that a run trains on."""
    record = read_record(run)
    return None if record is None else run.parent / record.corpus.folder


class RunFolder:
    """runs/NAME while a command trains it; no other command may enter.

    Only the first of several processes writes; all read.
    """

    def __init__(self, run: Run, is_main: bool) -> None:
        self.run, self.path, self.is_main = run, run.folder, is_main
        self.aside = self.path.with_name(f".{self.path.name}.replaced")  # the old run, if --fresh

    def __enter__(self) -> "RunFolder":
        with contextlib.ExitStack() as stack:
            if self.is_main:
                stack.enter_context(alone(self.path))
                self._bring_back()
                stack.callback(self._bring_back)
            self._at_exit = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._at_exit.close()

    def _bring_back(self) -> None:
        """Bring back the run that --fresh set aside, unless the new one has saved something."""
        if not self.aside.is_dir():
            return
        if checkpoint.newest(self.path)[0] is None:
            shutil.rmtree(self.path, ignore_errors=True)
            self.aside.rename(self.path)
        else:
            shutil.rmtree(self.aside, ignore_errors=True)

    def begin(self, plan: Plan) -> None:
        """Check that the options fit the run in the folder, or set it aside (--fresh)."""
        if not self.is_main:
            return
        with self.writing():
            if self.run.fresh and self.path.is_dir():
                self.path.rename(self.aside)
            self.path.mkdir(parents=True, exist_ok=True)
        self._check_same(plan, self.path)
        level, corpus = self.run.level, self.run.corpus
        if level is not None and not checkpoint.step_folders(self.path):
            self._cut_from(level, plan)
        folder = corpus.folder.resolve()
        runs = self.path.parent.resolve()
        where = folder.relative_to(runs) if folder.is_relative_to(runs) else folder
        record = Record(
            dataclasses.asdict(self.run.config),
            CorpusRecord(corpus.key, str(where)),
            plan.rows_per_step,
            None if level is None else LevelRecord(level.run.name, level.step),
        )
        with self.writing(), whole_file(self.path / RECORD) as file:
            file.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))

    def resume(self, model: nn.Module, optimizers: Optimizers) -> State:
        """Load the newest intact checkpoint, if there is one."""
        folder, broken = checkpoint.newest(self.path)
        for bad in broken:
            back = f"going back to {folder.name}" if folder else "training from scratch"
            self.run.tell(f"The checkpoint {bad} is broken: {back}.")
        if folder is None:
            return State()
        weights, optimizer, state = checkpoint.load(folder)
        model.load_state_dict(weights, strict=False)
        optimizers.load_state_dict(optimizer)
        self.run.tell(f"Going on from step {state['step']:,}.")
        return State(**state)

    def _cut_from(self, level: Level, plan: Plan) -> None:
        self._check_same(plan, level.run)
        weights, optimizer, state = state_of(level, plan.learning_rate)
        with self.writing():
            copy_metrics(level.run, self.path)
            checkpoint.save(self.path, weights, optimizer, state, self.run.config.keep)

    def _check_same(self, plan: Plan, run: Path) -> None:
        """Refuse other options: they would train neither the old model nor a new one."""
        record = read_record(run)
        if record is None:
            return
        for name in self.run.config.differences(record.config):
            raise TrainingError(
                f"{run} was started with {spelled(name)} {record.config.get(name)}, not "
                f"{getattr(self.run.config, name)}; give the same again, or choose another --name."
            )
        if record.corpus.key != self.run.corpus.key:
            raise TrainingError(
                f"{run} was started on another corpus (or the files have changed since); "
                "choose another --name."
            )
        if record.rows_per_step != plan.rows_per_step:
            processes = f" on {plan.world} processes" if plan.world > 1 else ""
            raise TrainingError(
                f"{run} learns from {record.rows_per_step[0]} rows a step, and this would "
                f"take {plan.rows_per_step[0]}{processes}; choose --batch and --accumulate so that "
                "they give the same number, or choose another --name."
            )

    def save(self, model: nn.Module, optimizers: Optimizers, state: State) -> None:
        if not self.is_main:
            return
        with self.writing():
            weights, moments = network.weights_of(model), optimizers.state_dict()
            checkpoint.save(
                self.path, weights, moments, dataclasses.asdict(state), self.run.config.keep
            )
            shutil.rmtree(self.aside, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failed write, as on a full disk, into one sentence. Earlier checkpoints stay."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            newest = checkpoint.newest(self.path)[0]
            kept = f"{newest.name} is intact" if newest else "nothing was saved before"
            raise TrainingError(
                f"Writing to {self.path} failed ({reason}); {kept}. Make room, then repeat the "
                "command."
            ) from error


@contextlib.contextmanager
def alone(run: Path) -> Iterator[None]:
    """Keep other commands out of the run until this one, or its process, ends."""
    run.parent.mkdir(parents=True, exist_ok=True)
    opened = os.open(run.with_name(f".{run.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"{run} is being trained by another process; wait for it, or choose another --name."
            ) from None
        except OSError:  # some mounts, such as Google Drive's, have no locks
            pass
        yield
    finally:
        os.close(opened)
