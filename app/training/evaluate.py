"""`continuo evaluate`: score models on texts."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from app.gpt2 import Checkpoint, load, transformers_model
from app.training.corpus import sources
from app.training.corpus.corpus import Corpus, Rules, is_prepared
from app.training.corpus.prepare import Files, prepare
from app.training.corpus.tokens import TokenFile
from app.training.errors import NoText, TrainingError
from app.training.learn import machine
from app.training.learn.batches import Lines
from app.training.learn.loss import SummedLoss
from app.training.learn.score import Score, line_rows, score, stream_rows
from app.training.request import EvaluateRequest, model_at
from app.training.run.folder import corpus_of

Tell = Callable[[str], None]
Texts = Iterator[tuple[str, Corpus, TokenFile]]  # title, corpus, the tokens to score


class Result(msgspec.Struct, frozen=True):
    model: str
    text: str
    tokens: int
    bytes: int
    loss: float
    perplexity: float
    bits_per_byte: float


def evaluate(request: EvaluateRequest, tell: Tell) -> list[Result]:
    """A result for each model and text, and one for each model over all its texts."""
    results: list[Result] = []
    opened = {name: load(model_at(name, request.into)) for name in request.models}
    own = None if request.texts else own_test_part(request, opened, tell)
    for name, checkpoint in opened.items():
        scorer = Scorer(checkpoint, request.batch)
        scores = {}
        with tempfile.TemporaryDirectory() as scratch:
            if own is not None:
                texts: Texts = iter([("its test part", own, own.test)])
            else:
                texts = _texts(name, checkpoint, request, Path(scratch), tell)
            for title, corpus, tokens in texts:
                scores[title] = scorer(corpus, tokens)
        if not scores:
            raise NoText
        if len(scores) > 1:
            scores["all"] = sum(scores.values(), Score(0.0, 0, 0))
        results += [_result(name, title, score) for title, score in scores.items()]
    return results


def _result(model: str, text: str, s: Score) -> Result:
    return Result(model, text, s.tokens, s.bytes, s.loss, s.perplexity, s.bits_per_byte)


def own_test_part(request: EvaluateRequest, opened: dict[str, Checkpoint], tell: Tell) -> Corpus:
    """The corpus whose test part all models are scored on: the first model's."""
    first, *others = request.models
    folder = corpus_of(request.into / "runs" / first)
    if folder is None:
        raise TrainingError(
            f"Name the texts: {first} was not trained here, so it has no test part."
        )
    if not is_prepared(folder):
        raise TrainingError(f"Name the texts: {folder}, which {first} learned from, is gone.")
    corpus = Corpus.open(folder)
    for other in others:
        if not opened[other].tokenizer.extends(corpus.tokenizer):
            raise TrainingError(
                f"Name the texts: {other} has another vocabulary than {first}, whose test part "
                "is in tokens."
            )
        its = corpus_of(request.into / "runs" / other)
        if its is None or not is_prepared(its) or Corpus.open(its).key != corpus.key:
            tell(f"{other} learned from other texts, and may have seen the test part of {first}.")
    return corpus


def _texts(
    name: str, checkpoint: Checkpoint, request: EvaluateRequest, scratch: Path, tell: Tell
) -> Texts:
    """Every named file, in the model's vocabulary; files without text are reported."""
    rules = Rules(
        (100, 0, 0), column=request.column, encoding=request.encoding, prose=request.prose
    )
    if request.line_by_line:
        begin, end = marks_of(name, checkpoint)
        rules = replace(rules, line_by_line=True, bos=begin, eos=end, pad=end)
    for source in sources.find(request.texts, request.exclude, scratch / "fetched"):
        try:
            corpus = prepare(Files([source]), checkpoint.tokenizer, rules, scratch, tell)
        except NoText:
            continue  # as was told
        except TrainingError as error:
            tell(f"Skipped: {source.name}. {error}")
            continue
        yield source.name, corpus, corpus.train


def marks_of(name: str, checkpoint: Checkpoint) -> tuple[str, str]:
    """The model's own tokens that begin and end a line."""
    words = {id: word for word, id in checkpoint.tokenizer.specials.items()}
    begin, end = checkpoint.config.bos_token_id, next(iter(checkpoint.config.eos_token_ids), None)
    if begin not in words or end not in words:
        raise TrainingError(
            f"{name} has no tokens that begin and end a line; leave out --line-by-line."
        )
    return words[begin], words[end]


class Scorer:
    """An opened checkpoint; call it with a token file to score that."""

    def __init__(self, checkpoint: Checkpoint, batch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        machine.keep_memory()
        self.window, self.batch = checkpoint.config.n_positions, batch
        self.loss = SummedLoss(transformers_model(checkpoint).eval().to(self.device))

    def __call__(self, corpus: Corpus, tokens: TokenFile) -> Score:
        if len(tokens) < 2:
            raise TrainingError("The text has too few tokens to score.")
        if corpus.line_by_line:
            rows = line_rows(Lines(tokens, self.window, 0, corpus.pad), self.batch)
        else:  # every token after the first half window has at least half a window before it
            rows = stream_rows(tokens.ids, self.window, max(1, self.window // 2), self.batch)
        return score(self.loss, rows, tokens.bytes, self.device)


def table(results: Sequence[Result]) -> str:
    """The results in aligned columns."""
    head = ("model", "text", "tokens", "bytes", "loss", "perplexity", "bits/byte")
    lines = [head]
    for r in results:
        numbers = f"{r.loss:.4f}", f"{r.perplexity:,.2f}", f"{r.bits_per_byte:.4f}"
        lines.append((r.model, Path(r.text).name, f"{r.tokens:,}", f"{r.bytes:,}", *numbers))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
