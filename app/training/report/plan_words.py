"""The plan, as it is printed before the first step."""

from collections.abc import Iterator

from app.training.corpus.corpus import Corpus
from app.training.learn.plan import Plan, validation_seconds
from app.training.run.run import Run


def tell_plan(plan: Plan, seconds: float, run: Run) -> None:
    """`seconds` is the time of one step."""
    for name, value in _rows(plan, seconds, run):
        run.tell(f"{name:>14}  {value}")


def _rows(plan: Plan, seconds: float, run: Run) -> Iterator[tuple[str, str]]:
    config = plan.config
    yield "text", _text_row(run.corpus)
    yield "model", _model_row(plan)
    counts = [plan.batch, plan.block, *(n for n in (config.accumulate, plan.world) if n > 1)]
    epochs = plan.steps * plan.tokens_per_step / max(1, plan.train_tokens)
    per_step = " x ".join(map(str, counts))
    yield "steps", f"{plan.steps:,} of {per_step} tokens: {epochs:.2g} times the corpus"
    yield "learning rate", f"{plan.learning_rate:g}, {config.schedule}; {config.optimizer}"
    yield "memory", f"about {plan.memory / 1e9:.1f} GB"
    validating = validation_seconds(plan, seconds, len(run.corpus.validation))
    in_all = plan.steps * seconds + validating
    part = f", {duration(validating)} of them for validation" if validating >= 1 else ""
    yield "time", f"{duration(100 * seconds)} per 100 steps here, {duration(in_all)} in all{part}"
    yield "result", str(run.result)
    if config.base is None and plan.block < plan.window and not config.long_every:
        yield (
            "positions",
            (
                f"only the first {plan.block:,} of {plan.window:,} are trained; use --window "
                f"{plan.block}, or --long-every 8 to train all"
            ),
        )


def _text_row(corpus: Corpus) -> str:
    files = corpus.report.files
    counts = (len(part) for part in (corpus.train, corpus.validation, corpus.test))
    split = " / ".join(f"{count:,}" for count in counts)
    size = sum(file.bytes for file in files)
    noun = "file" if len(files) == 1 else "files"
    return f"{len(files):,} {noun}, {size:,} bytes; train / validation / test: {split} tokens"


def _model_row(plan: Plan) -> str:
    row = f"{plan.parameters:,} parameters"
    if plan.learned != plan.parameters:
        row += f", {plan.learned:,} of them trained"
    return row + (f"; from {plan.config.base}" if plan.config.base else "; from scratch")


def duration(seconds: float) -> str:
    """In suitable units: 40 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
