"""Plan a training: its steps, its memory, and the time measured on this machine.

Knows the arithmetic of a GPT-2; trains nothing.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn
from transformers import GPT2LMHeadModel

from app.training.config import TrainConfig
from app.training.corpus.corpus import Corpus
from app.training.errors import TrainingError

MEASURED = 2  # micro-batches that are run only for their time
FEW_BYTES = 1_000_000  # of text; with less, a base is tuned at a lower rate
RUNTIME = 500 << 20  # bytes that Python and torch take themselves


@dataclass(frozen=True)
class Plan:
    """The config with nothing left open."""

    config: TrainConfig
    steps: int
    window: int
    block: int
    batch: int
    learning_rate: float
    evaluate_every: int
    save_every: int
    sample_every: int
    train_tokens: int
    parameters: int
    learned: int  # of the parameters
    memory: int  # bytes, estimated
    world: int  # processes

    @property
    def tokens_per_step(self) -> int:
        """In all processes."""
        return self.block * self.batch * self.config.accumulate * self.world

    @property
    def rows_per_step(self) -> list[int]:
        """Rows in a step and in a long step, over all processes."""
        long = max(1, self.batch * self.block // self.window) if self.config.long_every else 0
        return [rows * self.config.accumulate * self.world for rows in (self.batch, long)]


def make_plan(config: TrainConfig, corpus: Corpus, model: GPT2LMHeadModel, world: int = 1) -> Plan:
    window = model.config.n_positions
    if config.block is not None and config.block > window:
        raise TrainingError(f"--block is {config.block}, more than the model's window of {window}.")
    block = min(config.block or window, max(1, len(corpus.train) - 1))
    n_rows = len(corpus.train) // block
    if config.line_by_line:
        n_rows = len(corpus.train.pieces(block)[0])
    usual_rows = (8192 if config.base is None else 2048) // block
    batch = config.batch or max(1, min(usual_rows, n_rows))
    epoch = n_rows / (batch * config.accumulate * world)
    steps = config.steps or max(1, math.ceil(config.epochs * epoch))
    every = config.evaluate_every or min(1000, max(1, steps // 10))
    rate = config.learning_rate
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Plan(
        config=config,
        steps=steps,
        window=window,
        block=block,
        batch=batch,
        learning_rate=usual_rate(config, corpus.train.bytes) if rate is None else rate,
        evaluate_every=every,
        save_every=config.save_every or every,
        sample_every=config.sample_every or every,
        train_tokens=len(corpus.train),
        parameters=model.num_parameters(),
        learned=learned,
        memory=memory_needed(model, config, learned, batch, block),
        world=world,
    )


def usual_rate(config: TrainConfig, n_bytes: int) -> float:
    """Low for tuning, lower for little text; from scratch, lower for wider models."""
    if config.lora:
        return 2e-4
    if config.base is not None:
        return 1e-5 if n_bytes < FEW_BYTES else 5e-5
    return min(2e-3, 0.55 / config.width)


# ---- memory ----

OPTIMIZER_BYTES = {"adamw": 8, "muon": 5, "sgd": 4}  # per trained number
# Bytes kept for the backward pass, per token, layer and unit of width, by an activation's size: 16
# for the residual stream and norms, which stay in float32, and 17 activations.
KEPT = {2: 16 + 17 * 2, 4: 16 + 17 * 4}


def memory_needed(
    model: GPT2LMHeadModel, config: TrainConfig, learned: int, batch: int, block: int
) -> int:
    """Weights, gradients, the optimizer, and the activations of one micro-batch."""
    shape = model.config
    number = 4 if config.precision == "float32" else 2
    weights = model.num_parameters() * (4 + (number if number == 2 else 0))
    moving = learned * (4 + OPTIMIZER_BYTES[config.optimizer])
    layers = 2 if config.checkpointing else shape.n_layer
    tokens = max(batch * block, shape.n_positions if config.long_every else 0)
    kept = tokens * shape.n_embd * (layers * KEPT[number] + 4 * shape.n_layer + 24)
    return RUNTIME + weights + moving + kept


def memory_here(device: torch.device) -> int:
    """Bytes available, within the container's limit if there is one."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()) != "max":
        available = min(available, int(text))
    return available


def check_memory(plan: Plan, model: GPT2LMHeadModel, available: int) -> None:
    """Refuse a plan that does not fit into memory, and suggest one that does."""
    if plan.memory <= available:
        return
    lack = f"This needs about {plan.memory / 1e9:.1f} GB and {available / 1e9:.1f} GB are free"
    smaller = replace(plan.config, checkpointing=True)
    for batch in (2**n for n in reversed(range(plan.batch.bit_length()))):
        for config in (plan.config, smaller):
            if memory_needed(model, config, plan.learned, batch, plan.block) <= available:
                words = f"--batch {batch}"
                if batch < plan.batch:
                    words += f" --accumulate {math.ceil(plan.batch * config.accumulate / batch)}"
                if config.checkpointing and not plan.config.checkpointing:
                    words += " --checkpointing"
                raise TrainingError(f"{lack}; this would fit: {words}.")
    raise TrainingError(
        f"{lack}; not even one row fits. Take --lora 8, a smaller --block, or a smaller model."
    )


# ---- time ----


def measure(
    loss: nn.Module, micro: list[tuple[np.ndarray, np.ndarray]], device: torch.device
) -> float:
    """Seconds that a step takes here, without its optimizer. Changes no weights."""
    times = []
    for _ in range(MEASURED):
        ids, labels = (torch.from_numpy(part) for part in micro[0])
        start = time.perf_counter()
        loss(ids.to(device), labels.to(device)).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    for parameter in loss.parameters():
        parameter.grad = None
    return min(times) * len(micro)


def validation_seconds(plan: Plan, seconds_per_step: float, n_tokens: int) -> float:
    """Seconds of all validations: a forward pass takes about a third of a step."""
    per_token = seconds_per_step / (plan.tokens_per_step / plan.world)
    return plan.steps // plan.evaluate_every * n_tokens * per_token / 3
