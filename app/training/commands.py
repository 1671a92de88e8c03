"""train, prepare, evaluate and export on the command line. Each imports what it needs."""

import contextlib
import dataclasses
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec

from app.training.config import CHAPTERS, SIZES, TrainConfig
from app.training.errors import TrainingError
from app.training.request import ROOT, EvaluateRequest, TextRequest, TrainRequest

FORMATS = ("safetensors", "bin", "legacy-bin")
BY_OTHER_OPTIONS = {"base", "line_by_line"}  # fields set by --from and --line-by-line

# What nshepperd's train.py, gpt-2-simple and transformers' scripts call the same options.
OLD_SPELLINGS = {
    "model-name": "from", "model-name-or-path": "from", "run-name": "name",
    "overwrite-output-dir": "fresh", "num-train-epochs": "epochs", "max-steps": "steps",
    "batch-size": "batch", "per-device-train-batch-size": "batch",
    "accumulate-gradients": "accumulate", "gradient-accumulation-steps": "accumulate",
    "block-size": "block", "max-grad-norm": "clip", "gradient-checkpointing": "checkpointing",
    "memory-saving-gradients": "checkpointing", "only-train-transformer-layers": "freeze",
    "save-steps": "save-every", "eval-steps": "evaluate-every", "val-every": "evaluate-every",
    "logging-steps": "print-every", "save-total-limit": "keep", "max-checkpoints": "keep",
    "sample-length": "sample-tokens", "eval-data-file": "validation",
    "validation-file": "validation", "val-dataset": "validation", "test-file": "test",
    "train-file": "train-data-file", "dataset": "train-data-file",
}  # fmt: skip


def today(word: str) -> str:
    """--num_train_epochs -> --epochs."""
    dashed = word.replace("_", "-")
    return OLD_SPELLINGS.get(dashed, dashed)


# ---- help in chapters ----

TEXT, BASE, RUN = "The texts", "What it starts from", "The run"


