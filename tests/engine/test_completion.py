import threading

from app.engine import Completion, Failed, Finished, Queued, Timings, Usage

QUEUED = Queued(ahead=1, wait_s=0.5)
FINISHED = Finished(Usage(1, 1, 0), Timings(0, 0, 0, 0))


def make(cancel=lambda: None, **kwargs):
    return Completion("c1", cancel, **kwargs)


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


def test_a_reader_who_stops_reading_is_cut_and_costs_bounded_memory():
    cancelled = []
    completion = make(lambda: cancelled.append(True), max_unread=3)
    for _ in range(10):
        completion.put(QUEUED)
    events = list(completion)
    assert [type(event) for event in events] == [Queued, Queued, Queued, Failed]
    assert events[-1].kind == "reader_too_slow"
    assert cancelled == [True]


def test_leaving_a_with_block_cancels_what_is_running():
    cancelled = []
    with make(lambda: cancelled.append(True)) as completion:
        completion.put(QUEUED)
    assert cancelled


def test_leaving_a_with_block_after_the_end_cancels_nothing():
    cancelled = []
    with make(lambda: cancelled.append(True)) as completion:
        completion.put(FINISHED)
        list(completion)
    assert not cancelled
