"""What a run shows as it goes and at its end: numbers, samples, the report."""

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GPT2LMHeadModel

from app.training.learn.plan import Plan
from app.training.learn.score import Score
from app.training.report.copying import copied
from app.training.report.page import write_report
from app.training.report.plan_words import tell_plan
from app.training.report.progress import Progress
from app.training.run import samples
from app.training.run.folder import RunFolder
from app.training.run.loggers import Loggers
from app.training.run.metrics import Metrics, Row
from app.training.run.publish import publish
from app.training.run.run import Run, State


@dataclass(frozen=True)
class Stop:
    """Why a run stops before its last step, and what its command needs to go on."""

    reason: str
    and_with: str = ""


class Recorder:
    """Shows a run to people; only the first of several processes does."""

    def __init__(
        self, run: Run, plan: Plan, seconds_per_step: float, folder: RunFolder, state: State
    ) -> None:
        self.run, self.plan, self.folder, self.state = run, plan, folder, state
        self.seconds_per_step, self.is_main = seconds_per_step, folder.is_main
        tell_plan(plan, seconds_per_step, run)

    def __enter__(self) -> None:
        if self.is_main:
            self.progress = Progress(self.plan.steps, self.run.tell, self.run.quiet)
            self.metrics = Metrics(self.folder.path, self.state.step)
            self.loggers = Loggers(self.plan.config, self.folder.path, self.state.step)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if self.is_main:
            self.progress.close()
            self.metrics.close()
            self.loggers.close()

    def _add(self, **numbers: Any) -> None:
        state = self.state
        row = Row(state.step, state.tokens, round(state.seconds, 3), **numbers)
        with self.folder.writing():
            self.metrics.add(row)
        values = {name: value for name, value in numbers.items() if not isinstance(value, str)}
        self.loggers.add(state.step, values)

    def note(self, **numbers: float) -> None:
        """Record the numbers of the last few steps."""
        if not self.is_main:
            return
        self._add(**numbers)
        config, seconds = self.plan.config, self.state.seconds
        left = (self.plan.steps - self.state.step) * seconds / self.state.step
        if config.timed and config.max_minutes is not None:
            left = min(left, 60 * config.max_minutes - seconds)
        self.progress.step(self.state.step, numbers["loss"], numbers["tokens_per_second"], left)

    def judge(self, score: Score | None) -> bool:
        """Show a validation; returns whether it is the best so far."""
        state = self.state
        if score is None:  # no validation part: the newest weights are the best
            state.best_step = state.step
            return True
        is_best = score.loss < state.best_loss
        state.stale = 0 if is_best else state.stale + 1
        rising = "" if is_best else f"  (best was {state.best_loss:.4f} at {state.best_step:,})"
        if is_best:
            state.best_loss, state.best_step = score.loss, state.step
        if self.is_main:
            self._add(validation_loss=score.loss, **score.measures())
            self.progress.say(
                f"step {state.step:,}  validation: loss {score.loss:.4f}, perplexity "
                f"{score.perplexity:.2f}, {score.bits_per_byte:.4f} bits per byte{rising}"
            )
        return is_best

    def sample(self, model: GPT2LMHeadModel) -> None:
        """Show what the model writes now, and how much of it is copied from the corpus."""
        if not self.is_main:
            return
        texts = samples.write_samples(
            model, self.run.corpus.tokenizer, self.run.prompts, self.plan.config.sample_tokens
        )
        found = copied(
            [sample.ids for sample in texts], self.run.corpus.train, self.run.corpus.tokenizer
        )
        with self.folder.writing():
            samples.keep_samples(self.folder.path, self.state.step, texts)
        self._add(copied=found.share, longest_copy=len(found.longest), longest=found.longest)
        lines = (texts[-1].prompt + texts[-1].text).splitlines()
        shown = " / ".join(" ".join(line.split()) for line in lines if line.strip())
        if found.longest:
            most = f"at most {len(found.longest)} characters in a row"
            shown += f"  ({found.share:.0%} copied, {most})"
        self.progress.say(f"step {self.state.step:,}  writes: {shown}")

    def publish(self, model: GPT2LMHeadModel, score: Score | None) -> None:
        """Write models/NAME with these weights, and the report."""
        if self.is_main:
            with self.folder.writing():
                publish(self.run, self.plan, self.state, model, score)
                self._report(self.run.result)

    def finish(self, model: GPT2LMHeadModel, stop: Stop | None) -> None:
        """Say how the run ended, and write the report with the whole curve."""
        if not self.is_main:
            return
        if self.state.best_step is None:
            self.publish(model, None)
        with self.folder.writing():
            self._report(self.run.result)
            self._report(self.folder.path)
        say, state, run = self.progress.say, self.state, self.run
        if stop is not None:
            say(f"{stop.reason}: stopped at step {state.step:,} of {self.plan.steps:,}, saved.")
            say(f"Go on with: {run.resume_command}{stop.and_with}")
        say(
            f"{run.result} holds the best weights, of step {state.best_step or state.step:,}; "
            "a server that has older ones open serves those until it is restarted."
        )

    def _report(self, folder: Path) -> None:
        if folder.is_dir():  # models/NAME may have been moved away
            write_report(folder, self.plan, self.run, self.seconds_per_step)
