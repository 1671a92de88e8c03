"""Turn a request into a corpus, a model and a run, and train."""

import contextlib
import dataclasses
import math
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from app.gpt2 import Checkpoint, ModelNotFound, Tokenizer, check_free, load
from app.training.config import SIZES, TrainConfig, spelled
from app.training.corpus import sources
from app.training.corpus.corpus import Corpus, Rules, is_prepared
from app.training.corpus.prepare import Files, prepare
from app.training.errors import TrainingError
from app.training.learn import model as network
from app.training.request import OF_PREPARING, TextRequest, TrainRequest, model_at
from app.training.run.folder import corpus_of
from app.training.run.level import cooling, level_of, read_record
from app.training.run.publish import TRAINING
from app.training.run.run import Level, Run
from app.training.run.samples import PROMPTS
from app.training.train import Outcome, train

Tell = Callable[[str], None]
SHAPE = ("layers", "width", "heads")


def begin(request: TrainRequest, tell: Tell) -> Outcome:
    """Start or resume the training that these options describe."""
    processes = PartialState(cpu=not torch.cuda.is_available())
    if not processes.is_main_process:
        tell = silent
    folder, result = places(request)
    level = None
    if request.cool_down is not None:
        level, base, config, corpus = cut(request, request.cool_down, folder)
    else:
        base, config = opened_base(request), config_of(request)
        with processes.local_main_process_first():  # the others then find it prepared
            corpus = corpus_for(request, base, tell, processes.is_local_main_process)
    config = dataclasses.replace(config, line_by_line=corpus.line_by_line)
    if base is None:
        model = network.new_model(config, corpus)
    else:
        model = network.tuned_model(base, config, corpus)
    run = Run(
        config=config,
        corpus=corpus,
        folder=folder,
        result=result,
        resume_command=resume_command(request, processes),
        prompts=request.prompts or PROMPTS,
        about=request.about,
        tell=tell,
        quiet=request.quiet,
        fresh=request.fresh,
        dry_run=request.dry_run,
        level=level,
    )
    with in_sentences():
        outcome = train(run, model)
    # A process that ends with the group still there may abort, in its threads.
    processes.destroy_process_group()
    return outcome


def finetune(
    texts: str | Path | Sequence[str | Path], name: str, tell: Tell = print, **options: Any
) -> Path:
    """Train models/NAME on `texts` as `continuo train` does, and return its folder.

    `options` are those of the command: base="starter", steps=500, line_by_line=True, fresh=True.
    Interrupt it by Ctrl-C (the stop button); the same call resumes it.

        >>> from app import finetune, continue_texts
        >>> finetune("friends.txt", "friends", base="starter", steps=500)
        >>> continue_texts("friends", "Joey: ", seed=1)
    """
    named = [texts] if isinstance(texts, str | Path) else texts
    configurable = {field.name for field in dataclasses.fields(TrainConfig)} - {"base"}
    settable = {field.name for field in dataclasses.fields(TrainRequest)} - {"config"}
    given: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for option_name, value in options.items():
        if option_name in settable:
            given[option_name] = value
        elif option_name in configurable:
            config[option_name] = value
        else:
            raise TrainingError(f"There is no option {option_name}; see `continuo train --help`.")
    for several in ("exclude", "validation", "test", "prompts"):
        if isinstance(given.get(several), str | Path):
            given[several] = (str(given[several]),)
    if "into" in given:
        given["into"] = Path(given["into"])
    request = TrainRequest(texts=tuple(map(str, named)), name=name, config=config, **given)
    begin(request, silent if request.quiet else tell)
    return request.into / "models" / name


def silent(line: str) -> None:
    pass


@contextlib.contextmanager
def in_sentences() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingError(
            "The GPU ran out of memory. Repeat the command with half the --batch and twice the "
            "--accumulate, or with --checkpointing; it resumes from the last checkpoint."
        ) from None


def resume_command(request: TrainRequest, processes: PartialState) -> str:
    """The command that resumes this run, with as many processes as now."""
    if request.resume_words is None:
        return "the same call again"
    words = ["train", *request.resume_words]
    if processes.num_processes == 1:
        return shlex.join(["continuo", *words])
    if len(set(gather_object([socket.gethostname()]))) > 1:
        return "the same torchrun on every machine"
    start = ["torchrun", "--nproc-per-node", str(processes.num_processes), "-m", "app"]
    return shlex.join([*start, *words])


def places(request: TrainRequest) -> tuple[Path, Path]:
    """runs/NAME and models/NAME. Without --fresh, only its own run replaces a model."""
    name, into = request.name, request.into
    if not name.strip() or name.startswith(".") or "/" in name:
        raise TrainingError(f"--name is {name!r}; give a word such as friends, not a path.")
    run, model = into / "runs" / name, into / "models" / name
    if model.exists() and not run.exists():
        if not (model / TRAINING).is_file():
            raise TrainingError(f"{model} was not trained here; choose another --name.")
        if not request.fresh:
            raise TrainingError(
                f"{model} exists, but its run does not; choose another --name, or replace it with "
                "--fresh."
            )
    return run, model


