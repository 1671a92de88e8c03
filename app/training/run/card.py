"""Propose models/NAME/card.toml from the corpus: its language, first lines and speakers."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from app.gpt2 import Card
from app.training.corpus.corpus import Corpus
from app.training.run.run import Run
from app.training.run.samples import TEMPERATURE, TOP_K

DOCUMENTS = 200  # examined, spread evenly over the training text
OPENING = 64  # tokens of each
N_STARTERS, LONGEST = 5, 60  # characters, cut at a word
PASSAGE = 20_000  # tokens examined for speakers and language, at each of several places
SPEECH = re.compile(r"^([^\W\d_][\w.'’ -]{0,30}?)[:：]", re.MULTILINE)
N_SPEAKERS = 8


def proposed_card(run: Run, about: str) -> Card:
    text = "\n".join(_passages(run.corpus))
    return Card(
        title=run.result.name[:200],
        blurb=about[:2000],
        language=language_of(text),
        starters=starters_of(_beginnings(run.corpus, text)),
        settings={"temperature": TEMPERATURE, "top_k": TOP_K},
        speakers=speakers_of(text),
    )


def _beginnings(corpus: Corpus, text: str) -> Iterator[str]:
    """Of documents; if they are few, of paragraphs (in scripts: lines) too."""
    yield from _openings(corpus)
    if len(corpus.train.starts) < N_STARTERS:
        _, *paragraphs = text.split("\n\n" if "\n\n" in text else "\n")
        yield from paragraphs


def _openings(corpus: Corpus) -> Iterator[str]:
    tokens, n = corpus.train, len(corpus.train.starts)
    specials = set(corpus.tokenizer.specials.values())
    for document in np.unique(np.linspace(0, n - 1, min(n, DOCUMENTS)).astype(int)):
        start = int(tokens.starts[document])
        end = int(tokens.starts[document + 1]) if document + 1 < n else len(tokens)
        ids = tokens.ids[start : min(end, start + OPENING)].tolist()
        yield corpus.tokenizer.decode([id for id in ids if id not in specials])


def starters_of(openings: Iterator[str]) -> list[str]:
    """A few different first lines, each cut at a word, spread evenly over all."""
    found = list(dict.fromkeys(filter(None, map(_starter, openings))))
    if len(found) <= N_STARTERS:
        return found
    return [found[i * len(found) // N_STARTERS] for i in range(N_STARTERS)]


def _starter(text: str) -> str:
    """The first line that begins a sentence, rather than a title."""
    for line in text.splitlines():
        line = line.strip().rstrip("\ufffd")  # where the last character was cut
        chinese = len(re.findall("[\u3040-\u9fff\uac00-\ud7af]", line))
        if chinese >= 6:
            return line[:20]
        if len(line.split()) >= 4 and re.search("[^\\W\\d_]", line) and not line.isupper():
            cut = line[:LONGEST]
            return cut if len(line) <= LONGEST else cut.rpartition(" ")[0]
    return ""


def _passages(corpus: Corpus) -> Iterator[str]:
    tokens = corpus.train
    for start in np.linspace(0, max(0, len(tokens) - PASSAGE), 5).astype(int):
        yield from _between(tokens.ids[start : start + PASSAGE].tolist(), corpus)
        if len(tokens) <= PASSAGE:
            return


def _between(ids: list[int], corpus: Corpus) -> Iterator[str]:
    """The texts between special tokens."""
    specials = set(corpus.tokenizer.specials.values())
    for is_mark, group in groupby(ids, specials.__contains__):
        if not is_mark:
            yield corpus.tokenizer.decode(list(group))


def speakers_of(text: str) -> list[str]:
    """Who speaks most, if many lines begin with a name."""
    lines = [line for line in text.splitlines() if line.strip()]
    names = Counter(match[1].strip() for match in SPEECH.finditer(text))
    if sum(names.values()) < 0.3 * len(lines) or len(lines) < 20:
        return []
    often = [(name, n) for name, n in names.most_common(N_SPEAKERS) if n >= 0.02 * len(lines)]
    return [name for name, _ in often]


COMMON = {  # words that are frequent in one of these languages only
    "en": "the and of to was with that",
    "de": "der und die nicht das ist mit",
    "fr": "les et des une dans est que",
    "es": "los que las una por con está",
    "it": "che di il della con non gli",
    "pt": "que não uma com para os dos",
}
SCRIPTS = (  # the first that has a tenth of the letters
    ("ja", "[\u3040-\u30ff]"), ("ko", "[\uac00-\ud7af]"), ("zh", "[\u4e00-\u9fff]"),
    ("ru", "[\u0400-\u04ff]"), ("el", "[\u0370-\u03ff]"), ("ar", "[\u0600-\u06ff]"),
)  # fmt: skip


def language_of(text: str) -> str:
    """ "" if it is none of these, or unclear."""
    letters = sum(letter.isalpha() for letter in text)
    for language, script in SCRIPTS:
        if letters and len(re.findall(script, text)) > 0.1 * letters:
            return language
    words = Counter(re.findall(r"\w+", text.lower()))
    counts = {name: sum(words[w] for w in common.split()) for name, common in COMMON.items()}
    best, second = sorted(counts, key=counts.__getitem__, reverse=True)[:2]
    return best if counts[best] > max(5, 1.5 * counts[second]) else ""
