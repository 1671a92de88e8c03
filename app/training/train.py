"""The loop: a corpus and a TrainConfig in, a model out. Told top to bottom in `train`.

    runs/NAME/     what is needed to go on: step-N/, last, best, config.json, metrics, samples
    models/NAME/   the best weights so far, an ordinary checkpoint that can be served meanwhile

Everything random in step n is drawn from (seed, n), and the rows of step n are a function of
(seed, n) too, so a checkpoint holds no generator and no position, and still goes on bit for bit.
"""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from app.training import checkpoint, evaluate, machine, network
from app.training.batches import IGNORED, Batches, Lines
from app.training.config import TrainConfig, TrainingError
from app.training.corpus import Corpus
from app.training.loss import SummedLoss
from app.training.metrics import Metrics
from app.training.optimizers import Optimizers, learning_rate
from app.training.whole import whole_folder, write_whole

LOG_EVERY = 10  # steps


@dataclass
class State:
    """Where a run is; written with every checkpoint."""

    step: int = 0  # optimizer steps done
    tokens: int = 0  # tokens learned from, padding not counted
    seconds: float = 0.0  # spent in the loop, over all sittings
    best_step: int | None = None
    best_loss: float = math.inf  # of the validation
    stale: int = 0  # validations since the best


@dataclass(frozen=True)
class Run:
    """One training: what it is told and where it writes."""

    config: TrainConfig
    corpus: Corpus
    folder: Path  # runs/NAME
    result: Path  # models/NAME
    tell: Callable[[str], None] = print
    about: dict = field(default_factory=dict)  # for training.json


def train(run: Run, model: network.GPT2LMHeadModel) -> State:
    config, corpus, tell = run.config, run.corpus, run.tell
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    machine.keep_memory()
    accelerator = Accelerator(mixed_precision=machine.precision(config.precision))
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes

    # 1. The model, what moves it, and what it reads.
    loss = accelerator.prepare(SummedLoss(model.train()))
    optimizers = Optimizers(model, config, device.type)
    block = config.block or config.window
    pad = corpus.tokenizer.specials.get(corpus.report["rules"]["pad"], 0)
    batches = Batches(corpus.train, config, block, pad, rank, world)
    steps = planned_steps(config, batches)
    every = evaluation_cadence(config, steps)
    peak = config.learning_rate or 0.55 / config.width

    # 2. Where the run was left, if it was begun before.
    state = resume(run, model, optimizers)
    metrics = Metrics(run.folder, state.step)
    tell(f"{model.num_parameters():,} parameters, {steps:,} steps, from step {state.step:,}.")

    # 3. Step after step.
    started, since, window_loss = time.monotonic(), state.seconds, []
    window_tokens, window_start = 0, started
    with machine.interruptible() as interrupted:
        while state.step < steps and not interrupted:
            rate = learning_rate(config, peak, state.step, steps)
            nats, n_labels, gradient = take_step(
                accelerator, loss, optimizers, batches, state.step, config, rate
            )
            state.step += 1
            state.tokens += n_labels
            state.seconds = since + time.monotonic() - started
            window_loss.append(nats / n_labels)
            window_tokens += n_labels
            if state.step % LOG_EVERY == 0 or state.step == steps:
                now = time.monotonic()
                row = {
                    "step": state.step,
                    "tokens": state.tokens,
                    "seconds": round(state.seconds, 3),
                    "loss": sum(window_loss) / len(window_loss),
                    "learning_rate": rate,
                    "gradient": gradient,
                    "tokens_per_second": window_tokens / (now - window_start),
                }
                metrics.add(row)
                tell(
                    f"step {state.step:,} of {steps:,}  loss {row['loss']:.4f}"
                    f"  {row['tokens_per_second']:,.0f} tokens/s"
                )
                window_loss, window_tokens, window_start = [], 0, now
            if state.step % every == 0 or state.step == steps:
                look(run, model, loss, state, metrics, block, device)
                window_start = time.monotonic()
            save_due = config.save_every or every
            if state.step % save_due == 0 or state.step == steps or interrupted:
                save(run, model, optimizers, state)
            if config.patience is not None and state.stale >= config.patience:
                tell(f"No better validation for {state.stale} in a row: stopping here.")
                break
            if config.max_minutes is not None and state.seconds > 60 * config.max_minutes:
                tell(f"{config.max_minutes:g} minutes are over: stopping here.")
                break
    save(run, model, optimizers, state)
    metrics.close()
    return state


