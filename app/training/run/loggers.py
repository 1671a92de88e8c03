"""TensorBoard and Weights & Biases, if wanted. Knows no model."""

import secrets
from pathlib import Path
from typing import Any

from app.gpt2 import whole_file
from app.training.config import TrainConfig
from app.training.errors import TrainingError


class Loggers:
    """Passes numbers on to the loggers in use."""

    def __init__(self, config: TrainConfig, run: Path, step: int = 0) -> None:
        self.tensorboard = _tensorboard(run, step) if config.tensorboard else None
        self.wandb = _wandb(run) if config.wandb else None

    def add(self, step: int, numbers: dict[str, float]) -> None:
        if self.tensorboard is not None:
            for name, value in numbers.items():
                self.tensorboard.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(numbers, step=step)

    def close(self) -> None:
        if self.tensorboard is not None:
            self.tensorboard.close()
        if self.wandb is not None:
            self.wandb.finish()


def _tensorboard(run: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("--tensorboard needs its package: pip install tensorboard.") from None
    # purge_step drops the numbers of steps that a crash has lost.
    return SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)


def _wandb(run: Path) -> Any:
    try:
        import wandb
    except ImportError:
        raise TrainingError("--wandb needs its package: pip install wandb.") from None
    noted = run / "wandb-id.txt"  # in the run's folder, so --fresh makes a new one
    if not noted.is_file():
        with whole_file(noted) as file:
            file.write_text(f"{run.name}-{secrets.token_hex(4)}", encoding="utf-8")
    id = noted.read_text(encoding="utf-8")
    try:
        return wandb.init(project="continuo", name=run.name, dir=run, resume="allow", id=id)
    except wandb.Error as error:
        reason = str(error).rstrip(".")
        raise TrainingError(f"--wandb: {reason}; or set WANDB_MODE=offline.") from error
