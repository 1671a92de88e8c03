import pytest

from app.engine.turns.estimate import Need, Speed, starts

FREE = {"rows": 2, "pages": 20}


@pytest.mark.parametrize(
    "running, waiting, free, expected",
    [
        ([], [Need(9, 1, 5)], FREE, [0]),
        ([Need(99, 1, 5)], [Need(9, 1, 5), Need(9, 1, 5)], FREE, [0, 0]),
        ([Need(99, 1, 5)], [Need(9, 1, 5)], {"rows": 0, "pages": 20}, [99]),
        ([Need(3, 1, 5), Need(7, 1, 5)], [Need(1, 2, 5)], {"rows": 0, "pages": 9}, [7]),
        ([Need(3, 1, 5)], [Need(4, 1, 5), Need(4, 1, 5)], {"rows": 0, "pages": 0}, [3, 7]),
        ([Need(3, 1, 30)], [Need(4, 1, 25)], FREE, [3]),
    ],
    ids=[
        "nobody there",
        "a long text leaves room for others",
        "no row is free",
        "two rows are wanted",
        "one after the other",
        "too few pages are free",
    ],
)
def test_who_waits_starts_when_enough_is_free(running, waiting, free, expected):
    assert starts(running, waiting, **free) == expected


def test_what_texts_may_become_is_not_what_they_become():
    """Whoever asked for 4,096 tokens was counted with all of them: minutes, though texts end."""
    speed = Speed()
    for _ in range(100):
        speed.note_length(20)
    assert speed.tokens_left(0, max_tokens=4096) == pytest.approx(20, abs=3)
    assert speed.tokens_left(4090, max_tokens=4096) == 6
    assert speed.tokens_left(0, max_tokens=None) == pytest.approx(20, abs=3)
