"""The command line, installed as `continuo`.

Each command imports what it needs, so `--help` is instant. Every failure is one sentence on stderr
and a non-zero exit status.
"""

import dataclasses
import io
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from app import MODELS
from app.samples import DELIMITER
from app.serve import serve
from app.settings import wants_no_color
from app.training import commands as training

if TYPE_CHECKING:
    from app.gpt2 import Checkpoint


class Sentences(click.Group):
    """A group that prints our own exceptions, which are sentences, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # in UTF-8, whatever the locale
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly when a pipe closes early
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"This needs the package {error.name!r}: `make training` installs it."
            ) from error
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{name}{error.strerror or error}.") from error
        except Exception as error:
            if type(error).__module__.startswith("app."):
                raise click.ClickException(str(error)) from error
            raise


OLD_SPELLINGS = {  # gpt-2-simple's, transformers' run_generation's
    "length": "max-tokens", "k": "top-k", "p": "top-p", "stop-token": "stop",
}  # fmt: skip


def today(word: str) -> str:
    """--top_k -> --top-k, --length -> --max-tokens."""
    dashed = word.replace("_", "-")
    return OLD_SPELLINGS.get(dashed, dashed)


HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Sentences, context_settings=HELP)
@click.version_option(package_name="continuo")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Continuo continues text: serve a GPT-2, write with it, train your own."""
    ctx.color = False if wants_no_color() else None  # None: where stdout is a terminal


# ---- checkpoints: look, list, convert ----


@main.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def inspect(path: str, as_json: bool) -> None:
    """Describe the checkpoint at PATH, or of that name in models/."""
    from app.gpt2 import find, load

    checkpoint = load(find(path, MODELS))
    for _ in checkpoint.weights.values():
        pass  # reading the tensors verifies a TensorFlow checkpoint's checksums
    description = _describe(checkpoint)
    if as_json:
        click.echo(json.dumps(description, ensure_ascii=False, indent=2))
        return
    for name, value in description.items():
        click.echo(f"{name.replace('_', ' '):>18}  {_short(value)}")


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        some = ", ".join(str(item) for item in value[:3])
        return f"{len(value)}: {some}, ..." if len(value) > 3 else some or "none"
    return f"{value:,}" if type(value) is int else str(value)


def _describe(checkpoint: "Checkpoint") -> dict[str, Any]:
    config, facts = checkpoint.config, checkpoint.facts
    description: dict[str, Any] = {
        "path": str(facts.path),
        "format": facts.format,
        "dtype": facts.dtype,
        "parameters": config.n_parameters,
    }
    description |= {k: v for k, v in dataclasses.asdict(config).items() if v is not False}
    description["vocabulary"] = facts.vocabulary
    description["special_tokens"] = list(checkpoint.tokenizer.specials)
    description["ignored"] = list(facts.ignored)
    description["passed_over"] = list(facts.passed_over)
    return description


@main.command()
def models() -> None:
    """List models/: each model's size, and whether it opens."""
    from app.gpt2 import card_of, open_all

    rows = list(open_all(MODELS))
    for name, opened in rows:
        if isinstance(opened, Exception):
            click.echo(f"{name:<24} does not open: {opened}")
            continue
        size = f"{opened.config.n_parameters / 1e6:>7,.1f} M  {opened.facts.dtype}"
        card = card_of(MODELS / name)
        blurb = " ".join((card.blurb or card.title).split()) if card is not None else ""
        click.echo(f"{name:<24} {size:<20} {blurb}".rstrip())
    if not rows:
        click.echo(f"{MODELS} is empty. `continuo download gpt2` fetches a model.")


@main.command()
@click.argument("name")
@click.option("--revision", help="A branch, tag or commit instead of the newest commit.")
def download(name: str, revision: str | None) -> None:
    """Fetch a model from the Hugging Face hub into models/.

    NAME is gpt2, 124M to 1558M, distilgpt2, or owner/name.
    """
    from app.gpt2 import download

    click.echo(f"Downloaded {download(name, MODELS, revision)}.")


