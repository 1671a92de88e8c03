"""TrainConfig: all that a training run is told, as data; the command line has its defaults here.

Knows no tensor. What is left None is chosen by `plan` from the corpus and the machine.
"""

import dataclasses
from dataclasses import dataclass

# Layers, width, heads. The last four are OpenAI's; the first three are for machines without a GPU.
SIZES = {
    "tiny": (4, 128, 4),
    "small": (6, 384, 6),
    "mini": (8, 512, 8),
    "gpt2": (12, 768, 12),
    "gpt2-medium": (24, 1024, 16),
    "gpt2-large": (36, 1280, 20),
    "gpt2-xl": (48, 1600, 25),
}
SCHEDULES = ("cosine", "linear", "constant", "wsd")
OPTIMIZERS = ("adamw", "muon", "sgd")
PRECISIONS = ("auto", "bfloat16", "float32")

# What may differ when a run is taken up again: how long and how talkative, not what it learns.
MAY_CHANGE = {
    "steps", "epochs", "max_minutes", "patience", "schedule", "warmup", "decay", "threads",
    "evaluate_every", "save_every", "sample_every", "sample_tokens", "keep", "tensorboard", "wandb",
}  # fmt: skip


class TrainingError(Exception):
    """Why a training cannot be begun or gone on with, in one sentence that says what to do."""


@dataclass(frozen=True)
class TrainConfig:
    # -- what is trained --
    base: str | None = None  # a checkpoint to begin from; None: from nothing, in the shape below
    layers: int = 12
    width: int = 768
    heads: int = 12
    window: int = 1024  # how many tokens the model can see
    # -- how much --
    steps: int | None = None  # optimizer steps; None: `epochs` times the corpus
    epochs: float = 3.0
    max_minutes: float | None = None  # stop (and save) after so long, whatever the steps say
    patience: int | None = None  # stop after so many validations without a new best; None: never
    # -- one step: batch x accumulate rows of `block` tokens, on each process --
    block: int | None = None  # None: the window, but never more than the corpus has
    batch: int = 8
    accumulate: int = 1
    long_every: int = 0  # every n-th step takes rows of the whole window instead; 0: none does
    line_by_line: bool = False  # a row is a document, padded, instead of a piece of the stream
    # -- how it learns --
    optimizer: str = "adamw"
    learning_rate: float | None = None  # None: by the corpus when tuning, by the width from nothing
    schedule: str = "cosine"  # after the warm-up
    warmup: float = 0.02  # share of the steps
    decay: float = 0.25  # share of the steps in which wsd goes down to 0
    weight_decay: float = 0.1
    clip: float = 1.0  # longest gradient; 0: any
    dropout: float = 0.0
    noise: float = 0.0  # share of the input tokens replaced by others drawn at random
    freeze: bool = False  # train the transformer blocks only, not the embeddings
    lora: int = 0  # rank of LoRA's small matrices, trained instead of the weights; 0: off
    # -- the machine --
    precision: str = "auto"  # bfloat16 where the machine multiplies in it
    checkpointing: bool = False  # compute activations twice to keep fewer
    threads: int | None = None  # None: torch's choice
    seed: int = 1
    # -- what is kept and shown --
    evaluate_every: int | None = None  # steps; None: ten times in the run, at most every 1000
    save_every: int | None = None  # steps; None: with every validation
    sample_every: int | None = None  # steps; None: with every validation
    sample_tokens: int = 100
    keep: int = 3  # how many of the newest checkpoints stay
    tensorboard: bool = False
    wandb: bool = False

    def __post_init__(self) -> None:
        self._among("schedule", SCHEDULES)
        self._among("optimizer", OPTIMIZERS)
        self._among("precision", PRECISIONS)
        for name in ("layers", "width", "heads", "window", "batch", "accumulate", "keep"):
            self._at_least(name, 1)
        for name in ("steps", "block", "patience", "evaluate_every", "save_every", "sample_every"):
            self._at_least(name, 1)
        for name in ("long_every", "lora", "noise", "clip", "weight_decay", "learning_rate"):
            self._at_least(name, 0)
        for name in ("noise", "dropout", "warmup", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is a share, 0 to 1.")
        if self.width % self.heads:
            raise TrainingError(f"width {self.width} cannot be divided among {self.heads} heads.")
        if self.freeze and self.base is None:
            raise TrainingError("freeze keeps a base's embeddings, and there is no base.")

    def _among(self, name: str, words: tuple[str, ...]) -> None:
        if getattr(self, name) not in words:
            raise TrainingError(f"{name} is {getattr(self, name)!r}; it is one of {words}.")

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is not None and value < least:
            raise TrainingError(f"{name} is {value}; it must be at least {least}.")

    def differences(self, other: "TrainConfig") -> list[str]:
        """Names of the fields in which the two would train another model."""
        fields = (f.name for f in dataclasses.fields(self) if f.name not in MAY_CHANGE)
        return [name for name in fields if getattr(self, name) != getattr(other, name)]
