import threading

from app.engine.completion import Completion, Finished, Queued, Timings, Usage

QUEUED = Queued(ahead=1, wait_s=0.5)
FINISHED = Finished(Usage(1, 1, 0), Timings(0, 0, 0, 0))


def make(cancel=lambda: None):
    return Completion("c1", cancel)


def test_iterating_ends_after_the_last_event():
    completion = make()
    for event in (QUEUED, FINISHED):
        completion.put(event)
    assert list(completion) == [QUEUED, FINISHED]
    assert completion.next() is None


def test_waiting_with_a_timeout_gives_none_and_loses_nothing():
    completion = make()
    assert completion.next(timeout=0.001) is None
    completion.put(QUEUED)
    assert completion.unread == 1
    assert completion.next(timeout=0.001) == QUEUED


def test_cancel_reaches_whoever_runs_it():
    cancelled = threading.Event()
    make(cancelled.set).cancel()
    assert cancelled.is_set()
