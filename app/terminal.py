"""`continuo generate` in a terminal: text as it comes, the machine's in colour.

Knows an engine's events, not how they are made. Notes go to stderr, so only the text is piped.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from app.engine import (
    AnyEngine,
    Completion,
    Ended,
    EngineError,
    Failed,
    Finished,
    InvalidParams,
    Params,
    Slid,
    Started,
    Token,
)
from app.samples import DELIMITER, write_samples

MACHINE = "red"  # as on the page


class GenerationFailed(EngineError):
    """Why the engine failed in the middle of a text, in one sentence."""


# ---- prompts given on the command line ----


def write_all(
    engine: AnyEngine, texts: Sequence[str], params: Params, include_prompt: bool, as_json: bool
) -> None:
    """Every prompt's continuations, in order. All run at once; the first is streamed."""
    completions = [engine.submit(text, params) for text in texts]
    is_single = len(texts) * params.n == 1
    for text, completion in zip(texts, completions, strict=True):
        if as_json:
            write_json(text, completion)
            continue
        shown = text if include_prompt else ""
        ends = stream(completion, shown, "" if is_single else RULE)
        if not is_single or sys.stdout.isatty():
            click.echo("" if ends.endswith("\n") else "\n", nl=False)


RULE = DELIMITER  # between several texts


def stream(completion: Completion, prompt: str, rule: str) -> str:
    """Write the first choice as it comes, then the others; returns the last text written."""
    texts: dict[int, list[str]] = {}
    say(prompt)
    with completion:
        for event in completion:
            note(event)
            if isinstance(event, Token | Ended) and event.text:
                texts.setdefault(event.choice, []).append(event.text)
                if event.choice == 0:
                    say(event.text, MACHINE)
    last = "".join(texts.pop(0, []))
    for choice in sorted(texts):
        say(("" if last.endswith("\n") else "\n") + rule + prompt)
        last = "".join(texts[choice])
        say(last, MACHINE)
    if rule:
        say(("" if last.endswith("\n") else "\n") + rule)
    return rule or last


def write_json(prompt: str, completion: Completion) -> None:
    """A line for each continuation, with the seed that gives it again."""
    rows: dict[int, dict] = {}
    with completion:
        for event in completion:
            note(event)
            if isinstance(event, Started):
                rows = {
                    i: {"prompt": prompt, "text": "", "seed": seed, "tokens": 0}
                    for i, seed in enumerate(event.seeds)
                }
            elif isinstance(event, Token | Ended):
                row = rows[event.choice]
                row["text"] += event.text
                if isinstance(event, Token):
                    row["tokens"] += 1
                else:
                    row |= {"finish_reason": event.reason, "stop": event.stop}
            elif isinstance(event, Finished):
                for row in rows.values():
                    click.echo(json.dumps(row, ensure_ascii=False))


def write_beams(
    path: Path,
    texts: Sequence[str],
    params: Params,
    width: int,
    include_prompt: bool,
    as_json: bool,
) -> None:
    """Every prompt's likeliest continuation, by beam search, which cannot be streamed."""
    from app.gpt2 import load, search_beams

    checkpoint = load(path)
    for text in texts:
        ids = checkpoint.tokenizer.encode(text)
        found = search_beams(checkpoint, ids, width, params.max_tokens)
        written = checkpoint.tokenizer.decode(found)
        ends = [written.find(stop) for stop in params.stop if stop in written]
        written = written[: min(ends, default=None)]
        if as_json:
            row = {"prompt": text, "text": written, "tokens": len(found)}
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            say(text if include_prompt else "")
            say(written + "\n", MACHINE)


def say(text: str, colour: str | None = None) -> None:
    """Write at once; click drops the colour if stdout is not a terminal."""
    click.echo(click.style(text, fg=colour) if colour else text, nl=False)
    sys.stdout.flush()


