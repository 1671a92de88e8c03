"""The numbers of a run on disk, and what a crash leaves of them."""

import csv

from app.training.run.metrics import Metrics, Row, read


def test_resuming_drops_a_cut_line_and_the_rows_of_steps_that_were_lost(tmp_path):
    kept, lost = Row(1, 64, 0.5, loss=3.5), Row(2, 128, 1.0, validation_loss=3.25)
    metrics = Metrics(tmp_path, 0)
    for row in (kept, lost):
        metrics.add(row)
    metrics.close()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step":3,"tok')
    assert read(tmp_path) == [kept, lost]
    Metrics(tmp_path, 1).close()
    assert read(tmp_path) == [kept]


def test_the_table_has_the_numbers_and_leaves_empty_what_a_row_has_not(tmp_path):
    metrics = Metrics(tmp_path, 0)
    metrics.add(Row(4, 256, 2.0, copied=0.25, longest_copy=9, longest="the cat\u2028"))
    metrics.close()
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["step"], row["tokens"], row["loss"]) == ("4", "256", "") and "longest" not in row
    assert read(tmp_path)[0].longest == "the cat\u2028"
