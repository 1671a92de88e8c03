"""Continue prompts with an engine in this process: for notebooks, and files of many samples.

>>> from app import continue_texts
>>> continue_texts("starter", ["How are you today?", "Hi i am here"], seed=1)
{'How are you today?': 'How are you today? ...', 'Hi i am here': 'Hi i am here ...'}
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.engine import (
    MAX_SEED,
    AnyEngine,
    Completion,
    Ended,
    EngineBusy,
    EngineError,
    Failed,
    Params,
    Token,
    make_params,
)

DELIMITER = "=" * 20 + "\n"  # as in the tools of 2019


class SamplesError(ValueError):
    """Why samples cannot be written, in one sentence."""


def continue_texts(
    model: str | Path, prompts: str | Sequence[str], seed: int | None = None, **params: Any
) -> dict[str, Any]:
    """Each prompt -> the prompt with its continuation; a list of them if n is above 1.

    `params` are those of POST /generate.
    """
    settings = make_params(params | {"seed": seed})
    with open_engine(model) as engine:
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        continued = {}
        each = _in_order(engine, ((prompt, settings) for prompt in prompts))
        for prompt, texts in zip(prompts, each, strict=True):
            whole = [prompt + text for text in texts]
            continued[prompt] = whole[0] if settings.n == 1 else whole
        return continued


@contextlib.contextmanager
def open_engine(model: str | Path) -> Iterator[AnyEngine]:
    """An engine for one model, named by its name in models/ or its path."""
    from app import engine_options
    from app.engine import Engine
    from app.settings import read_settings

    engine = Engine(engine_options(read_settings({"models": (str(model),)})))
    try:
        yield engine
    finally:
        engine.close()


def _in_order(engine: AnyEngine, requests: Iterable[tuple[str, Params]]) -> Iterator[list[str]]:
    """The continuations of each, in order; as many run at once as the engine takes."""
    running: deque[Completion] = deque()
    at_once = engine.info().max_running
    for prompt, params in requests:
        if len(running) >= at_once:
            yield _texts_of(running.popleft())
        while (completion := _try(engine, prompt, params, can_wait=bool(running))) is None:
            yield _texts_of(running.popleft())
        running.append(completion)
    while running:
        yield _texts_of(running.popleft())


def _try(engine: AnyEngine, prompt: str, params: Params, can_wait: bool) -> Completion | None:
    """None if the engine has no room now, and something of ours will make room."""
    try:
        return engine.submit(prompt, params)
    except EngineBusy:
        if can_wait:
            return None
        raise


def _texts_of(completion: Completion) -> list[str]:
    """The text of each choice."""
    texts: dict[int, str] = {}
    for event in completion:
        if isinstance(event, Failed):
            raise EngineError(event.message)
        if isinstance(event, Token | Ended):
            texts[event.choice] = texts.get(event.choice, "") + event.text
    return [text for _, text in sorted(texts.items())]


# ---- files of many samples ----


class Progress(msgspec.Struct):
    """How far a file has come; kept beside it until it is finished."""

    digest: str = msgspec.field(name="asked")  # a digest of everything that determines the file
    seed: int
    n_done: int = 0
    n_bytes: int = 0


def write_samples(
    engine: AnyEngine,
    path: Path,
    prompts: Sequence[str],
    params: Params,
    n: int,
    delimiter: str = DELIMITER,
    include_prompt: bool = True,
) -> Iterator[int]:
    """Write n samples of each prompt, a delimiter after each; yields how many are done.

    If interrupted, the same call resumes where it stopped. Sample k of a prompt has the seed that
    continuation k of a request would have.
    """
    if n < 1:
        raise SamplesError(f"n is {n}; it must be at least 1.")
    shown = [prompt if include_prompt else "" for prompt in prompts]
    digest = _digest(prompts, params, n, delimiter, include_prompt, engine.info().models[0].path)
    progress = _begin(path, digest, params)
    yield progress.n_done
    texts = _in_order(engine, _requests(prompts, params, n, progress))
    with open(path, "r+b") as file:
        file.truncate(progress.n_bytes)  # what follows the last note is incomplete
        file.seek(progress.n_bytes)
        for (text,) in texts:
            before = shown[progress.n_done // n]
            end = "" if text.endswith("\n") else "\n"
            progress.n_bytes += file.write(f"{before}{text}{end}{delimiter}".encode())
            progress.n_done += 1
            file.flush()
            _note(path, progress)
            yield progress.n_done
        os.fsync(file.fileno())
    _note_path(path).unlink()


def _requests(
    prompts: Sequence[str], params: Params, n: int, progress: Progress
) -> Iterator[tuple[str, Params]]:
    from app.gpt2 import row_seed

    for at in range(progress.n_done, n * len(prompts)):
        seed = row_seed(progress.seed, at % n)
        yield prompts[at // n], msgspec.structs.replace(params, seed=seed, n=1)


def _begin(path: Path, digest: str, params: Params) -> Progress:
    """The progress of an interrupted call, or a new one."""
    note = _note_path(path)
    if note.exists():
        progress = msgspec.json.decode(note.read_bytes(), type=Progress)
        if progress.digest != digest:
            raise SamplesError(
                f"{path} was started with other prompts or options; repeat those to finish it, "
                f"or remove it and {note.name}."
            )
        return progress
    seed = secrets.randbelow(MAX_SEED + 1) if params.seed is None else params.seed
    progress = Progress(digest, seed)
    try:
        path.open("xb").close()
    except FileExistsError:
        raise SamplesError(f"{path} is there already; name another file.") from None
    _note(path, progress)
    return progress


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(msgspec.to_builtins(values)).encode()).hexdigest()


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + ".progress")


def _note(path: Path, progress: Progress) -> None:
    """Replace the note in one step, so that an interruption leaves the old one or the new."""
    new = _note_path(path).with_suffix(".new")
    new.write_bytes(msgspec.json.encode(progress))
    new.replace(_note_path(path))