def planned_steps(config: TrainConfig, batches: Batches) -> int:
    rows = config.batch * config.accumulate * batches.world
    return config.steps or max(1, math.ceil(config.epochs * batches.short.n_rows / rows))


def evaluation_cadence(config: TrainConfig, steps: int) -> int:
    return config.evaluate_every or min(1000, max(1, steps // 10))


def take_step(accelerator, loss, optimizers, batches, step, config, rate):
    """One optimizer step: the summed nats of its rows, their number of labels, the gradient."""
    torch.manual_seed(drawn_from(config.seed, step, batches.rank))
    micro = [tuple(map(torch.from_numpy, pair)) for pair in batches.at(step)]
    mine = torch.tensor(sum(int((labels != IGNORED).sum()) for _, labels in micro))
    n_labels = int(accelerator.reduce(mine.to(accelerator.device), "sum"))
    nats = torch.zeros((), device=accelerator.device)
    for i, (ids, labels) in enumerate(micro):
        ids, labels = ids.to(accelerator.device), labels.to(accelerator.device)
        # DDP takes the mean over processes; the loss is a mean over the labels of all of them.
        with contextlib.nullcontext() if i == len(micro) - 1 else accelerator.no_sync(loss):
            total = loss(ids, labels)
            accelerator.backward(total * batches.world / n_labels)
        nats += total.detach()
    clip = config.clip or math.inf
    gradient = torch.nn.utils.clip_grad_norm_(list(optimizers.parameters()), clip)
    optimizers.step(rate)
    return float(accelerator.reduce(nats, "sum")), n_labels, float(gradient)


def drawn_from(*numbers: int) -> int:
    """A seed of its own for each tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


def look(run, model, loss, state: State, metrics: Metrics, block: int, device) -> None:
    """Validate, and if it is the best yet let models/NAME have it."""
    tokens = run.corpus.validation
    if len(tokens) < 2:
        return
    if run.config.line_by_line:
        rows = evaluate.line_rows(Lines(tokens, block, 0, 0), run.config.batch)
    else:
        rows = evaluate.stream_rows(tokens.ids, block, block, run.config.batch)
    score = evaluate.validate(loss, tokens, rows, device)
    numbers = score.numbers() | {"validation_loss": score.loss}
    numbers.pop("loss"), numbers.pop("tokens")
    metrics.add({"step": state.step, "tokens": state.tokens, "seconds": state.seconds} | numbers)
    run.tell(
        f"step {state.step:,}  validation loss {score.loss:.4f}"
        f"  perplexity {score.perplexity:.2f}  bits per byte {score.bits_per_byte:.4f}"
    )
    state.stale += 1
    if score.loss < state.best_loss:
        state.best_loss, state.best_step, state.stale = score.loss, state.step, 0
        publish(run, model, state, numbers)


def publish(run, model, state: State, numbers: dict) -> None:
    run.result.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(run.result) as folder:
        network.write(model, folder)
        run.corpus.tokenizer.save(folder)
        says = run.about | {"step": state.step, "tokens": state.tokens} | numbers
        (folder / "training.json").write_text(json.dumps(says, indent=1), encoding="utf-8")


def save(run, model, optimizers: Optimizers, state: State) -> None:
    if (run.folder / f"{checkpoint.PREFIX}{state.step:08d}").exists():
        return
    checkpoint.save(
        run.folder,
        dict(network.weights_of(model)),
        optimizers.state_dict(),
        dataclasses.asdict(state),
        run.config.keep,
    )


def resume(run, model, optimizers: Optimizers) -> State:
    """Begin runs/NAME, or take up the newest intact checkpoint in it."""
    run.folder.mkdir(parents=True, exist_ok=True)
    told = run.folder / "config.json"
    if told.is_file():
        before = TrainConfig(**json.loads(told.read_text(encoding="utf-8")))
        for name in run.config.differences(before):
            raise TrainingError(
                f"{run.folder} was begun with {name} {getattr(before, name)}, not "
                f"{getattr(run.config, name)}; say the same again, or choose another --name."
            )
    write_whole(told, json.dumps(dataclasses.asdict(run.config), indent=1))
    folder, broken = checkpoint.newest(run.folder)
    for bad in broken:
        run.tell(f"{bad.name} is broken; going back to the one before.")
    if folder is None:
        return State()
    weights, optimizer, state = checkpoint.load(folder)
    model.load_state_dict(weights, strict=False)
    optimizers.load_state_dict(optimizer)
    return State(**state)
