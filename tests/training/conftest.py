"""A small corpus and runs short enough to be told many times."""

import random

import pytest

from app.training.config import TrainConfig
from app.training.corpus.corpus import Rules
from app.training.corpus.prepare import Files, prepare
from app.training.corpus.sources import find
from app.training.learn.model import new_model, tuned_model
from app.training.run.run import Run
from app.training.train import train

WORDS = "the cat sat on a mat and saw one dog run over old hills".split()
SMALL = {"layers": 2, "width": 32, "heads": 2, "window": 32, "block": 16, "batch": 4, "threads": 1}
SMALL |= {"steps": 12, "evaluate_every": 4, "sample_tokens": 8}


def story(n: int) -> str:
    """Sentences that differ from each other and from those of another story."""
    draw = random.Random(n)
    return " ".join(draw.choices(WORDS, k=draw.randint(120, 200))).capitalize() + "."


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(20):
        (folder / f"story{n:02}.txt").write_text(story(n) + "\n", encoding="utf-8")
    rules = Rules(new_vocabulary=300)
    files = Files(find([str(folder)], (), folder / "spool"))
    return prepare(files, None, rules, folder / "cache", lambda line: None)


@pytest.fixture
def begin(corpus, tmp_path):
    """Train a small model from nothing (or go on with it) under a name."""

    def begin(
        name="run", on=corpus, base=None, tell=lambda line: None, fresh=False, level=None, **told
    ):
        config = TrainConfig(**(SMALL | told), base=None if base is None else "base")
        folders = tmp_path / "runs" / name, tmp_path / "models" / name
        run = Run(config, on, *folders, tell=tell, fresh=fresh, level=level)
        model = new_model(config, on) if base is None else tuned_model(base, config, on)
        return train(run, model).state, run

    return begin