def note(event: object) -> None:
    """Notes for the reader, besides the text."""
    if isinstance(event, Failed):
        raise GenerationFailed(event.message)
    if isinstance(event, Started) and event.truncated:
        click.echo(
            f"The prompt is longer than the window: its first {event.dropped_tokens} tokens "
            "were cut off.",
            err=True,
        )
    if isinstance(event, Slid):
        click.echo(f"(the window moved on by {event.dropped_tokens} tokens)", err=True)


def fill(
    engine: AnyEngine,
    path: Path,
    texts: Sequence[str],
    params: Params,
    n: int,
    delimiter: str,
    include_prompt: bool,
) -> None:
    """Write n samples of each text to a file, with a progress bar."""
    counts = write_samples(engine, path, texts, params, n, delimiter, include_prompt)
    n_done = next(counts)  # a file that cannot be written is refused before there is a bar
    with click.progressbar(length=n * len(texts), label="Samples", file=sys.stderr) as bar:
        bar.update(n_done)
        for done in counts:
            bar.update(done - n_done)
            n_done = done
    click.echo(f"Wrote {n_done} samples to {path}.", err=True)


# ---- the interactive prompt ----

HELP = """Type text and press Enter: the machine continues the whole text so far.
An empty line lets it continue without new words of yours.
  /retry      write another continuation from the same place
  /undo       remove your last words and their continuation
  /text       show the whole text       /save FILE  save it
  /new        start a new text          /quit       leave (so do Ctrl-D and Ctrl-C)
Ctrl-C while it writes stops it; what it wrote stays."""


Turns = list[tuple[str, str]]  # what the writer added, and the machine's continuation


def interact(engine: AnyEngine, params: Params, lines: Iterator[str]) -> None:
    """Read a line, continue the text, and so on; the text grows until /new."""
    turns: Turns = []
    click.echo(HELP, err=True)
    for line in lines:
        command, _, rest = line.strip().partition(" ")
        match command:
            case "/quit":
                return
            case "/help":
                click.echo(HELP, err=True)
            case "/new":
                turns.clear()
            case "/text":
                show(turns)
            case "/save":
                save(turns, rest)
            case "/undo" if turns:
                turns.pop()
                show(turns)
            case "/retry" if turns:
                go_on(engine, params, turns, turns.pop()[0])
            case "/undo" | "/retry":
                click.echo("There is nothing yet.", err=True)
            case _ if command.startswith("/"):
                click.echo(
                    f"There is no command {command}; type /help for those there are.", err=True
                )
            case _:
                go_on(engine, params, turns, line)


def go_on(engine: AnyEngine, params: Params, turns: Turns, words: str) -> None:
    """Add the writer's words and a continuation; if it is stopped or fails, keep what came."""
    written: list[str] = []
    try:
        with engine.submit(whole(turns) + words, params) as completion:
            for event in completion:
                note(event)
                if isinstance(event, Token | Ended) and event.text:
                    written.append(event.text)
                    say(event.text, MACHINE)
    except KeyboardInterrupt:
        pass  # the writer has seen enough of it
    except (EngineError, InvalidParams) as error:
        click.echo(str(error), err=True)
    click.echo()
    turns.append((words, "".join(written)))


def whole(turns: Turns) -> str:
    return "".join(words + continuation for words, continuation in turns)


def show(turns: Turns) -> None:
    for words, continuation in turns:
        say(words)
        say(continuation, MACHINE)
    click.echo()


def save(turns: Turns, name: str) -> None:
    if not name:
        click.echo("Name a file, as in /save story.txt", err=True)
        return
    try:
        with Path(name).expanduser().open("x", encoding="utf-8") as file:
            file.write(whole(turns))
    except FileExistsError:
        click.echo(f"{name} is there already; choose another name.", err=True)
    except OSError as error:
        click.echo(f"{name}: {error.strerror}.", err=True)
    else:
        click.echo(f"Saved {name}.", err=True)


def read_lines() -> Iterator[str]:
    """The lines that a person types, until Ctrl-D or Ctrl-C."""
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
