"""The commands of this room: words on a line -> one call. Imports the rest when one is called."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from app.training.config import SIZES, TrainConfig, TrainingError

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("safetensors", "bin", "legacy-bin")
BY_OTHER_WORDS = {"base", "line_by_line"}  # fields that the options below settle


def config_options(command: Callable) -> Callable:
    """An option for each field of TrainConfig; one that is not given keeps the field's default."""
    kinds = get_type_hints(TrainConfig)
    for field in reversed(dataclasses.fields(TrainConfig)):
        if field.name in BY_OTHER_WORDS:
            continue
        kind = next(iter(get_args(kinds[field.name])), kinds[field.name])
        shown = field.metadata["help"]
        if field.default not in (None, False):
            shown += f"  [default: {field.default}]"
        word = "--" + field.name.replace("_", "-")
        flag = {"is_flag": True} if kind is bool else {"type": kind}
        command = click.option(word, field.name, default=None, help=shown, **flag)(command)
    return command


into = click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=lambda: ROOT,
    help="Where models/ and runs/ are.  [default: this checkout]",
)  # fmt: skip


def corpus_options(command: Callable) -> Callable:
    """How text becomes documents and tokens; the same for training and preparing."""
    for add in reversed((
        click.argument("texts", nargs=-1, required=True),
        click.option("--exclude", multiple=True, help="Leave out files like this (a glob)."),
        click.option("--split", default="70-20-10", show_default=True, metavar="T-V-T",
                     help="Shares of the documents to train, validate and test with."),
        click.option("--field", "--column", "column", help="Of .jsonl, .csv and .tsv."),
        click.option("--prose", is_flag=True, help="Leave out titles and chapter heads."),
        click.option("--line-by-line", is_flag=True, help="Every line is a document of its own."),
        click.option("--bos", default="<BOS>", show_default=True, help="Begins each such line."),
        click.option("--eos", default="<EOS>", show_default=True, help="Ends it."),
        click.option("--pad", default="<PAD>", show_default=True, help="Fills up shorter ones."),
        click.option("--from", "base", help="Begin from this model: a name in models/ or a path."),
        click.option("--new-vocabulary", type=click.IntRange(min=258),
                     help="Train a vocabulary of so many tokens, for a model from nothing."),
        into,
        click.option("--quiet", is_flag=True, help="Say nothing but errors."),
    )):  # fmt: skip
        command = add(command)
    return command


@click.command()
@click.option("--name", required=True, help="The model lands in models/NAME, its run in runs/NAME.")
@click.option("--size", type=click.Choice(list(SIZES)), help="Begin from nothing in this shape.")
@click.option("--about", help="One line for those who choose among models.")
@click.option("--prompt", "prompts", multiple=True, help="For the samples; may be given again.")
@click.option("--fresh", is_flag=True, help="Begin again, even if runs/NAME is there.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@corpus_options
@config_options
def train(**words: Any) -> None:
    """Train a model on TEXTS: files, folders, globs, addresses, - for stdin."""
    from app.training.begin import begin

    again = shlex.join(["continuo", "train", *(w for w in sys.argv[2:] if w != "--fresh")])
    sys.exit(begin(_known(words), again, _teller(words["quiet"])))


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Copy the token files here.")
@corpus_options
def prepare(output: Path | None, **words: Any) -> None:
    """Make token files of TEXTS, to train on later or elsewhere."""
    from app.training.begin import check_output, prepared

    if output is not None:
        check_output(output)
    corpus = prepared(_known(words), _teller(words["quiet"]))
    where = corpus.copy(output) if output is not None else corpus.folder
    base = "--size small" if words["new_vocabulary"] else f"--from {words['base'] or 'gpt2'}"
    train = f"continuo train {shlex.quote(str(where))} {base} --name NAME"
    click.echo(f"Prepared {where}; `{train}` trains on it.")


@click.command()
@click.argument("model")
@click.argument("texts", nargs=-1)
@click.option("--model", "-m", "others", multiple=True, help="Compare with this one too.")
@click.option("--exclude", multiple=True, help="Leave out files like this (a glob).")
@click.option("--field", "--column", "column", help="Of .jsonl, .csv and .tsv.")
@click.option("--prose", is_flag=True, help="Leave out titles and chapter heads.")
@click.option("--line-by-line", is_flag=True, help="Every line is a document of its own.")
@into
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def evaluate(model: str, others: tuple[str, ...], as_json: bool, **words: Any) -> None:
    """How well MODEL predicts TEXTS: loss, perplexity and bits per byte, every token once.

    Without TEXTS: the test part of the corpus it was trained on here.
    """
    from app.training.measuring import measure_models, table

    rows = measure_models([model, *others], words, _teller(as_json))
    click.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else table(rows))


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file, or a folder to put NAME.tar.gz into.  [default: exports/]",
)
@click.option("--force", is_flag=True, help="Replace the archive if it is there.")
@click.option("--format", type=click.Choice(FORMATS), default="safetensors", show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), help="As stored.")
@into
def export(
    name: str, output: Path | None, force: bool, format: str, dtype: str | None, into: Path
) -> None:
    """Pack models/NAME as one .tar.gz, with its checksum beside it."""
    from app.training.export import pack

    archive = pack(name, output, format, dtype, into, force)
    click.echo(f"Wrote {archive} and {archive.name}.sha256.")


def _known(words: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _teller(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else click.echo


COMMANDS = (train, prepare, evaluate, export)
__all__ = ["COMMANDS", "TrainingError"]
