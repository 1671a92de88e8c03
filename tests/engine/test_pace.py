"""Prompts take in a turn what those who write can bear."""

import pytest

from app.engine.cache import PAGE
from app.engine.pace import BUSY_S, LONGEST, SHARE, Pace


def learned(turn_s, token_s, n_writing):
    """What a machine of this speed teaches, whose first turns are slow."""
    pace = Pace()
    for n in range(60):
        slowly = 10 if n < 2 else 1
        pace.note(n_writing, 0, slowly * turn_s)
        n_prompt = pace.budget(n_writing)
        pace.note(n_writing, n_prompt, slowly * (turn_s + n_prompt * token_s))
    return pace


@pytest.mark.parametrize("token_s", [0.0001, 0.0005, 0.002])
def test_a_few_who_write_wait_so_much_longer_whatever_the_machine(token_s):
    pace = learned(turn_s=0.01, token_s=token_s, n_writing=2)
    assert pace.budget(2) * token_s == pytest.approx(BUSY_S, rel=0.15)


def test_many_wait_in_proportion_to_what_they_wait_anyway():
    pace = learned(turn_s=0.05, token_s=0.001, n_writing=16)
    assert pace.budget(16) * 0.001 == pytest.approx(SHARE * 0.05, rel=0.15)
    assert pace.budget(2) < pace.budget(16) < pace.budget(0)


def test_a_fast_machine_reads_so_much_and_no_more():
    assert learned(turn_s=0.001, token_s=1e-6, n_writing=1).budget(0) == LONGEST


def test_the_slowest_machine_still_reads():
    assert 0 < learned(turn_s=0.5, token_s=0.1, n_writing=1).budget(1) < PAGE


def test_who_writes_may_change_while_prompts_keep_coming():
    """Turns without prompts are taken now and then, or nothing would tell what writing takes."""
    turn_s = {1: 0.01, 31: 0.058, 8: 0.021}
    pace = Pace()
    for n_writing in (1, 31, 1, 8):
        for _ in range(150):
            n_prompt = pace.budget(n_writing)
            pace.note(n_writing, n_prompt, turn_s[n_writing] + n_prompt * 0.0003)
        wanted = max(BUSY_S, SHARE * turn_s[n_writing]) if n_writing >= 8 else BUSY_S
        pace.note(n_writing, 0, turn_s[n_writing])
        assert pace.budget(n_writing) * 0.0003 == pytest.approx(wanted, rel=0.2)


def test_one_turn_that_was_held_up_changes_little():
    pace = learned(turn_s=0.01, token_s=0.0005, n_writing=2)
    before = pace.budget(2)
    pace.note(2, before, 5.0)
    assert pace.budget(2) > 0.75 * before
