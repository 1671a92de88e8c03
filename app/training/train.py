"""The training loop. Read `train` and `learn` from top to bottom.

    runs/NAME/     what it takes to resume: step-N/, last, best, run.json, metrics, samples
    models/NAME/   the best weights so far, an ordinary checkpoint that can be served already

Everything random in step n is drawn from (seed, n), and so are its rows. So a checkpoint needs no
generator and no position, and a resumed run goes on bit for bit.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from transformers import GPT2LMHeadModel

from app.training.config import TrainConfig
from app.training.corpus.corpus import Corpus
from app.training.errors import TrainingError
from app.training.learn import machine
from app.training.learn.average import Average
from app.training.learn.batches import IGNORED, Batches
from app.training.learn.loss import SummedLoss
from app.training.learn.optimizers import Optimizers, learning_rate
from app.training.learn.plan import Plan, check_memory, make_plan, measure, memory_here
from app.training.learn.score import Score, validate
from app.training.report.plan_words import tell_plan
from app.training.report.recorder import Recorder, Stop
from app.training.run.folder import RunFolder
from app.training.run.run import Run, State


@dataclass(frozen=True)
class StepResult:
    """The numbers of one optimizer step."""

    nats: float  # summed over all processes
    labels: int  # tokens trained on
    gradient: float  # its length before clipping
    rate: float


@dataclass(frozen=True)
class Outcome:
    """Where a command ended, and by which signal if it was interrupted."""

    state: State
    signal: int | None = None


def train(run: Run, model: GPT2LMHeadModel) -> Outcome:
    """Plan, then train in runs/NAME, which stays as it was if training cannot start."""
    began = time.monotonic()
    if run.config.threads is not None:
        torch.set_num_threads(run.config.threads)
    machine.keep_memory()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device = accelerator.device

    # 1. The plan, with nothing left open.
    plan = make_plan(settled(run.config), run.corpus, model, accelerator.num_processes)
    check_memory(plan, model, memory_here(device))

    # 2. The model and its batches.
    loss = accelerator.prepare(loss_of(model, plan).train())
    batches = Batches(run.corpus, plan, accelerator.process_index, plan.world)
    if run.dry_run:
        seconds = measure(loss, batches.at(0), device)
        tell_plan(plan, seconds, run)
        return Outcome(State())
    with RunFolder(run, accelerator.is_main_process) as folder:
        return learn(run, plan, model, loss, batches, accelerator, folder, began)


def learn(
    run: Run,
    plan: Plan,
    model: GPT2LMHeadModel,
    loss: torch.nn.Module,
    batches: Batches,
    accelerator: Accelerator,
    folder: RunFolder,
    began: float,
) -> Outcome:
    device = accelerator.device

    # 3. The optimizers, and the latest checkpoint if there is one.
    folder.begin(plan)
    accelerator.wait_for_everyone()
    optimizers = Optimizers(model, plan.config)
    state = folder.resume(model, optimizers)
    check_together(accelerator, state)
    seconds_per_step = measure(loss, batches.at(0), device)
    if plan.config.compile:
        seconds_per_step = compile_blocks(loss, model, batches, device, seconds_per_step, run.tell)
    recorder = Recorder(run, plan, seconds_per_step, folder, state)
    clock = Clock(state, plan, recorder, began)

    # 4. Step by step, until the last or a reason to stop.
    stop, is_last = None, place(state, plan) >= plan.steps
    if is_last:
        more = "--max-minutes" if plan.config.timed else "--steps or --epochs"
        run.tell(f"This run is complete, at step {state.step:,}; to train further, raise {more}.")
    with (
        machine.interruptible() as interrupted,
        torch.compiler.set_stance("force_eager"),  # steps aside, which always have the same shape
        recorder,
    ):
        while stop is None and not is_last:
            result = take_step(accelerator, loss, optimizers, batches, state, plan)
            state.step, state.tokens = state.step + 1, state.tokens + result.labels
            check_number(result.nats + result.gradient, state, plan)
            clock.note(result)
            if plan.config.timed:
                agree_on_time(accelerator, state)
            optimizers.average.note(place(state, plan) / plan.steps)
            # Before the pause, whose time counts too in a timed run: the last step must be judged.
            is_last = place(state, plan) >= plan.steps
            with clock.paused():
                is_best, is_due = False, due(plan.evaluate_every, state, plan)
                if interrupted and (is_due or due(plan.sample_every, state, plan)):
                    folder.save(model, optimizers, state)  # whoever stops us may not wait for more
                if is_due:
                    score, kept = better(loss, optimizers.average, run.corpus, plan, device)
                    check_number(0.0 if score is None else score.loss, state, plan)
                    is_best = recorder.judge(score)
                if due(plan.sample_every, state, plan):
                    recorder.sample(model)
                stop = reason_to_stop(accelerator, plan, state, clock.sitting, interrupted)
                if is_best or due(plan.save_every, state, plan) or stop is not None:
                    folder.save(model, optimizers, state)
                if is_best:
                    with kept():
                        recorder.publish(model, score)
        recorder.finish(model, stop)
    return Outcome(state, interrupted.signal)


def settled(config: TrainConfig) -> TrainConfig:
    return replace(config, precision=machine.precision(config.precision))


def loss_of(model: GPT2LMHeadModel, plan: Plan) -> SummedLoss:
    return SummedLoss(model, getattr(torch, plan.config.precision))


def check_together(accelerator: Accelerator, state: State) -> None:
    """Refuse checkpoints of different steps, as machines without a shared disk may have."""
    step = torch.tensor([state.step], device=accelerator.device)
    steps = sorted(set(accelerator.gather(step).tolist()))
    if len(steps) > 1:
        raise TrainingError(
            f"The machines have checkpoints of different steps ({', '.join(map(str, steps))}); "
            "copy the newest step-N in runs/ to all of them."
        )


def compile_blocks(
    loss: torch.nn.Module,
    model: GPT2LMHeadModel,
    batches: Batches,
    device: torch.device,
    seconds: float,
    tell: Callable[[str], None],
) -> float:
    """Compile the blocks if that works and is faster; returns the seconds of a step from now on."""
    summed = next(part for part in loss.modules() if isinstance(part, SummedLoss))
    summed.compiled = True
    try:
        for block in model.transformer.h:
            block.compile()
        compiled = measure(loss, batches.at(0), device)
        why = f"it takes {compiled:.3f} s a step, not {seconds:.3f}"
    except Exception as error:  # the compiler's, of many kinds; training works without it
        compiled, why = math.inf, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    summed.compiled = compiled < seconds
    tell(f"The blocks are {'' if summed.compiled else 'not '}compiled: {why}.")
    return min(compiled, seconds)


def place(state: State, plan: Plan) -> float:
    """How far the schedule is, in steps; in a timed run, by its time if that is further."""
    config = plan.config
    if not config.timed or config.max_minutes is None:
        return state.step
    share = state.seconds / (60 * config.max_minutes) if config.max_minutes else 1.0
    return max(state.step, plan.steps * min(1.0, share if state.step else 0.0))


def agree_on_time(accelerator: Accelerator, state: State) -> None:
    """Give all processes the same time, by which they schedule."""
    if accelerator.num_processes > 1:
        seconds = torch.tensor(state.seconds, device=accelerator.device)
        state.seconds = float(accelerator.reduce(seconds, "mean"))


def due(every: int, state: State, plan: Plan) -> bool:
    return state.step % every == 0 or place(state, plan) >= plan.steps


def better(
    loss: torch.nn.Module, average: Average, corpus: Corpus, plan: Plan, device: torch.device
) -> tuple[Score | None, Callable[[], contextlib.AbstractContextManager]]:
    """The score of the weights, or of their average if that is better; and a context manager that
    puts the weights of that score into the model.
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
) -> StepResult:
    """One optimizer step: forward and backward for each micro-batch, clip, update."""
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
            # The mean over all labels of the step; DDP divides by the number of processes.
            mean = total * (accelerator.num_processes / n_labels)
            accelerator.backward(optimizers.scaler.scale(mean))
        nats += total.detach()
    gradient = optimizers.clip(config.clip or math.inf)
    rate = learning_rate(config, plan.learning_rate, place(state, plan), plan.steps)
    optimizers.step(rate)
    batches.prepare(step + 1)  # before reading any number from the device, which is still busy
    return StepResult(float(accelerator.reduce(nats, "sum")), n_labels, gradient, rate)


