"""A prepared folder: token files to train, validate and test with.

train.tokens  validation.tokens  test.tokens   documents, each after <|endoftext|>
tokenizer.json                                 the vocabulary they are in
corpus.json                                    what was read, by which rules, and what was wrong
"""

import codecs
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app.gpt2 import Tokenizer, whole_folder
from app.training.corpus import documents, split
from app.training.corpus.seen import Seen
from app.training.corpus.tokens import TokenFile
from app.training.errors import TrainingError

REPORT = "corpus.json"


@dataclass(frozen=True)
class Rules:
    """How text becomes documents and tokens."""

    shares: tuple[float, float, float] = (70.0, 20.0, 10.0)  # to train, validate and test
    line_by_line: bool = False  # a document is a line between marks
    bos: str = "<BOS>"
    eos: str = "<EOS>"
    pad: str = "<PAD>"
    column: str | None = None  # of tables, or the field of .jsonl
    encoding: str | None = None  # None: detected for each file
    prose: bool = False  # leave out titles and chapter headings
    new_vocabulary: int | None = None  # tokens in a vocabulary trained on this corpus

    def __post_init__(self) -> None:
        if not (self.bos and self.eos and self.pad):
            raise TrainingError(
                "--bos, --eos and --pad must not be empty; give words such as <BOS>."
            )
        if self.prose and self.line_by_line:
            raise TrainingError("--prose is for chapters; leave it out with --line-by-line.")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise TrainingError(
                    f"--encoding is {self.encoding!r}; name one such as utf-8, cp1252 or big5."
                ) from None

    @property
    def marks(self) -> tuple[str, str] | None:
        """What each line begins and ends with; None unless line_by_line."""
        return (self.bos, self.eos) if self.line_by_line else None

    @property
    def specials(self) -> list[str]:
        return [self.bos, self.eos, self.pad] if self.line_by_line else []


class Report(msgspec.Struct, frozen=True):
    """corpus.json."""

    key: str  # what the tokens depend on, as one hash
    files: list[Seen]
    rules: Rules


@dataclass(frozen=True)
class Corpus:
    """A prepared folder, opened."""

    folder: Path
    train: TokenFile
    validation: TokenFile
    test: TokenFile
    tokenizer: Tokenizer
    report: Report

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        train, validation, test = (TokenFile(folder / f"{part}.tokens") for part in split.PARTS)
        tokenizer = Tokenizer.beside(folder)
        if tokenizer is None:
            raise TrainingError(
                f"{folder} has no tokenizer.json any more; prepare the corpus again."
            )
        try:
            report = msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
        except msgspec.ValidationError:
            message = f"{folder} was made by another version; prepare the corpus again."
            raise TrainingError(message) from None
        return cls(folder, train, validation, test, tokenizer, report)

    @property
    def key(self) -> str:
        """The same wherever the folder is."""
        return self.report.key

    @property
    def line_by_line(self) -> bool:
        return self.report.rules.line_by_line

    def copy(self, folder: Path) -> Path:
        """Copy its files into a new folder, unless the same corpus is there already."""
        if is_prepared(folder) and Corpus.open(folder).key == self.key:
            return folder
        with whole_folder(folder) as temporary:
            shutil.copytree(self.folder, temporary, dirs_exist_ok=True)
        return folder

    @property
    def begin(self) -> int:
        """The token before the first of a text."""
        return self._mark("bos")

    @property
    def end(self) -> int:
        return self._mark("eos")

    @property
    def pad(self) -> int:
        return self._mark("pad")

    def _mark(self, name: str) -> int:
        mark = getattr(self.report.rules, name) if self.line_by_line else documents.SEPARATOR
        return self.tokenizer.specials[mark]


def is_prepared(folder: Path) -> bool:
    return (folder / REPORT).is_file() and (folder / "train.tokens").is_file()
