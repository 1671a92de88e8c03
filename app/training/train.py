"""The loop: a corpus and a TrainConfig in, a model out. Told top to bottom in `train`.

    runs/NAME/     what is needed to go on: step-N/, last, best, run.json, metrics, samples
    models/NAME/   the best weights so far, an ordinary checkpoint that can be served meanwhile

Everything random in step n is drawn from (seed, n), and the rows of step n are a function of
(seed, n) too, so a checkpoint holds no generator and no position, and still goes on bit for bit.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from transformers import GPT2LMHeadModel

from app.training.config import TrainConfig, TrainingError
from app.training.corpus.corpus import Corpus
from app.training.learn import machine
from app.training.learn.average import Average
from app.training.learn.batches import IGNORED, Batches
from app.training.learn.loss import SummedLoss
from app.training.learn.optimizers import Optimizers, learning_rate
from app.training.learn.plan import Plan, check_memory, make_plan, measure, memory_here, tell_plan
from app.training.learn.score import Score, validate
from app.training.run.folder import RunFolder, State
from app.training.run.publish import Results
from app.training.run.samples import PROMPTS

LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class Run:
    """One training: what it is told and where it writes."""

    config: TrainConfig
    corpus: Corpus
    folder: Path  # runs/NAME
    result: Path  # models/NAME
    again: str = ""  # the command that takes it up again
    prompts: tuple[str, ...] = PROMPTS
    about: str | None = None  # one line for the page's model picker
    tell: Callable[[str], None] = print
    quiet: bool = False  # no line that moves on a terminal either
    fresh: bool = False  # train from scratch, although runs/NAME is there


@dataclass(frozen=True)
class Taken:
    """What one optimizer step was."""

    nats: float  # summed over the rows of all processes
    labels: int  # tokens learned from
    gradient: float  # its length before clipping
    rate: float


@dataclass(frozen=True)
class Ended:
    """Where a sitting ended, and by which signal if it was interrupted."""

    state: State
    signal: int | None


def train(run: Run, model: GPT2LMHeadModel) -> Ended:
    """Alone with runs/NAME, which stays as it was if nothing can be learned."""
    began = time.monotonic()
    if run.config.threads is not None:
        torch.set_num_threads(run.config.threads)
    machine.keep_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    is_main = accelerator.is_main_process
    with RunFolder(run.folder, run.config, run.corpus, is_main, run.tell, run.fresh) as folder:
        return learn(run, model, accelerator, folder, began)


def learn(
    run: Run, model: GPT2LMHeadModel, accelerator: Accelerator, folder: RunFolder, began: float
) -> Ended:
    device, world = accelerator.device, accelerator.num_processes

    # 1. The plan: everything that was left open is settled here.
    plan = make_plan(settled(run.config), run.corpus, model, world)
    check_memory(plan, model, memory_here(device))

    # 2. The model, what moves it, what it reads, and where it was left if it was begun before.
    folder.begin(plan, world)
    accelerator.wait_for_everyone()
    loss = accelerator.prepare(loss_of(model, plan).train())
    optimizers = Optimizers(model, plan.config)
    batches = Batches(run.corpus, plan, accelerator.process_index, world)
    state = folder.resume(model, optimizers)
    seconds_per_step = measure(loss, batches.at(0), device)
    if plan.config.compile:
        seconds_per_step = compile_blocks(loss, model, batches, device, seconds_per_step, folder)
    results = Results(run, plan, seconds_per_step, folder, state)
    clock = Clock(state, plan, results, began)

    # 3. Step after step, until the last or a reason to stop.
    stop = None
    with (
        machine.interruptible() as interrupted,
        torch.compiler.set_stance("force_eager"),  # all but steps, whose shape is always the same
        results,
    ):
        while stop is None and place(state, plan) < plan.steps:
            taken = take_step(accelerator, loss, optimizers, batches, state, plan)
            state.step, state.tokens = state.step + 1, state.tokens + taken.labels
            check_number(taken.nats + taken.gradient, state, plan)
            clock.note(taken)
            if plan.config.timed:
                agree_on_time(accelerator, state)
            optimizers.average.note(place(state, plan) / plan.steps)
            with clock.paused():
                is_best = False
                if due(plan.evaluate_every, state, plan):
                    score, kept = better(loss, optimizers.average, run.corpus, plan, device)
                    check_number(0.0 if score is None else score.loss, state, plan)
                    is_best = results.judge(score)
                if due(plan.sample_every, state, plan):
                    results.sample(model)
                stop = reason_to_stop(accelerator, plan, state, interrupted)
                if is_best or due(plan.save_every, state, plan) or stop is not None:
                    folder.save(model, optimizers, state)
                if is_best:
                    with kept():
                        results.publish(model, score)
        results.finish(model, stop)
    return Ended(state, interrupted.signal)


def settled(config: TrainConfig) -> TrainConfig:
    return replace(config, precision=machine.precision(config.precision))


def loss_of(model: GPT2LMHeadModel, plan: Plan) -> SummedLoss:
    return SummedLoss(model, getattr(torch, plan.config.precision))


def show_plan(run: Run, model: GPT2LMHeadModel) -> None:
    """What `train` would begin with, and nothing else: no file is written."""
    plan = make_plan(settled(run.config), run.corpus, model)
    check_memory(plan, model, memory_here(torch.device("cpu")))
    seconds = measure(loss_of(model, plan), Batches(run.corpus, plan, 0, 1).at(0), model.device)
    tell_plan(plan, seconds, run.corpus, run.result, run.tell)


def compile_blocks(
    loss: torch.nn.Module,
    model: GPT2LMHeadModel,
    batches: Batches,
    device: torch.device,
    seconds: float,
    folder: RunFolder,
) -> float:
    """Seconds a step takes from now on: the blocks stay compiled where that works and is faster."""
    summed = next(part for part in loss.modules() if isinstance(part, SummedLoss))
    summed.compiled = True
    try:
        for block in model.transformer.h:
            block.compile()
        compiled = measure(loss, batches.at(0), device)
        why = f"it takes {compiled:.3f} s a step, not {seconds:.3f}"
    except Exception as error:  # the compiler's own, of many kinds; without it all works as well
        compiled, why = math.inf, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    summed.compiled = compiled < seconds
    folder.tell(
        f"The blocks {'are' if summed.compiled else 'stay as they are, not'} compiled: {why}."
    )
    return min(compiled, seconds)


def place(state: State, plan: Plan) -> float:
    """How far the schedule is, in steps; a timed run may be as far by its time as by its steps."""
    config = plan.config
    if not config.timed or config.max_minutes is None:
        return state.step
    share = state.seconds / (60 * config.max_minutes) if config.max_minutes else 1.0
    return max(state.step, plan.steps * min(1.0, share if state.step else 0.0))


def agree_on_time(accelerator: Accelerator, state: State) -> None:
    """Where time counts, several processes must count alike."""
    if accelerator.num_processes > 1:
        seconds = torch.tensor(state.seconds, device=accelerator.device)
        state.seconds = float(accelerator.reduce(seconds, "mean"))


def due(every: int, state: State, plan: Plan) -> bool:
    return state.step % every == 0 or place(state, plan) >= plan.steps


def better(
    loss: torch.nn.Module, average: Average, corpus: Corpus, plan: Plan, device: torch.device
) -> tuple[Score | None, Callable[[], contextlib.AbstractContextManager]]:
    """The validation of the weights, or of their average if that is the better; and how to have

    the ones that it is of in the model.
    """
    score = validate(loss, corpus, plan, device)
    if average and score is not None:
        with average.in_place():
            averaged = validate(loss, corpus, plan, device)
        if averaged is not None and averaged.loss < score.loss:
            return averaged, average.in_place
    return score, contextlib.nullcontext


def take_step(
    accelerator: Accelerator,
    loss: torch.nn.Module,
    optimizers: Optimizers,
    batches: Batches,
    state: State,
    plan: Plan,
) -> Taken:
    """One optimizer step: micro-batches forward and back, clip, move."""
    config, device, step = plan.config, accelerator.device, state.step
    torch.manual_seed(drawn_from(config.seed, step, accelerator.process_index))
    micro = [tuple(map(torch.from_numpy, pair)) for pair in batches.at(step)]
    n_labels = sum(int((labels != IGNORED).sum()) for _, labels in micro)
    if accelerator.num_processes > 1:
        n_labels = int(accelerator.reduce(torch.tensor(n_labels, device=device), "sum"))
    nats = torch.zeros((), device=device)
    for i, (ids, labels) in enumerate(micro):
        ids = with_noise(ids, config.noise, batches.n_vocabulary).to(device)
        is_last = i == len(micro) - 1
        with contextlib.nullcontext() if is_last else accelerator.no_sync(loss):
            total = loss(ids, labels.to(device))
            # The mean over all labels of the step; DDP divides by the processes once more.
            accelerator.backward(total * (accelerator.num_processes / n_labels))
        nats += total.detach()
    gradient = torch.nn.utils.clip_grad_norm_(
        list(optimizers.parameters()), config.clip or math.inf
    )
    rate = learning_rate(config, plan.learning_rate, place(state, plan), plan.steps)
    optimizers.step(rate)
    batches.prepare(step + 1)  # before the first number is asked of the device, which still works
    return Taken(float(accelerator.reduce(nats, "sum")), n_labels, float(gradient), rate)


def check_number(value: float, state: State, plan: Plan) -> None:
    """Stop at once on nan or inf, before it can overwrite a good checkpoint."""
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss became {value} at step {state.step:,}, and nothing of that was saved. Give "
            f"the same command again with a --learning-rate below {plan.learning_rate:g}: it goes "
            "on from the last checkpoint."
        )


def drawn_from(*numbers: int) -> int:
    """A seed of its own for each tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


