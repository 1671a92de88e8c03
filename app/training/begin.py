"""From the words of the command line to a corpus, a model and a run."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from app.gpt2 import Checkpoint, ModelNotFound, Tokenizer, check_free, find, load
from app.training.config import SIZES, TrainConfig, TrainingError
from app.training.corpus import sources
from app.training.corpus.corpus import Corpus, Rules, is_prepared, prepare
from app.training.learn import model as network
from app.training.run.samples import PROMPTS
from app.training.train import Run, show_plan, train

Words = dict[str, Any]
Tell = Callable[[str], None]
SHAPE = ("layers", "width", "heads")


def begin(words: Words, again: str, tell: Tell) -> int:
    """Train as the words say, or go on with what they began; the exit status."""
    processes = PartialState(cpu=not torch.cuda.is_available())
    if not processes.is_main_process:
        tell = silent
    folder, result = places(words)
    base = opened_base(words)
    config = config_of(words)
    with processes.local_main_process_first():  # the others find it prepared
        corpus = prepared_for(words, base, tell, processes.is_local_main_process)
    if base is None:
        model = network.new_model(config, corpus)
    else:
        model = network.tuned_model(base, config, corpus)
    run = Run(
        config=config,
        corpus=corpus,
        folder=folder,
        result=result,
        again=again,
        prompts=words.get("prompts") or PROMPTS,
        about=words.get("about"),
        tell=tell,
        quiet=words["quiet"],
        fresh=words["fresh"],
    )
    if words["dry_run"]:
        show_plan(run, model)
        return 0
    try:
        ended = train(run, model)
    except torch.OutOfMemoryError:
        raise TrainingError(
            "The GPU's memory ran out. Give the same command again with half the --batch and twice "
            "the --accumulate, or with --checkpointing: it goes on from the last checkpoint."
        ) from None
    return 0 if ended.signal is None else 128 + ended.signal  # as a shell counts signals


def silent(line: str) -> None:
    pass


def places(words: Words) -> tuple[Path, Path]:
    """runs/NAME and models/NAME; only its own run writes over a model without being asked."""
    name, into = words["name"], words["into"]
    if not name.strip() or name.startswith(".") or "/" in name:
        raise TrainingError(f"--name is {name!r}; it is a word such as friends, and no path.")
    run, model = into / "runs" / name, into / "models" / name
    if model.exists() and not run.exists():
        if not (model / "training.json").is_file():
            raise TrainingError(f"{model} was not trained here; choose another --name.")
        if not words["fresh"]:
            raise TrainingError(
                f"{model} is there and its run is not; choose another --name, or say --fresh to "
                "replace it."
            )
    return run, model


def prepared(words: Words, tell: Tell) -> Corpus:
    """The corpus alone: with the vocabulary of --from, a new one, or GPT-2's own."""
    base = None
    if "base" in words:
        base = load(find(words["base"], words["into"] / "models"))
    return prepared_for(words, base, tell)


def check_output(folder: Path) -> None:
    """Refuse before the work what Corpus.copy refuses after it."""
    if not is_prepared(folder):
        check_free(folder)


def config_of(words: Words) -> TrainConfig:
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    told = {name: value for name, value in words.items() if name in fields}
    if "size" in words:
        told = dict(zip(SHAPE, SIZES[words["size"]], strict=True)) | told
    elif "base" not in words and not is_from_nothing(words):
        told["base"] = "gpt2"
    return TrainConfig(**told)


def is_from_nothing(words: Words) -> bool:
    return "size" in words or any(name in words for name in SHAPE)


def opened_base(words: Words) -> Checkpoint | None:
    """What --from names; gpt2 where neither it nor a shape was given; None: from nothing."""
    models = words["into"] / "models"
    if "base" in words:
        if is_from_nothing(words) or "new_vocabulary" in words:
            raise TrainingError("--from brings its own shape and vocabulary; leave out the others.")
        return load(find(words["base"], models))
    if is_from_nothing(words):
        return None
    try:
        return load(find("gpt2", models))
    except ModelNotFound:
        raise TrainingError(
            "There is no model gpt2 to begin from: run `continuo download gpt2`, or name another "
            "with --from (such as --from starter), or say --size small to begin from nothing."
        ) from None


def prepared_for(
    words: Words, base: Checkpoint | None, tell: Tell, is_first: bool = True
) -> Corpus:
    """The texts as token files in the base's vocabulary; a prepared folder as it is."""
    texts, cache = words["texts"], words["into"] / "runs" / ".tokens"
    if len(texts) == 1 and is_prepared(Path(texts[0])):
        corpus = Corpus.open(Path(texts[0]))
        if base is not None and base.tokenizer.n_tokens > corpus.tokenizer.n_tokens:
            raise TrainingError(f"{texts[0]} was prepared for another vocabulary than the base's.")
        return corpus
    rules = Rules(
        shares=shares_of(words["split"]),
        line_by_line=words["line_by_line"],
        bos=words["bos"],
        eos=words["eos"],
        pad=words["pad"],
        column=words.get("column"),
        prose=words["prose"],
        new_vocabulary=words.get("new_vocabulary"),
    )
    found = sources.find(texts, words["exclude"], cache / "fetched", is_first)
    tokenizer = base.tokenizer if base is not None else Tokenizer.gpt2()
    return prepare(found, tokenizer, rules, cache, tell)


def shares_of(split: str) -> tuple[float, float, float]:
    """ "70-20-10" -> (70.0, 20.0, 10.0)."""
    try:
        train_share, validation, test = (float(share) for share in split.split("-"))
        if not (0 < train_share < math.inf and 0 <= validation + test < math.inf):
            raise ValueError
    except ValueError:
        raise TrainingError(f"split is {split!r}; it is three shares, such as 70-20-10.") from None
    return train_share, validation, test
