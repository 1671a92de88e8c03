"""What is noticed while texts are read, and the notices about it. Knows no file format."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec


class Seen(msgspec.Struct, omit_defaults=True):
    """What one file holds, filled in as it is read; its row in corpus.json."""

    name: str = ""
    part: str | None = None  # None: split by the shares
    skipped: str | None = None  # why, as the end of a sentence
    tokens: int = 0
    bytes: int = 0
    documents: int = 0
    repeated: int = 0  # in the first file's row: documents of a part that are in the texts too
    encoding: str = ""  # "" where the format has only one
    replaced: int = 0  # places that this encoding cannot decode, now U+FFFD
    is_table: bool = False
    marks: int = 0  # marks such as <BOS> that were already at the ends of lines
    separators: int = 0  # <|endoftext|> inside lines, where it is learned letter by letter


USUAL = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


def notices(files: Sequence[Seen], marks: Sequence[str], encoding: str | None) -> Iterator[str]:
    """A sentence for everything that a user may want to fix, right for one and for many."""
    if n_marks := sum(file.marks for file in files):
        yield (
            f"The ends of lines already had {', '.join(marks)}, {n_marks:,} in all; "
            "they are used as the marks themselves."
        )
    if separators := sum(file.separators for file in files):
        yield (
            f"<|endoftext|> occurs inside a line, {separators:,} in all, and is learned as plain "
            "letters there; at the end of a line it separates two texts."
        )
    if replaced := sum(file.replaced for file in files):
        some = _names(file for file in files if file.replaced)
        yield (
            f"Places that could not be decoded: {replaced:,}, in {some}; name the right encoding "
            "with --encoding."
        )
    guessed = [file for file in files if file.encoding and file.encoding not in USUAL]
    if guessed and encoding is None:
        kinds = ", ".join(sorted({file.encoding for file in guessed}))
        yield f"Read as {kinds}: {_names(guessed)}. If that is wrong, set --encoding."
    if repeated := sum(file.repeated for file in files):
        yield (
            "Some of the documents of --validation or --test are in the training text too: "
            f"{repeated:,} in all."
        )


def _names(files: Iterable[Seen]) -> str:
    names = [file.name.rpartition("/")[2] for file in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
