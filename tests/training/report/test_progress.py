"""What moves on a terminal, and what is said elsewhere."""

import os

import pytest

from app.training.report.progress import CLEAR, Progress


@pytest.fixture
def shown(monkeypatch, capsys):
    """What a run shows on a terminal so many columns wide."""

    def shown(columns, quiet=False):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        size = os.terminal_size((columns, 24))
        monkeypatch.setattr("shutil.get_terminal_size", lambda: size)
        progress = Progress(12_000, (lambda line: None) if quiet else print, quiet)
        progress.step(6_000, 3.14159, 12_345, 4000)
        progress.say("half done")
        progress.close()
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("columns, has_bar", [(120, True), (80, True), (40, False)])
def test_the_moving_line_fits_the_terminal_and_gives_way(shown, columns, has_bar):
    moving, *others = shown(columns).split("half done")
    assert moving.startswith(CLEAR) and moving.endswith(CLEAR)
    line = moving.removeprefix(CLEAR).removesuffix(CLEAR)
    assert len(line) < columns and ("█" in line) == has_bar and "step 6,000/12,000" in line
    assert others == ["\n"]


def test_quiet_is_quiet_on_a_terminal_too(shown):
    assert shown(80, quiet=True) == ""


def test_elsewhere_it_is_plain_lines(capsys):
    told = []
    progress = Progress(10, told.append, False)
    progress.step(5, 3.0, 100, 4)
    progress.close()
    assert told == ["step 5/10  loss 3.0000  100 tokens/s  4.0 s left"]
