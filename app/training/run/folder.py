"""runs/NAME: begun, taken up again, saved to. Knows what must be the same and what may change."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from app.gpt2 import whole_file
from app.training.config import TrainConfig, TrainingError
from app.training.corpus.corpus import Corpus
from app.training.learn import model as network
from app.training.learn.optimizers import Optimizers
from app.training.run import checkpoint


@dataclass
class State:
    """Where a run is; written with every checkpoint."""

    step: int = 0  # optimizer steps done
    tokens: int = 0  # tokens learned from, padding not counted
    seconds: float = 0.0  # spent learning, over all sittings
    best_step: int | None = None
    best_loss: float = math.inf  # of the validation
    stale: int = 0  # validations since the best


def corpus_of(run: Path) -> Path:
    """The folder of token files that a run was begun on."""
    return Path((run / "corpus.txt").read_text(encoding="utf-8"))


class RunFolder:
    """Only the first of several processes writes; all of them read."""

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        corpus: Corpus,
        is_main: bool,
        tell: Callable[[str], None],
    ) -> None:
        self.path, self.config, self.corpus, self.is_main = path, config, corpus, is_main
        self.tell = tell if is_main else lambda line: None

    def resume(self, model: nn.Module, optimizers: Optimizers) -> State:
        """Begin the run, or take up its newest intact checkpoint."""
        with self.writing():
            self.path.mkdir(parents=True, exist_ok=True)
            self._check_same()
            if self.is_main:
                says = json.dumps(dataclasses.asdict(self.config), indent=1)
                where = str(self.corpus.folder.resolve())
                for name, text in (("config.json", says), ("corpus.txt", where)):
                    with whole_file(self.path / name) as file:
                        file.write_text(text, encoding="utf-8")
        folder, broken = checkpoint.newest(self.path)
        for bad in broken:
            back = f"going back to {folder.name}" if folder else "beginning again"
            self.tell(f"The checkpoint {bad} is broken: {back}.")
        if folder is None:
            return State()
        weights, optimizer, state = checkpoint.load(folder)
        model.load_state_dict(weights, strict=False)
        optimizers.load_state_dict(optimizer)
        self.tell(f"Going on from step {state['step']:,}.")
        return State(**state)

    def _check_same(self) -> None:
        """Going on with other words would train neither the old model nor the new one."""
        told = self.path / "config.json"
        if not told.is_file():
            return
        before = TrainConfig(**json.loads(told.read_text(encoding="utf-8")))
        for name in self.config.differences(before):
            raise TrainingError(
                f"{self.path} was begun with {name} {getattr(before, name)}, not "
                f"{getattr(self.config, name)}; say the same again, or choose another --name."
            )
        corpus = self.path / "corpus.txt"
        if corpus.is_file() and corpus_of(self.path).name != self.corpus.folder.resolve().name:
            raise TrainingError(
                f"{self.path} was begun on another corpus (or the files have changed since); "
                "choose another --name."
            )

    def save(self, model: nn.Module, optimizers: Optimizers, state: State) -> None:
        if not self.is_main:
            return
        with self.writing():
            weights, moments = network.weights_of(model), optimizers.state_dict()
            checkpoint.save(
                self.path, weights, moments, dataclasses.asdict(state), self.config.keep
            )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A full disk is said in a sentence; what was written whole before is still there."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            newest = checkpoint.newest(self.path)[0]
            kept = f"{newest.name} is intact" if newest else "nothing was saved before"
            raise TrainingError(
                f"Writing to {self.path} failed ({reason}); {kept}. Make room, then give the "
                "same command again."
            ) from error