class ChapterOption(click.Option):
    def __init__(self, *args: Any, chapter: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.chapter = chapter


class ChapteredCommand(click.Command):
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        chapters: dict[str, list[tuple[str, str]]] = {TEXT: [], BASE: [], RUN: []}
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if row is not None and isinstance(param, click.Option):
                chapters.setdefault(getattr(param, "chapter", "Also"), []).append(row)
        for chapter, rows in chapters.items():
            if rows:
                with formatter.section(chapter):
                    formatter.write_dl(rows)


def chaptered(chapter: str, *words: str, **options: Any) -> Callable:
    return click.option(*words, cls=ChapterOption, chapter=chapter, **options)


def config_options(command: Callable) -> Callable:
    """Add an option for each field of TrainConfig; None if it is not given."""
    kinds = get_type_hints(TrainConfig)
    chapter, add = "", []
    for field in dataclasses.fields(TrainConfig):
        chapter = CHAPTERS.get(field.name, chapter)
        if field.name in BY_OTHER_OPTIONS:
            continue
        kind = next(iter(get_args(kinds[field.name])), kinds[field.name])
        shown = field.metadata["help"]
        if field.default is not None and kind is not bool:
            shown += f"  [default: {field.default}]"
        choices = field.metadata["choices"]
        given: dict[str, Any] = {"type": click.Choice(choices) if choices else kind}
        if kind is bool:
            given = {"is_flag": True}
        word = "--" + field.name.replace("_", "-")
        add.append(chaptered(chapter, word, field.name, default=None, help=shown, **given))
    for option in reversed(add):
        command = option(command)
    return command


def options(*add: Callable) -> Callable:
    """Several options, in this order."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(add):
            command = option(command)
        return command

    return decorate


# ---- options that several commands have ----

into = chaptered(
    RUN, "--into", type=click.Path(path_type=Path, file_okay=False), default=lambda: ROOT,
    help="Where models/ and runs/ are.  [default: this checkout]",
)  # fmt: skip
reading_options = options(
    chaptered(TEXT, "--exclude", multiple=True, help="Leave out files that match this glob."),
    chaptered(TEXT, "--column", "--field", "column",
              help="Column of .csv, .tsv, .jsonl or tabbed .txt: a name, or its number."),
    chaptered(TEXT, "--encoding",
              help="Of all files, such as cp1252 or big5; detected by default."),
    chaptered(TEXT, "--prose", is_flag=True, help="Leave out titles and chapter headings."),
    chaptered(TEXT, "--line-by-line", is_flag=True, help="Every line is a document of its own."),
)  # fmt: skip
corpus_options = options(
    click.argument("texts", nargs=-1),
    chaptered(TEXT, "--validation", multiple=True, help="Validate with this file or folder."),
    chaptered(TEXT, "--test", multiple=True, help="Test with this file or folder."),
    chaptered(TEXT, "--split", metavar="T-V-T",
              help="Shares of TEXTS to train, validate and test with.  [default: 70-20-10]"),
    reading_options,
    chaptered(TEXT, "--bos", help="Token before each line.  [default: <BOS>]"),
    chaptered(TEXT, "--eos", help="Token after each line.  [default: <EOS>]"),
    chaptered(TEXT, "--pad", help="Token that pads shorter lines.  [default: <PAD>]"),
    chaptered(BASE, "--from", "base",
              help="Model to start from: a name in models/ or a path.  [default: gpt2]"),
    chaptered(BASE, "--new-vocabulary", type=click.IntRange(min=258), metavar="TOKENS",
              help="Train a vocabulary of this size, for a model from scratch."),
    chaptered(RUN, "--quiet", is_flag=True, help="Print nothing but errors."),
    into,
)  # fmt: skip


# ---- the commands ----


@click.command(cls=ChapteredCommand, context_settings={"token_normalize_func": today})
@chaptered(RUN, "--name", required=True,
           help="The model goes to models/NAME, its run to runs/NAME.")  # fmt: skip
@chaptered(RUN, "--about", help="One line about the model, shown where people choose one.")
@chaptered(RUN, "--prompt", "prompts", multiple=True, help="Prompt for samples; may be repeated.")
@chaptered(RUN, "--fresh", is_flag=True, help="Start over, even if runs/NAME exists.")
@chaptered(
    RUN, "--dry-run", is_flag=True, help="Print the plan and stop; the token files are kept."
)
@chaptered(
    BASE,
    "--size",
    type=click.Choice(list(SIZES)),
    help="Train a new model of this size, from scratch.",
)
@chaptered(BASE, "--cool-down", metavar="RUN",
           help="Instead of TEXTS: cut a release from runs/RUN, whose rate is level: go on from "
                "there, while the rate falls to 0 in the last --decay of the steps.")  # fmt: skip
@click.option("--train-data-file", "more_texts", multiple=True, hidden=True)
@click.option("--restore-from", type=click.Choice(["fresh", "latest"]), hidden=True)
@corpus_options
@config_options
def train(more_texts: tuple[str, ...], restore_from: str | None, **given: Any) -> None:
    """Train a model on TEXTS.

    TEXTS are files, folders, globs, addresses, - for stdin, or a folder that `continuo prepare`
    made.
    """
    given["texts"] = (*given["texts"], *more_texts)
    if given["texts"] or given["cool_down"] is None:
        _texts(*given["texts"])
    given["fresh"] |= restore_from == "fresh"
    with ending_at_once():
        from app.training.begin import begin

    config = {f.name: given.pop(f.name, None) for f in dataclasses.fields(TrainConfig)
              if f.name not in BY_OTHER_OPTIONS}  # fmt: skip
    request = TrainRequest(
        config={name: value for name, value in config.items() if value is not None},
        resume_words=tuple(word for word in sys.argv[2:] if word != "--fresh"),
        **given,
    )
    signal = begin(request, _teller(request.quiet)).signal
    sys.exit(0 if signal is None else 128 + signal)  # as a shell counts signals


@click.command(cls=ChapteredCommand, context_settings={"token_normalize_func": today})
@chaptered(RUN, "-o", "--output", type=click.Path(path_type=Path),
           help="Copy the token files into this new folder.")  # fmt: skip
@corpus_options
def prepare(output: Path | None, quiet: bool, **given: Any) -> None:
    """Turn TEXTS into token files, to train on later or elsewhere."""
    given["texts"] = _texts(*given["texts"])
    with ending_at_once():
        from app.training.begin import prepared

    request = TextRequest(**given)
    folder = prepared(request, output, _teller(quiet)).folder
    base = "--size small" if request.new_vocabulary else f"--from {request.base or 'gpt2'}"
    command = f"continuo train {shlex.quote(str(folder))} {base} --name NAME"
    click.echo(f"Prepared {folder}; train on it with `{command}`.")


@click.command(cls=ChapteredCommand, context_settings={"token_normalize_func": today})
@click.argument("model")
@click.argument("texts", nargs=-1)
@click.option("--model", "-m", "others", multiple=True, help="Compare with this model too.")
@reading_options
@into
@click.option(
    "--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Rows at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
def evaluate(model: str, others: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Measure how well MODEL predicts TEXTS.

    Prints loss, perplexity and bits per byte. Without TEXTS, MODEL is measured on the test part of
    the corpus that it was trained on here.
    """
    if given["texts"]:
        _texts(*given["texts"])
    with ending_at_once():
        from app.training.evaluate import evaluate, table

    results = evaluate(EvaluateRequest(models=(model, *others), **given), _teller(as_json))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=1))
    else:
        click.echo(table(results))


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="A file, or a folder for NAME.tar.gz.  [default: exports/]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the archive if it exists.")
@click.option(
    "--format", type=click.Choice(FORMATS), default="safetensors", show_default=True,
    help="Of the weights; legacy-bin is what tools of 2019 read.",
)  # fmt: skip
@click.option(
    "--dtype", type=click.Choice(["float32", "float16", "bfloat16"]),
    help="Of the weights; by default as they are stored.",
)  # fmt: skip
@into
def export(
    name: str, output: Path | None, force: bool, format: str, dtype: str | None, into: Path
) -> None:
    """Pack models/NAME into one .tar.gz, with its checksum beside it."""
    from app.training.export import pack

    archive = pack(name, output, format, dtype, into, force)
    click.echo(f"Wrote {archive} and {archive.name}.sha256.")


def _texts(*names: str) -> tuple[str, ...]:
    """Refuse missing files before loading the libraries, which takes seconds."""
    from app.training.corpus.sources import check_there

    if not names:
        raise click.UsageError("Name the texts: files, folders, globs, addresses, or - for stdin.")
    for name in names:
        check_there(name)
    return names


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process: an exception in the import of torch makes it dump core."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _teller(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else click.echo


COMMANDS = (train, prepare, evaluate, export)
__all__ = ["COMMANDS", "TrainingError"]
