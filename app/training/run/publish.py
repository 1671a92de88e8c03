"""models/NAME: the product of a run, an ordinary checkpoint, rewritten at every new best."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
from transformers import GPT2LMHeadModel

from app.gpt2 import card_toml, whole_folder
from app.training.corpus.seen import Seen
from app.training.learn import model as network
from app.training.learn.plan import Plan
from app.training.learn.score import Score
from app.training.run.card import proposed_card
from app.training.run.checkpoint import sha256
from app.training.run.run import Run, State

TRAINING = "training.json"  # only models trained here have it
CARD = "card.toml"


def publish(
    run: Run, plan: Plan, state: State, model: GPT2LMHeadModel, score: Score | None
) -> None:
    corpus = run.corpus
    run.result.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(run.result, ours=TRAINING) as folder:
        pad = corpus.pad if corpus.line_by_line else None
        network.write(model, folder, pad)
        corpus.tokenizer.save(folder, corpus.begin, corpus.end, pad)
        facts = training_json(run, plan, state, score)
        if is_ours(run.result):
            card = card_toml(proposed_card(run, facts["about"]))
            (folder / CARD).write_text(card, encoding="utf-8")
            facts["card"] = sha256(folder / CARD)
        (folder / TRAINING).write_text(
            json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8"
        )
        keep_theirs(run.result, folder)


def is_ours(model: Path) -> bool:
    """Whether there is no card yet, or only the unchanged one that we proposed."""
    try:
        proposed = json.loads((model / TRAINING).read_text(encoding="utf-8")).get("card")
        return not (model / CARD).exists() or sha256(model / CARD) == proposed
    except (OSError, ValueError, AttributeError):
        return not (model / CARD).exists()


def keep_theirs(old: Path, new: Path) -> None:
    """Keep other files of the old folder, such as a README: they are not ours to delete."""
    for path in old.iterdir() if old.is_dir() else ():
        if (new / path.name).exists():
            continue
        if path.is_dir():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def training_json(run: Run, plan: Plan, state: State, score: Score | None) -> dict[str, Any]:
    files = run.corpus.report.files
    validation = None if score is None else {"loss": score.loss} | score.measures()
    return {
        "about": run.about or about(plan, files),
        "base": plan.config.base,
        "corpus": {
            "files": msgspec.to_builtins(files),
            "bytes": sum(file.bytes for file in files),
            "tokens": sum(file.tokens for file in files),
            "train_tokens": plan.train_tokens,
        },
        "steps": state.step,
        "tokens": state.tokens,
        "seconds": round(state.seconds),
        "parameters": plan.parameters,
        "learning_rate": plan.learning_rate,
        "validation": validation,
        "bits_per_byte": None if score is None else score.bits_per_byte,
        "command": run.resume_command,
    }


def about(plan: Plan, files: list[Seen]) -> str:
    names = ", ".join(file.name.rpartition("/")[2] for file in files[:2])
    more = f" and {len(files) - 2} more" if len(files) > 2 else ""
    base = f", tuned from {plan.config.base}" if plan.config.base else ""
    return f"{plan.parameters / 1e6:.1f} M parameters, trained on {names}{more}{base}"
