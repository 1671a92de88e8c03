"""report.html: the curves, the plan against reality, samples over time, copied passages.

The page needs no network: its styles and pictures are inside.
"""

import dataclasses
import re
from operator import itemgetter
from pathlib import Path

import jinja2
from markupsafe import Markup

from app.gpt2 import whole_file
from app.training.learn import machine
from app.training.learn.plan import Plan
from app.training.report.chart import Line, Point, line_chart
from app.training.report.plan_words import duration
from app.training.run import metrics, samples
from app.training.run.metrics import Row
from app.training.run.run import Run


def write_report(folder: Path, plan: Plan, run: Run, seconds_per_step: float) -> None:
    """Write report.html into `folder`, from the files of the run."""
    rows = metrics.read(run.folder)
    if not rows:
        return
    page = _template().render(
        name=run.result.name,
        about=run.about,
        facts=_facts(rows),
        curves=_curves(rows),
        plan=_plan_rows(plan, rows, seconds_per_step),
        rises=_rises(rows),
        rounds=list(reversed(samples.read_samples(run.folder))),
        copies=[row for row in rows if row.copied is not None],
        files=run.corpus.report.files,
        settings={k: v for k, v in dataclasses.asdict(plan.config).items() if v is not None},
        command=run.resume_command,
    )
    with whole_file(folder / "report.html") as file:
        file.write_text(page, encoding="utf-8")


def _template() -> jinja2.Template:
    where = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(loader=where, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters["duration"] = duration
    # No large gaps in samples.
    page.filters["calmed"] = lambda text: re.sub(r"\n{3,}", "\n\n", text)
    return page.get_template("report.html")


def _best(rows: list[Row]) -> Point | None:
    """Step and loss of the best validation."""
    return min(_points(rows, "validation_loss"), key=itemgetter(1), default=None)


def _facts(rows: list[Row]) -> list[tuple[str, str]]:
    """The numbers shown in large print."""
    best, facts = _best(rows), []
    if best is not None:
        of_best = next(row for row in rows if (row.step, row.validation_loss) == best)
        facts += [
            ("bits per byte", f"{of_best.bits_per_byte:.3f}"),
            ("perplexity", f"{of_best.perplexity:,.2f}"),
        ]
    facts.append(("tokens learned from", f"{rows[-1].tokens:,}"))
    facts.append(("time", duration(rows[-1].seconds)))
    return facts


def _rises(rows: list[Row]) -> str | None:
    """Whether the model overfits, as a sentence."""
    best = _best(rows)
    if best is None:
        return None
    step, loss = best
    *_, (last, at_end) = _points(rows, "validation_loss")
    if last == step:
        return "The validation was still getting better at the end: more steps may help."
    return (
        f"The validation has been getting worse since step {step:,} ({loss:.4f} then, {at_end:.4f} "
        "at the end): from there on the model memorizes its corpus. The weights that were kept are "
        f"those of step {step:,}."
    )


def _plan_rows(plan: Plan, rows: list[Row], seconds: float) -> list[tuple[str, str, str]]:
    last = rows[-1]
    pace = last.seconds / last.step
    speed = next((row.tokens_per_second for row in reversed(rows) if row.tokens_per_second), 0.0)
    return [
        ("steps", f"{plan.steps:,}", f"{last.step:,}"),
        ("100 steps", duration(100 * seconds), duration(100 * pace)),
        ("in all", duration(plan.steps * seconds), duration(last.seconds)),
        ("tokens/s", f"{plan.tokens_per_step / seconds:,.0f}", f"{speed:,.0f}"),
        ("memory", f"{plan.memory / 1e9:.2f} GB", f"{machine.peak_memory() / 1e9:.2f} GB"),
    ]


# ---- pictures ----

SMALL = (
    ("bits_per_byte", "Bits per byte of the validation text"),
    ("learning_rate", "Learning rate"),
    ("tokens_per_second", "Tokens per second"),
    ("longest_copy", "Longest passage copied, in characters"),
)


def _curves(rows: list[Row]) -> list[tuple[str, Markup]]:
    """(caption, SVG) of each picture that has numbers; the large one first."""
    lines = [Line("training", _points(rows, "loss"))]
    lines.append(Line("validation", _points(rows, "validation_loss")))
    lines = [line for line in lines if line.points]
    if not lines:
        return []
    large = line_chart(lines, 820, 340, _best(rows))
    pictures = [("Loss, in nats per token, over the steps", large)]
    for name, caption in SMALL:
        points = _points(rows, name)
        if len(points) > 1 and any(value for _, value in points):
            pictures.append((caption, line_chart([Line("validation", points)], 400, 210)))
    return pictures


def _points(rows: list[Row], name: str) -> list[Point]:
    """Where the rows have this number: steps and numbers."""
    return [(row.step, y) for row in rows if (y := getattr(row, name)) is not None]
