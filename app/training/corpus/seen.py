"""What is noticed while texts are read, and how it is told. Knows no file format."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Seen:
    """Of one file; filled in as its text is read."""

    encoding: str = ""  # "" where the format has only one
    replaced: int = 0  # places that are no text in this encoding, now U+FFFD
    is_table: bool = False
    marks: int = 0  # own marks, such as <BOS>, that stood written at the ends of lines
    separators: int = 0  # <|endoftext|> inside a line, learned as the letters it is spelled with

    def facts(self) -> dict[str, Any]:
        """Whatever is worth keeping in corpus.json."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


USUAL = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


def notices(files: Sequence[dict[str, Any]], rules: dict[str, Any]) -> Iterator[str]:
    """A sentence for each thing that a user may want to mend."""
    if marks := _sum(files, "marks"):
        yield (
            f"{marks:,} marks ({rules['bos']}, {rules['eos']}) stood at the ends of lines already; "
            "they are taken as the marks themselves."
        )
    if separators := _sum(files, "separators"):
        yield (
            f"<|endoftext|> stands {separators:,} times inside a line and is learned as plain "
            "letters there; at the end of a line it separates two texts."
        )
    if replaced := _sum(files, "replaced"):
        some = _names(file for file in files if file.get("replaced"))
        yield (
            f"{replaced:,} places in {some} are no text in the encoding they were read in; name "
            "the right one with --encoding."
        )
    guessed = [f for f in files if f.get("encoding") and f["encoding"] not in USUAL]
    if guessed and not rules.get("encoding"):
        kinds = ", ".join(sorted({file["encoding"] for file in guessed}))
        yield f"Read as {kinds}: {_names(guessed)}. If that is wrong, name it with --encoding."
    if repeated := _sum(files, "repeated"):
        yield f"{repeated:,} documents of --validation or --test are in the training text too."


def _sum(files: Sequence[dict[str, Any]], fact: str) -> int:
    return sum(file.get(fact, 0) for file in files)


def _names(files: Iterable[dict[str, Any]]) -> str:
    names = [file["name"].rpartition("/")[2] for file in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