@main.command()
@click.argument("source")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(training.FORMATS),
    default="safetensors",
    show_default=True,
    help="legacy-bin: one unprefixed gpt2-pytorch_model.bin, as tools of 2019 read it.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16", "int8"]),
    help="Of the weights; int8 takes a quarter of float32, but only Continuo opens it.",
)
@click.option("--force", is_flag=True, help="Replace DESTINATION if it is there.")
def convert(source: str, destination: Path, format: str, dtype: str | None, force: bool) -> None:
    """Convert the checkpoint SOURCE into a Hugging Face folder."""
    from app.gpt2 import find, load, save, save_legacy

    config, weights, tokenizer, _ = load(find(source, MODELS))
    if format == "legacy-bin":
        if dtype == "int8":
            raise click.UsageError("--dtype int8 needs --format safetensors.")
        if destination.suffix != ".bin":
            destination /= "gpt2-pytorch_model.bin"
        save_legacy(destination, weights, dtype, force)
    else:
        save(destination, config, weights, tokenizer, format, dtype, force)
    click.echo(f"Wrote {destination}.")


# ---- writing in the terminal ----

TERMINAL = (  # the parameters worth typing; REST has all
    "max_tokens", "min_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p",
    "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "n", "ignore_eos",
)  # fmt: skip
CLICK_TYPES = {"int": int, "float": float, "bool": bool}


def option(parameter: str) -> str:
    """max_tokens -> --max-tokens."""
    return "-n" if parameter == "n" else f"--{parameter.replace('_', '-')}"


def parameter_options(command: Callable) -> Callable:
    """Add an option for each parameter in TERMINAL; the engine checks the bounds."""
    from app.engine import PARAMETERS

    for row in reversed([row for row in PARAMETERS if row.name in TERMINAL]):
        kind = CLICK_TYPES[row.type.split(" ")[0]]
        shown = row.help.partition("; null")[0].rstrip(".") + "."  # null is for JSON
        if row.default is not None and kind is not bool:
            shown += f"  [default: {row.default}]"
        is_flag = kind is bool or None
        add = click.option(option(row.name), row.name, type=kind, is_flag=is_flag, help=shown)
        command = add(command)
    return command


@main.command(context_settings={"token_normalize_func": today})
@click.argument("prompts", nargs=-1)
@click.option(
    "-m",
    "--model",
    help="A name in models/ or a path; by default the model that serve would serve.",
)
@click.option(
    "--file",
    type=click.File(encoding="utf-8"),
    help="Read a prompt from this file, or from stdin (-).",
)
@click.option(
    "--interactive", is_flag=True, help="Take turns with the model; the text is kept as it grows."
)
@click.option(
    "--include-prompt/--no-include-prompt",
    default=True,
    show_default=True,
    help="Print the prompt too.",
)
@click.option(
    "--stop", "--truncate", "stop", multiple=True, help="Text to stop at; may be repeated."
)
@click.option(
    "--beams", type=click.IntRange(2, 64), help="Beam search of this width, instead of sampling."
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each continuation.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write -n samples of each prompt here."
)
@click.option(
    "--delimiter", default=DELIMITER, help="Written between samples in --out; \\n is a newline."
)
@parameter_options
def generate(
    prompts: tuple[str, ...],
    model: str | None,
    file: TextIO | None,
    interactive: bool,
    include_prompt: bool,
    stop: tuple[str, ...],
    beams: int | None,
    as_json: bool,
    out: Path | None,
    delimiter: str,
    **given: Any,
) -> None:
    """Continue PROMPTS, in the terminal or into a file.

    Without a prompt the model writes a text of its own.
    """
    from app import terminal
    from app.engine import InvalidParams, make_params
    from app.gpt2 import find
    from app.samples import open_engine

    if (beams is not None) + interactive + (out is not None) > 1:
        raise click.UsageError("Give only one of --beams, --interactive and --out.")
    given = {name: value for name, value in given.items() if value is not None}
    n_samples = given.pop("n", 1) if out is not None else 1  # a file may have thousands
    try:
        params = make_params(given | {"stop": list(stop)})
    except InvalidParams as error:
        raise click.UsageError(str(error).replace(error.field, option(error.field), 1)) from None
    texts = [*prompts, *([_text_of(file)] if file else [])] or [""]
    path = find(model, MODELS)
    if beams is not None:
        terminal.write_beams(path, texts, params, beams, include_prompt, as_json)
        return
    with open_engine(path) as engine:
        if out is not None:
            delimiter = delimiter.replace("\\n", "\n")
            terminal.fill(engine, out, texts, params, n_samples, delimiter, include_prompt)
        elif interactive:
            given_lines = (text for text in texts if text)
            lines = itertools.chain(given_lines, terminal.read_lines())
            terminal.interact(engine, params, lines)
        else:
            terminal.write_all(engine, texts, params, include_prompt, as_json)


def _text_of(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError:
        raise click.ClickException(f"{file.name} is not UTF-8 text; save it as that.") from None


# ---- commands that have a file of their own ----

for command in (serve, *training.COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="continuo")