def check_number(value: float, state: State, plan: Plan) -> None:
    """Stop at once on nan or inf, before it can overwrite a good checkpoint."""
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss became {value} at step {state.step:,}, and that was not saved. Repeat "
            f"the command with a --learning-rate below {plan.learning_rate:g}; it resumes from the "
            "last checkpoint."
        )


def drawn_from(*numbers: int) -> int:
    """A different seed for each tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


def with_noise(ids: torch.Tensor, share: float, n_vocabulary: int) -> torch.Tensor:
    """Replace `share` of the inputs by random tokens; the labels stay as they are."""
    if not share:
        return ids
    others = torch.randint_like(ids, n_vocabulary)
    return torch.where(torch.rand(ids.shape) < share, others, ids)


def reason_to_stop(
    accelerator: Accelerator,
    plan: Plan,
    state: State,
    sitting: float,
    interrupted: machine.Interrupted,
) -> Stop | None:
    """Decide together: if any process wants to stop, all stop after the same step."""
    config, stop = plan.config, None
    if config.patience and state.stale >= config.patience:
        reason = f"No better validation {state.stale} times in a row"
        stop = Stop(reason, f" --patience {config.patience + state.stale}")
    elif (
        config.max_minutes is not None
        and sitting >= 60 * config.max_minutes
        and not config.timed  # for which this is the regular end
    ):
        stop = Stop(f"The {config.max_minutes:g} minutes are over")
    wishes = torch.tensor([bool(interrupted), stop is not None], dtype=torch.int64)
    if accelerator.num_processes > 1:
        wishes = accelerator.reduce(wishes.to(accelerator.device), "sum").cpu()
    if wishes[0]:
        return Stop("Interrupted")
    return (stop or Stop("Another process stopped")) if wishes[1] else None


class Clock:
    """Counts the seconds of training, and reports every few steps.

    In a timed run all seconds count: start, validation, samples and saving too.
    """

    def __init__(self, state: State, plan: Plan, recorder: Recorder, began: float) -> None:
        self.state, self.plan, self.recorder = state, plan, recorder
        self.last = time.monotonic()
        self.sitting = 0.0  # seconds of training in this process
        if plan.config.timed:
            state.seconds += self.last - began
        self.nats, self.labels, self.seconds = 0.0, 0, 0.0  # since the last report

    def note(self, result: StepResult) -> None:
        now = time.monotonic()
        self.seconds += now - self.last
        self.state.seconds += now - self.last
        self.sitting += now - self.last
        self.last = now
        self.nats += result.nats
        self.labels += result.labels
        if due(self.plan.config.print_every, self.state, self.plan):
            self.recorder.note(
                loss=self.nats / self.labels,
                learning_rate=result.rate,
                gradient=result.gradient,
                tokens_per_second=self.labels / self.seconds,
            )
            self.nats, self.labels, self.seconds = 0.0, 0, 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count validation, samples and saving."""
        yield
        now = time.monotonic()
        if self.plan.config.timed:
            self.state.seconds += now - self.last
        self.last = now
