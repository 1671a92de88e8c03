"""Cut the text of files into documents, and documents into pieces small enough for any memory.

A piece ends where GPT-2's BPE always begins a new token, so encoding piece by piece gives the ids
of the whole. Knows no tokens and no file formats.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from app.training.corpus.seen import Seen

SEPARATOR = "<|endoftext|>"
PIECE = 1 << 18  # characters
# A line break after a letter, or else a space: no token spans them and what precedes them.
BREAKS = re.compile(r"(?<=\S)\n"), re.compile(r"(?<=\S) (?=\S)")
SEPARATED = re.compile(r"[ \t]*<\|endoftext\|>[ \t]*(?:\r?\n|\Z)")  # at the end of a line

Pieces = Iterator[str | None]  # None ends a document


def documents(chunks: Iterable[str], seen: Seen) -> Pieces:
    """One file's documents, in pieces. A line that ends with <|endoftext|> ends a document."""
    rest = ""
    for chunk in chunks:
        rest += chunk
        if len(rest) < PIECE:
            continue
        # Keep the last line for the next round, as it may become a separator, unless it is all
        # there is.
        end = rest.rfind("\n") + 1
        *whole, head = SEPARATED.split(rest[:end]) if end else [rest]
        for document in whole:
            yield from _document(document, seen)
        cut = _last_break(head)
        seen.separators += head.count(SEPARATOR, 0, cut)
        yield head[:cut]
        rest = head[cut:] + rest[end or len(rest) :]
    for document in SEPARATED.split(rest):
        yield from _document(document, seen)


def _document(text: str, seen: Seen) -> Pieces:
    seen.separators += text.count(SEPARATOR)
    yield text
    yield None


def _last_break(text: str) -> int:
    """Where to cut so that the right side starts a token; failing that, after all letters."""
    for pattern in BREAKS:
        for start in (max(0, len(text) - 4096), 0):
            found = [m.start() for m in pattern.finditer(text, start)]
            if found:
                return found[-1]
    return len(text.rstrip())


def lines(chunks: Iterable[str], marks: Sequence[str], seen: Seen) -> Pieces:
    """Every non-blank line is a document; `marks` at its ends are removed."""
    written = (*marks, SEPARATOR)
    rest = ""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split("\n")
        for line in whole:
            yield from _line(line, written, seen)
    yield from _line(rest, written, seen)


def _line(line: str, marks: Sequence[str], seen: Seen) -> Pieces:
    line = " ".join(line.split())
    while found := next((m for m in marks if line.startswith(m) or line.endswith(m)), None):
        line = line.removeprefix(found) if line.startswith(found) else line.removesuffix(found)
        line = line.strip()
        seen.marks += found != SEPARATOR  # not counted: rows of tables end with a separator of ours
    if line:
        seen.separators += line.count(SEPARATOR)
        yield line
        yield None


# ---- prose: chapters without their headings ----

NUMERAL = re.compile(r"\n[ \t]*\n[ \t]*(?:[IVXLC]+|\d+)\.?[ \t]*(?=\n[ \t]*\n)")
SENTENCE_END = tuple(".!?:;,”’\"'—-…)_*")


def without_heads(pieces: Pieces) -> Pieces:
    """Drop titles and chapter headings at a document's start, and section numbers anywhere.

    A heading is a paragraph of up to 100 characters that does not end like a sentence; a number
    alone always is one. "XIV\\n\\nThe Return\\n\\nIt was late." -> "It was late."
    """
    at_start = True
    for piece in pieces:
        if piece is None:
            at_start = True
            yield None
            continue
        yield _from_first_sentence(piece) if at_start else NUMERAL.sub("", piece)
        at_start = False


def _from_first_sentence(text: str) -> str:
    paragraphs = re.split(r"\n[ \t]*\n", NUMERAL.sub("", "\n\n" + text).strip())
    for i, paragraph in enumerate(paragraphs):
        paragraph = paragraph.strip()
        if len(paragraph) > 100 or paragraph.endswith(SENTENCE_END):
            if not re.fullmatch(r"(?:chapter )?(?:[ivxlc]+|\d+)[.:]?", paragraph, re.IGNORECASE):
                return "\n\n".join(paragraphs[i:])
    return ""
