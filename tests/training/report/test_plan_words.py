"""The plan in words."""

import pytest

from app.training.report.plan_words import duration


def test_positions_that_are_never_trained_are_told(begin):
    """A model trained on rows of 16 was served with a window of 32."""
    told: list[str] = []
    begin(tell=told.append, steps=2)
    assert any("only the first 16 of 32 are trained; use --window 16" in line for line in told)
    told.clear()
    begin("all", tell=told.append, steps=2, long_every=2)
    assert not any(" positions  " in line for line in told)


@pytest.mark.parametrize(
    "seconds, words", [(3.14, "3.1 s"), (59, "59 s"), (720, "12 min"), (12_000, "3 h 20 min")]
)
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words
