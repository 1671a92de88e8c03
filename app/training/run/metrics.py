"""The numbers of a run: metrics.jsonl and metrics.csv. Knows no model."""

import csv
import shutil
from pathlib import Path

import msgspec

from app.gpt2 import whole_file

NAME = "metrics.jsonl"


class Row(msgspec.Struct, omit_defaults=True):
    """A line of metrics.jsonl: where the run is, and the numbers of some steps, of a validation, or
    of samples."""

    step: int
    tokens: int
    seconds: float
    loss: float | None = None
    learning_rate: float | None = None
    gradient: float | None = None
    tokens_per_second: float | None = None
    validation_loss: float | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    copied: float | None = None  # share of the samples' tokens
    longest_copy: int | None = None  # characters
    longest: str | None = None


COLUMNS = Row.__struct_fields__[:10]  # of metrics.csv: all but what is copied


class Metrics:
    """Appends rows; on resuming, first drops the rows of steps that a crash lost."""

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / NAME
        rows = [row for row in read(run) if row.step <= step]
        with whole_file(self.path) as file:
            file.write_bytes(b"".join(map(_line, rows)))
        self._jsonl = self.path.open("ab")
        self._file = (run / "metrics.csv").open("w", encoding="utf-8", newline="")
        self._csv = csv.DictWriter(self._file, COLUMNS, extrasaction="ignore")
        self._csv.writeheader()
        self._csv.writerows(map(msgspec.structs.asdict, rows))

    def add(self, row: Row) -> None:
        self._jsonl.write(_line(row))
        self._csv.writerow(msgspec.structs.asdict(row))
        self._jsonl.flush()
        self._file.flush()

    def close(self) -> None:
        self._jsonl.close()
        self._file.close()


def _line(row: Row) -> bytes:
    return msgspec.json.encode(row) + b"\n"


def read(run: Path) -> list[Row]:
    """Every row so far; the last line may have been cut by a crash."""
    path = run / NAME
    rows = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            rows.append(msgspec.json.decode(line, type=Row))
        except ValueError:
            break
    return rows


def copy_metrics(source: Path, target: Path) -> None:
    """The curve so far, for a run that goes on from another's."""
    if (source / NAME).is_file():
        shutil.copy2(source / NAME, target / NAME)
