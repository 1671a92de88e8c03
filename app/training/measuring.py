"""`continuo evaluate`: checkpoints against texts, in a table."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.gpt2 import Checkpoint, find, load, transformers_model
from app.training.config import TrainingError
from app.training.corpus import sources
from app.training.corpus.corpus import Corpus, Rules, is_prepared, prepare
from app.training.corpus.tokens import TokenFile
from app.training.learn import machine
from app.training.learn.batches import Lines
from app.training.learn.loss import SummedLoss
from app.training.learn.score import Score, line_rows, score, stream_rows
from app.training.run.folder import corpus_of

Row = dict[str, Any]


def measure_models(
    names: Sequence[str], words: dict[str, Any], tell: Callable[[str], None]
) -> list[Row]:
    """A row for each model and text, and one for each model over all its texts."""
    rows, root = [], words["into"]
    for name in names:
        checkpoint = load(find(name, root / "models"))
        measure = Measure(checkpoint, words["batch"])
        scores = {}
        with tempfile.TemporaryDirectory() as scratch:
            for title, corpus, tokens in _texts(name, checkpoint, words, root, Path(scratch), tell):
                scores[title] = measure(corpus, tokens)
        if len(scores) > 1:
            scores["all"] = sum(scores.values(), Score(0.0, 0, 0))
        rows += [{"model": name, "text": title} | s.numbers() for title, s in scores.items()]
    return rows


def _texts(name, checkpoint: Checkpoint, words: dict, root: Path, scratch: Path, tell):
    """(title, corpus, tokens) of what was named, or of the test part of the model's own corpus."""
    if not words["texts"]:
        folder = corpus_of(root / "runs" / name)
        if folder is None:
            raise TrainingError(
                f"Name the texts: {name} was not trained here, so has no test part."
            )
        if not is_prepared(folder):
            raise TrainingError(f"Name the texts: {folder}, which {name} learned from, is gone.")
        corpus = Corpus.open(folder)
        yield "its test part", corpus, corpus.test
        return
    rules = Rules((100, 0, 0), column=words["column"], prose=words["prose"])
    if words["line_by_line"]:
        begin, end = marks_of(name, checkpoint)
        rules = replace(rules, line_by_line=True, bos=begin, eos=end, pad=end)
    for source in sources.find(words["texts"], words["exclude"], scratch / "fetched"):
        corpus = prepare([source], checkpoint.tokenizer, rules, scratch, tell)
        yield source.name, corpus, corpus.train


def marks_of(name: str, checkpoint: Checkpoint) -> tuple[str, str]:
    """What the model's lines begin and end with: its own tokens, whatever they are called."""
    words = {id: word for word, id in checkpoint.tokenizer.specials.items()}
    begin, end = checkpoint.config.bos_token_id, *checkpoint.config.eos_token_ids[:1]
    if begin not in words or end not in words:
        raise TrainingError(f"{name} has no tokens to begin and end a line with.")
    return words[begin], words[end]


class Measure:
    """A checkpoint, opened to be scored: call it with a token file."""

    def __init__(self, checkpoint: Checkpoint, batch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        machine.keep_memory()
        self.window, self.batch = checkpoint.config.n_positions, batch
        self.loss = SummedLoss(transformers_model(checkpoint).eval().to(self.device))

    def __call__(self, corpus: Corpus, tokens: TokenFile) -> Score:
        if len(tokens) < 2:
            raise TrainingError("There are no tokens to measure with.")
        if corpus.report["rules"]["line_by_line"]:
            rows = line_rows(Lines(tokens, self.window, 0, corpus.pad), self.batch)
        else:  # every token but the first half window sees at least half a window before it
            rows = stream_rows(tokens.ids, self.window, max(1, self.window // 2), self.batch)
        return score(self.loss, rows, tokens.bytes, self.device)


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as they need to be."""
    head = ("model", "text", "tokens", "bytes", "loss", "perplexity", "bits/byte")
    lines = [head]
    for r in rows:
        text = Path(r["text"]).name
        numbers = f"{r['loss']:.4f}", f"{r['perplexity']:,.2f}", f"{r['bits_per_byte']:.4f}"
        lines.append((r["model"], text, f"{r['tokens']:,}", f"{r['bytes']:,}", *numbers))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
