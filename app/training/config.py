"""TrainConfig: the options of a training run, with their defaults and help. Knows no tensor.

What is None is chosen by learn/plan.py from the corpus and the machine.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from app.training.errors import TrainingError

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
PRECISIONS = ("auto", "bfloat16", "float16", "float32")

# Options that may change on resume: none of them changes what a checkpoint means. Batch and
# accumulate may change if a step keeps its number of rows.
MAY_CHANGE = {
    "steps", "epochs", "max_minutes", "timed", "patience", "learning_rate", "schedule", "warmup",
    "decay", "average", "batch", "accumulate", "checkpointing", "compile", "threads",
    "evaluate_every", "save_every", "sample_every", "sample_tokens", "print_every", "keep",
    "tensorboard", "wandb",
}  # fmt: skip


def option(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field with its help, as `continuo train --help` shows it."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


def spelled(name: str) -> str:
    """A field as the user types it: --learning-rate."""
    return "--" + name.replace("_", "-")


CHAPTERS = {  # of the help, by their first field
    "layers": "A model from scratch",
    "steps": "How much",
    "block": "One step: batch x accumulate rows of `block` tokens, on each process",
    "optimizer": "How it learns",
    "precision": "The machine",
    "evaluate_every": "What is kept and shown",
}


@dataclass(frozen=True)
class TrainConfig:
    # -- what is trained --
    base: str | None = None  # a checkpoint to start from; None: from scratch, in the shape below
    layers: int = option(12, "Layers of a model from scratch.")
    width: int = option(768, "Numbers per token in it.")
    heads: int = option(12, "Heads of attention in each layer.")
    window: int = option(1024, "Tokens that the model can see; a base has its own.")
    # -- how much --
    steps: int | None = option(None, "Optimizer steps, instead of epochs.")
    epochs: float = option(3.0, "How often the corpus is read.")
    max_minutes: float | None = option(None, "Save and stop after this many minutes.")
    timed: bool = option(
        False, "Fit the schedule into --max-minutes, with validation, samples and saving."
    )
    patience: int | None = option(
        5, "Stop after this many validations without a new best; 0: never."
    )
    # -- one step: batch x accumulate rows of `block` tokens, on each process --
    block: int | None = option(None, "Tokens in a row; the window by default.")
    batch: int | None = option(None, "Rows at a time; by default 2,048 tokens, from scratch 8,192.")
    accumulate: int = option(1, "Batches in a step; they count as one large batch.")
    long_every: int = option(0, "Every n-th step takes rows as long as the window; 0: none.")
    reshuffle: bool = option(False, "Shuffle the documents too in each epoch.")
    line_by_line: bool = False  # a row is a document, padded, instead of a piece of the stream
    # -- how it learns --
    optimizer: str = option(
        "adamw", "How weights are moved; muon is for models from scratch.", OPTIMIZERS
    )
    learning_rate: float | None = option(
        None, "Peak rate; by default 5e-5, under 1 MB of text 1e-5, from scratch by width."
    )
    schedule: str = option(
        "cosine", "Course of the rate; wsd stays level, then falls to 0.", SCHEDULES
    )
    warmup: float = option(0.02, "Share of the steps in which the rate rises.")
    decay: float = option(0.25, "Share of the steps in which wsd falls to 0.")
    average: float = option(
        0.0, "Average the weights over this last share of the steps; kept if better."
    )
    weight_decay: float = option(0.1, "How strongly the matrices are pulled towards 0.")
    clip: float = option(1.0, "Shorten gradients to this length; 0: never.")
    dropout: float = option(0.0, "Share of activations dropped while learning.")
    noise: float = option(0.0, "Share of the input tokens replaced by random ones.")
    freeze: bool = option(False, "Train the transformer blocks only, not the embeddings.")
    lora: int = option(0, "Rank of LoRA's matrices, trained instead of the weights; 0: off.")
    # -- the machine --
    precision: str = option(
        "auto",
        "auto: bfloat16 if the machine has it, else float16 on a GPU, float32 on a CPU.",
        PRECISIONS,
    )
    checkpointing: bool = option(False, "Compute activations twice, to keep fewer in memory.")
    compile: bool = option(
        False, "Compile the blocks if that is faster; takes a minute, for long runs on a GPU."
    )
    threads: int | None = option(None, "Threads that compute; torch chooses by default.")
    seed: int = option(1, "Seed of everything random.")
    # -- what is kept and shown --
    evaluate_every: int | None = option(
        None, "Steps between validations; by default a tenth of all."
    )
    save_every: int | None = option(None, "Steps between checkpoints; by default at validations.")
    sample_every: int | None = option(None, "Steps between samples; by default at validations.")
    sample_tokens: int = option(100, "Tokens in a sample.")
    print_every: int = option(10, "Steps between lines of progress.")
    keep: int = option(3, "How many of the newest checkpoints to keep.")
    tensorboard: bool = option(False, "Log to TensorBoard too.")
    wandb: bool = option(False, "Log to Weights & Biases too.")

    def __post_init__(self) -> None:
        self._among("schedule", SCHEDULES)
        self._among("optimizer", OPTIMIZERS)
        self._among("precision", PRECISIONS)
        for name in ("layers", "width", "heads", "window", "block", "batch", "accumulate"):
            self._at_least(name, 1)
        for name in ("steps", "threads", "evaluate_every", "save_every", "sample_every"):
            self._at_least(name, 1)
        for name in ("keep", "print_every"):
            self._at_least(name, 1)
        for name in ("epochs", "max_minutes", "patience", "long_every", "sample_tokens", "seed"):
            self._at_least(name, 0)
        for name in ("lora", "clip", "weight_decay", "learning_rate"):
            self._at_least(name, 0)
        for name in ("noise", "dropout", "warmup", "decay", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(
                    f"{spelled(name)} is {getattr(self, name)}; it is a share, from 0 to 1."
                )
        if self.long_every and self.line_by_line:
            raise TrainingError(
                "--long-every is for running text; leave it out with --line-by-line."
            )
        if self.timed and self.max_minutes is None:
            raise TrainingError(
                "--timed needs --max-minutes: the schedule ends when they are over."
            )
        if self.width % self.heads:
            raise TrainingError(
                f"--width {self.width} cannot be divided among {self.heads} --heads."
            )
        if (self.freeze or self.lora) and self.base is None:
            raise TrainingError(
                "--freeze and --lora keep what a base has learned; name one with --from."
            )
        if self.lora and self.optimizer == "muon":
            raise TrainingError("--optimizer muon is for whole matrices; take adamw with --lora.")

    def _among(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise TrainingError(
                f"{spelled(name)} is {getattr(self, name)!r}; choose one of {', '.join(choices)}."
            )

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is not None and not least <= value < math.inf:  # false for nan
            raise TrainingError(f"{spelled(name)} is {value}; it must be at least {least}.")

    def differences(self, recorded: dict[str, Any]) -> list[str]:
        """Fields whose recorded value would train another model.

        A field that the record lacks is newer than the run, which used its default.
        """
        fields = (f for f in dataclasses.fields(self) if f.name not in MAY_CHANGE)
        return [f.name for f in fields if getattr(self, f.name) != recorded.get(f.name, f.default)]
