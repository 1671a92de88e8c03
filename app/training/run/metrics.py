"""The numbers of a run: metrics.jsonl and metrics.csv. Knows no model."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from app.gpt2 import whole_file

COLUMNS = (
    "step", "tokens", "seconds", "loss", "learning_rate", "gradient", "tokens_per_second",
    "validation_loss", "perplexity", "bits_per_byte",
)  # fmt: skip


NAME = "metrics.jsonl"


class Metrics:
    """Appends rows; on resuming, first drops the rows of steps that a crash lost."""

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / NAME
        rows = [row for row in read(run) if row["step"] <= step]
        with whole_file(self.path) as file:
            file.write_text("".join(map(_line, rows)), encoding="utf-8")
        self._jsonl = self.path.open("a", encoding="utf-8")
        self._file = (run / "metrics.csv").open("w", encoding="utf-8", newline="")
        self._csv = csv.DictWriter(self._file, COLUMNS, extrasaction="ignore")
        self._csv.writeheader()
        self._csv.writerows(rows)

    def add(self, row: dict[str, Any]) -> None:
        self._jsonl.write(_line(row))
        self._csv.writerow(row)
        self._jsonl.flush()
        self._file.flush()

    def close(self) -> None:
        self._jsonl.close()
        self._file.close()


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def read(run: Path) -> list[dict[str, Any]]:
    """Every row so far; the last line may have been cut by a crash."""
    path = run / NAME
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def copy_metrics(source: Path, target: Path) -> None:
    """The curve so far, for a run that goes on from another's."""
    if (source / NAME).is_file():
        shutil.copy2(source / NAME, target / NAME)
