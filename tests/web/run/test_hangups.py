import contextlib
import socket
import threading

import pytest

from app.web.run.hangups import Hangups


@pytest.fixture
def hangups():
    return Hangups()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_peer_who_closes_is_told_of_behind_unread_bytes_too(hangups, pair):
    ours, theirs = pair
    gone = threading.Event()
    hangups.watch(ours, gone.set)
    theirs.sendall(b"more to come")
    theirs.close()
    assert gone.wait(10)


def test_all_who_watch_a_peer_are_told_but_those_who_stopped(hangups, pair):
    ours, theirs = pair
    events = [threading.Event() for _ in range(3)]
    forget = [hangups.watch(ours, event.set) for event in events]
    forget[1]()
    forget[1]()  # any number of times
    theirs.close()
    assert events[0].wait(10) and events[2].wait(10)
    assert not events[1].is_set()


def test_a_number_that_became_anothers_is_not_mistaken(hangups):
    first, other = socket.socketpair()
    number = first.fileno()
    hangups.watch(first, lambda: None)()  # watched and forgotten
    first.close()
    other.close()
    gone = threading.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert number in (ours.fileno(), theirs.fileno())
        forget = hangups.watch(ours, gone.set)
        assert not gone.wait(0.05)
        forget()


def test_an_end_that_takes_long_or_fails_holds_up_no_other(hangups):
    """One thread told everybody: it waited for the engine each time, and died of its errors."""
    release, gone = threading.Event(), threading.Event()

    def fail():
        raise RuntimeError("The engine does not answer.")

    with contextlib.ExitStack() as stack:
        stack.callback(release.set)
        for tell in (release.wait, fail, gone.set):
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            hangups.watch(ours, tell)
            theirs.close()
        assert gone.wait(10)


def test_one_who_hung_up_before_is_told_of_at_once(hangups, pair):
    ours, theirs = pair
    theirs.close()
    gone = threading.Event()
    hangups.watch(ours, gone.set)
    assert gone.wait(10)
