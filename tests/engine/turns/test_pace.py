"""Prompts take in a turn what those who write can bear."""

import pytest

from app.engine.turns.pace import CROWD_SHARE, LEAST, LONGEST, STALL_S, Pace


def learned(seconds, *rounds, longest=LONGEST):
    """What a machine teaches that takes seconds(n) for a turn of n tokens, slow at first."""
    pace = Pace(longest)
    for n_writing, n_running in rounds:
        for turn in range(60):
            n_tokens = n_writing
            if turn % 3 or not n_writing:
                n_tokens += pace.budget(n_writing, n_running)
            pace.note(n_tokens, (10 if turn < 2 else 1) * seconds(n_tokens))
    return pace


@pytest.mark.parametrize("token_s", [0.0002, 0.0005, 0.001])
def test_a_few_who_write_wait_so_much_longer_whatever_the_machine(token_s):
    pace = learned(lambda n: 0.01 + n * token_s, (0, 1), (2, 3))
    assert pace.budget(2, 3) * token_s == pytest.approx(STALL_S, abs=LEAST * token_s)


def test_many_wait_in_proportion_to_what_they_wait_anyway():
    pace = learned(lambda n: 0.01 + n * 0.001, (16, 17))
    assert pace.budget(16, 17) * 0.001 == pytest.approx(CROWD_SHARE * 0.026, rel=0.3)
    assert pace.budget(2, 3) < pace.budget(16, 17) < pace.budget(0, 1)


def test_few_who_write_wait_longer_where_many_have_yet_to_be_read():
    pace = learned(lambda n: 0.01 + n * 0.001, (16, 17), (2, 3))
    assert pace.budget(2, 3) < pace.budget(2, 17) <= pace.budget(0, 17)


@pytest.mark.parametrize("longest", [LONGEST, 4096])
def test_a_fast_machine_reads_so_much_and_no_more(longest):
    assert learned(lambda n: 0.001 + n * 1e-6, (0, 1), longest=longest).budget(0, 1) == longest


def test_nothing_is_taken_for_granted_of_a_machine_that_has_shown_nothing():
    assert Pace(4096).budget(0, 1) == LONGEST


def test_the_slowest_machine_still_reads():
    assert learned(lambda n: 0.5 + n * 0.1, (1, 2)).budget(1, 2) == LEAST


def test_who_writes_may_change_while_prompts_keep_coming():
    def seconds(n):
        return 0.01 + n * 0.0003

    pace = learned(seconds, (1, 2), (31, 32), (1, 2), (8, 9))
    added = seconds(8 + pace.budget(8, 9)) - seconds(8)
    assert added == pytest.approx(max(STALL_S, CROWD_SHARE * seconds(8)), rel=0.3)


def test_after_long_turns_alone_a_writer_is_first_seen_writing():
    pace = Pace()
    pace.note(512, 1.0)
    assert pace.budget(1, 2) == 0
    pace.note(1, 0.01)
    assert pace.budget(1, 2) == LEAST


def test_one_turn_that_was_held_up_is_soon_forgotten():
    def seconds(n):
        return 0.01 + n * 0.0005

    pace = learned(seconds, (2, 3))
    before = pace.budget(2, 3)
    pace.note(2 + before, 5.0)
    for _ in range(5):
        n_tokens = 2 + pace.budget(2, 3)
        pace.note(n_tokens, seconds(n_tokens))
    assert pace.budget(2, 3) >= before - LEAST