def cut(
    request: TrainRequest, name: str, release: Path
) -> tuple[Level, Checkpoint | None, TrainConfig, Corpus]:
    """What a release is trained with: all as in runs/`name`, but that the rate falls."""
    for given in ("texts", "base", "size", "line_by_line", *OF_PREPARING):
        if getattr(request, given) not in (None, False, ()):
            word = {"texts": "the texts", "base": "--from"}.get(given, spelled(given))
            raise TrainingError(
                f"--cool-down reads what {name} read, and goes on from its weights; leave out "
                f"{word}."
            )
    run = request.into / "runs" / name
    is_cut = not request.fresh and read_record(release) is not None
    source = release if is_cut else run  # the level run may be gone by now
    record, tokens = read_record(source), corpus_of(source)
    if record is None or tokens is None:
        raise TrainingError(f"There is no run {run} to cut a release from; name another.")
    level = level_of(run, release if is_cut else None)
    [step] = broadcast_object_list([level.step])  # several processes leave it at the same
    config = cooling(record.config, request.config, step)
    base = None if config.base is None else load(model_at(config.base, request.into))
    return Level(run, step), base, config, Corpus.open(tokens)


# ---- the texts ----


def prepared(request: TextRequest, output: Path | None, tell: Tell) -> Corpus:
    """Only the corpus, in the vocabulary of --from, a new one, or GPT-2's own."""
    if output is not None and not is_prepared(output):
        check_free(output)  # before the work starts
    base = None
    if request.base is not None:
        if request.new_vocabulary is not None:
            raise TrainingError("--from has its own vocabulary; leave out --new-vocabulary.")
        base = load(model_at(request.base, request.into))
    corpus = corpus_for(request, base, tell)
    return corpus if output is None else Corpus.open(corpus.copy(output))


def corpus_for(
    request: TextRequest, base: Checkpoint | None, tell: Tell, is_first: bool = True
) -> Corpus:
    """The texts as token files in the base's vocabulary; a prepared folder stays as it is."""
    if len(request.texts) == 1 and is_prepared(Path(request.texts[0])):
        return _as_prepared(request, base)
    rules, cache = rules_of(request), request.into / "runs" / ".tokens"

    def found(names: tuple[str, ...]) -> list[sources.Source]:
        spool = cache / "fetched"
        return sources.find(names, request.exclude, spool, is_first) if names else []

    files = Files(found(request.texts), found(request.validation), found(request.test))
    tokenizer = base.tokenizer if base is not None else Tokenizer.gpt2()
    return prepare(files, tokenizer, rules, cache, tell)


def _as_prepared(request: TextRequest, base: Checkpoint | None) -> Corpus:
    folder = request.texts[0]
    for name in OF_PREPARING:
        if getattr(request, name) not in (None, False, ()):
            raise TrainingError(
                f"{spelled(name)} cannot change once {folder} is prepared; leave it out, or "
                "prepare the texts again."
            )
    corpus = Corpus.open(Path(folder))
    if request.line_by_line and not corpus.line_by_line:
        raise TrainingError(
            f"{folder} was prepared without --line-by-line; prepare the texts again with it."
        )
    if base is not None and not corpus.tokenizer.extends(base.tokenizer):
        raise TrainingError(
            f"{folder} is in another vocabulary than {request.base or 'gpt2'}; prepare the texts "
            f"again with --from {request.base or 'gpt2'}."
        )
    return corpus


def rules_of(request: TextRequest) -> Rules:
    """Rules with what the request sets, and defaults for the rest."""
    given: dict[str, Any] = {"shares": shares_of(request)}
    for field in dataclasses.fields(Rules):
        value = getattr(request, field.name, None)
        if value is not None:
            given[field.name] = value
    for name in ("bos", "eos", "pad"):
        if getattr(request, name) is not None and not request.line_by_line:
            raise TrainingError(f"{spelled(name)} marks lines; use it with --line-by-line.")
    return Rules(**given)


def shares_of(request: TextRequest) -> tuple[float, float, float]:
    """ "70-20-10" -> (70.0, 20.0, 10.0); 0 for a part that has files of its own."""
    if request.split is not None and request.validation and request.test:
        raise TrainingError("--validation and --test leave nothing to split; leave out --split.")
    split = request.split or "70-20-10"
    try:
        train_share, validation, test = (float(share) for share in split.split("-"))
        if not (0 < train_share < math.inf and 0 <= validation + test < math.inf):
            raise ValueError
    except ValueError:
        raise TrainingError(f"--split is {split!r}; give three shares, such as 70-20-10.") from None
    return train_share, 0 if request.validation else validation, 0 if request.test else test


# ---- the model ----


def config_of(request: TrainRequest) -> TrainConfig:
    given = dict(request.config)
    if request.size is not None:
        given = dict(zip(SHAPE, SIZES[request.size], strict=True)) | given
    given["line_by_line"] = request.line_by_line
    given["base"] = None if is_from_scratch(request) else request.base or "gpt2"
    return TrainConfig(**given)


def is_from_scratch(request: TrainRequest) -> bool:
    return request.size is not None or any(name in request.config for name in SHAPE)


def opened_base(request: TrainRequest) -> Checkpoint | None:
    """What --from names, gpt2 by default; None to train from scratch."""
    if is_from_scratch(request):
        if request.base is not None:
            raise TrainingError(
                "--from has its own shape; leave out --size, --layers, --width and --heads."
            )
        return None
    for name, value in (("window", request.config.get("window")),
                        ("new_vocabulary", request.new_vocabulary)):  # fmt: skip
        if value is not None:
            raise TrainingError(
                f"{spelled(name)} is for a model from scratch; leave it out, or use --size small "
                "instead of --from."
            )
    if request.base is not None:
        return load(model_at(request.base, request.into))
    try:
        return load(model_at("gpt2", request.into))
    except ModelNotFound:
        raise TrainingError(
            "There is no model gpt2 to start from: run `continuo download gpt2`, or name another "
            "with --from (such as --from starter), or use --size small to train from scratch."
        ) from None