def with_noise(ids: torch.Tensor, share: float, n_vocabulary: int) -> torch.Tensor:
    """`share` of the inputs replaced by any token; the labels stay clean."""
    if not share:
        return ids
    others = torch.randint_like(ids, n_vocabulary)
    return torch.where(torch.rand(ids.shape) < share, others, ids)


def reason_to_stop(
    accelerator: Accelerator, plan: Plan, state: State, interrupted: machine.Interrupted
) -> str | None:
    """The first process's reason, or anybody's Ctrl-C, is everybody's: they must stop together."""
    config, reason = plan.config, None
    if config.patience and state.stale >= config.patience:
        reason = f"No better validation {state.stale} times in a row"
    elif (
        config.max_minutes is not None
        and state.seconds >= 60 * config.max_minutes
        and not config.timed  # for which it is the end, not an interruption
    ):
        reason = f"The {config.max_minutes:g} minutes are over"
    word = torch.tensor([bool(interrupted), reason is not None], dtype=torch.int64)
    if accelerator.num_processes > 1:
        word = accelerator.reduce(word.to(accelerator.device), "sum").cpu()
    if word[0]:
        return "Interrupted"
    return (reason or "Another process stopped") if word[1] else None


class Clock:
    """Counts the seconds of learning, and says every few steps how it goes.

    Of a timed run it counts all seconds: getting ready, validating, sampling and saving too.
    """

    def __init__(self, state: State, plan: Plan, results: Results, began: float) -> None:
        self.state, self.plan, self.results = state, plan, results
        self.last = time.monotonic()
        if plan.config.timed:
            state.seconds += self.last - began
        self.nats, self.labels, self.seconds = 0.0, 0, 0.0  # since the last row

    def note(self, taken: Taken) -> None:
        now = time.monotonic()
        self.seconds += now - self.last
        self.state.seconds += now - self.last
        self.last = now
        self.nats += taken.nats
        self.labels += taken.labels
        if due(LOG_EVERY, self.state, self.plan):
            self.results.note(
                loss=self.nats / self.labels,
                learning_rate=taken.rate,
                gradient=taken.gradient,
                tokens_per_second=self.labels / self.seconds,
            )
            self.nats, self.labels, self.seconds = 0.0, 0, 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Validating, sampling and saving are not learning."""
        yield
        now = time.monotonic()
        if self.plan.config.timed:
            self.state.seconds += now - self.last
        self.last = now
