"""The page and the picture."""

import re

import pytest

from app.training.report.chart import Line, line_chart, thinned, ticks
from app.training.report.copying import Copied


def test_the_report_is_one_page_that_needs_no_network(begin):
    _, run = begin(steps=20)
    page = (run.result / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=|@import|url\(|https?://""", page)
    assert page.count("<svg") >= 4
    for word in ("bits per byte", "The plan, and what came of it", "What it writes",
                 "What it copies", "story00.txt"):  # fmt: skip
        assert word in page
    assert (run.folder / "report.html").read_text(encoding="utf-8") == page


def test_what_the_model_writes_cannot_write_the_page(begin, monkeypatch):
    monkeypatch.setattr("app.gpt2.Tokenizer.decode", lambda self, ids: "<script>x</script>")
    _, run = begin(steps=4)
    page = (run.result / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page


def test_what_was_not_copied_is_no_table_of_zeros(begin, monkeypatch):
    copies = iter([Copied(0.0, ""), Copied(0.25, "the cat sat")])
    monkeypatch.setattr("app.training.report.recorder.copied", lambda *_: next(copies))
    _, run = begin(steps=1)
    page = (run.result / "report.html").read_text(encoding="utf-8")
    assert "no eight tokens in a row" in page and "Longest passage copied" not in page
    begin(steps=2)
    page = (run.result / "report.html").read_text(encoding="utf-8")
    assert "no eight tokens in a row" not in page and "the cat sat" in page


def test_a_rising_validation_is_said(begin):
    _, run = begin(learning_rate=0.0, steps=12)
    page = (run.result / "report.html").read_text(encoding="utf-8")
    assert "getting worse since step 4" in page


@pytest.mark.parametrize(
    "values, about, expected",
    [
        ([0, 10], 5, [0, 2, 4, 6, 8, 10]),
        ([1.51, 1.98], 5, [1.5, 1.6, 1.7, 1.8, 1.9, 2.0]),
        ([3, 3], 4, [3, 3.5]),
        ([0, 0], 4, [0, 1]),
        ([0, 9000], 6, [0, 2000, 4000, 6000, 8000, 10000]),
    ],
)
def test_ticks_are_round_and_around_the_values(values, about, expected):
    found = ticks(values, about)
    assert found == pytest.approx(expected)
    assert found[0] <= min(values) and found[-1] >= max(values)


def test_long_lines_are_thinned_to_pixels():
    points = [(n, n % 7) for n in range(10_000)]
    assert len(thinned(points, 800)) <= 800
    assert thinned(points[:10], 800) == points[:10]


def test_a_chart_says_its_numbers_in_words():
    picture = line_chart([Line("validation", [(0, 4.0), (10, 3.0)])], 400, 200, mark=(10, 3.0))
    assert 'aria-label="validation from 4 to 3"' in picture and "3.000" in picture
