import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from app.engine import (
    Ended,
    EngineBusy,
    EngineError,
    EngineStopped,
    Failed,
    Finished,
    Params,
    Token,
    Tokenized,
    UnknownModel,
)
from app.engine.process import launch, link
from tests.engine.conftest import find_engines, run_in_fork, wait_for_end, wait_for_engine
from tests.waiting import wait_until

PARAMS = Params()


def tokens(events):
    return [event.id for event in events if isinstance(event, Token)]


def test_a_client_needs_no_torch():
    code = "import sys, app.engine.process.client; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "app.engine.process.link" in modules
    assert not {"torch", "transformers", "numpy"} & set(modules)


def test_events_arrive_whole_and_in_order(client):
    *events, ended, finished = client.submit("count 500", PARAMS)
    assert tokens(events) == list(range(500))
    assert ended == Ended(0, "length") and finished.usage.completion_tokens == 500


def test_a_long_prompt_takes_another_way_to_the_same_end(client):
    *events, _, _ = client.submit("count 3".ljust(100_000), PARAMS)
    assert tokens(events) == [0, 1, 2]


def test_calls_answer_with_their_types(client):
    assert client.tokenize("hé") == Tokenized([104, 233], [(0, 1), (1, 2)])
    assert client.stats().running == 0


def test_many_threads_ask_at_once_and_each_gets_its_own(client):
    found = {}

    def read(n):
        found[n] = tokens(client.submit(f"count {n}", PARAMS))

    threads = [threading.Thread(target=read, args=(n,)) for n in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: list(range(n)) for n in range(1, 33)}


def test_refusals_keep_their_class_and_fields(client):
    with pytest.raises(EngineBusy, match="The queue is full.") as busy:
        client.submit("busy", PARAMS)
    assert (busy.value.retry_after, busy.value.ahead) == (2.5, 7)
    with pytest.raises(UnknownModel, match="There is no model other."):
        client.submit("count 1", PARAMS, model="other")


def test_a_bug_in_one_request_fails_that_request_alone(client):
    neighbour = client.submit("count 50", PARAMS)
    with pytest.raises(EngineError, match="a bug"):
        client.submit("bug", PARAMS)
    assert tokens(neighbour) == list(range(50))


def test_cancel_ends_the_events(client):
    completion = client.submit("count", PARAMS)
    completion.next()
    completion.cancel()
    *_, ended, finished = completion
    assert ended == Ended(0, "cancelled") and isinstance(finished, Finished)
    assert client.stats().running == 0


def test_a_long_prompt_that_is_still_being_read_can_be_cancelled(client):
    told = []
    thread = threading.Thread(
        target=lambda: told.extend(client.submit("nap".ljust(2000), PARAMS, id="mine"))
    )
    thread.start()
    wait_until(lambda: client.cancel("mine"))
    thread.join()
    assert told[-2].reason == "cancelled"


def test_cancel_by_id_reaches_another_process(client):
    completion = client.submit("count", PARAMS, id="known")
    assert run_in_fork(lambda: client.cancel("known"))
    *_, ended, _ = completion
    assert ended.reason == "cancelled"
    assert client.cancel("known") is False


def test_a_fork_gets_a_link_of_its_own(client):
    completion = client.submit("count", PARAMS)
    completion.next()
    for _ in range(2):
        assert run_in_fork(lambda: tokens(client.submit("count 3", PARAMS)) == [0, 1, 2])
    assert completion.next().id == 1


def test_a_reader_who_stops_reading_is_cut_and_others_are_not(client):
    slow, other = client.submit("flood", PARAMS), client.submit("count", PARAMS)
    while client.stats().running == 2:
        other.next()
    *read, failed = slow
    assert tokens(read) == list(range(20_000)) and failed.kind == "reader_too_slow"
    assert isinstance(other.next(), Token)


def test_a_killed_engine_fails_every_reader_and_comes_back(client, tmp_path):
    readers = [client.submit("count", PARAMS) for _ in range(16)]
    engine = wait_for_engine(tmp_path)
    os.kill(engine, signal.SIGKILL)
    for reader in readers:
        *_, last = reader
        assert isinstance(last, Failed) and last.kind == "engine_stopped"
    assert tokens(client.submit("count 3", PARAMS)) == [0, 1, 2]
    assert wait_for_engine(tmp_path)
    with pytest.raises(ChildProcessError):  # it was nobody's child, and so is nobody's zombie
        os.waitpid(engine, os.WNOHANG)


def test_an_engine_told_to_end_with_everybody_waits_for_its_server(client, tmp_path):
    reader = client.submit("count", PARAMS)
    engine = wait_for_engine(tmp_path)
    os.kill(engine, signal.SIGTERM)
    for _ in range(100):
        assert isinstance(reader.next(), Token)


def test_an_engine_whose_thread_dies_is_started_again(client):
    reader = client.submit("count", PARAMS)
    with contextlib.suppress(EngineStopped):
        [*client.submit("break", PARAMS)]  # to its end: it may be asked of the next engine too
    assert [*reader][-1].kind == "engine_stopped"
    assert tokens(client.submit("count 3", PARAMS)) == [0, 1, 2]


def test_a_request_that_was_not_taken_on_yet_asks_the_next_engine(client, tmp_path):
    client.stats()
    engine = wait_for_engine(tmp_path)
    os.kill(engine, signal.SIGSTOP)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.submit("count 3", PARAMS)))
    thread.start()
    os.kill(engine, signal.SIGKILL)
    thread.join()
    assert tokens(answers[0]) == [0, 1, 2]


def test_an_engine_that_dies_again_and_again_is_given_up_with_a_sentence(connect_fake, tmp_path):
    client = connect_fake("crash")
    with pytest.raises(EngineStopped, match="keeps stopping"):
        client.submit("count", PARAMS)
    assert client.state().name == "failed"
    assert find_engines(tmp_path) == []


def test_a_model_that_cannot_be_opened_is_not_tried_again(connect_fake):
    client = connect_fake("missing")
    with pytest.raises(EngineStopped, match="models/missing is not there."):
        client.tokenize("")
    assert client.state().name == "failed" and "models/missing" in client.state().message


def test_the_reason_of_one_that_ends_again_and_again_is_told(connect_fake):
    client = connect_fake("large")
    with pytest.raises(EngineStopped, match="keeps stopping: .* The device is out of memory."):
        client.submit("count", PARAMS)


def test_a_model_that_was_away_is_served_once_it_is_back(connect_fake, tmp_path, monkeypatch):
    """The server went on without an engine, however long one waited."""
    for module in (link, launch):
        monkeypatch.setattr(module, "AGAIN_S", 0.1)
    client = connect_fake(str(tmp_path / "missing"))
    with pytest.raises(EngineStopped, match="models/missing is not there."):
        client.tokenize("")
    (tmp_path / "missing").touch()
    wait_until(lambda: client.state().name == "ready")
    assert tokens(client.submit("count 2", PARAMS)) == [0, 1]


def test_requests_wait_for_an_engine_that_loads(connect_fake):
    assert tokens(connect_fake().submit("count 2", PARAMS)) == [0, 1]


def test_closing_lets_running_texts_end_within_grace(client, tmp_path):
    short, endless = client.submit("count 100", PARAMS), client.submit("count", PARAMS)
    engine = wait_for_engine(tmp_path)
    client.close(grace=0.5)
    assert isinstance([*short][-1], Finished)
    assert [*endless][-1].kind == "engine_stopped"
    assert wait_for_end(engine)
    with pytest.raises(EngineStopped, match="closed"):
        client.submit("count", PARAMS)


def test_nothing_is_left_open(client, tmp_path):
    def count_open():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = count_open()
    for n in range(60):
        completion = client.submit(f"count {n % 5}", PARAMS)
        if n % 3 == 0:
            completion.cancel()
        else:
            list(completion)
    client.close()
    assert count_open() == before
    assert [*tmp_path.glob("continuo-*/*")] == []


def test_text_that_is_no_text_fails_at_its_caller_alone(client):
    with pytest.raises(UnicodeEncodeError):
        client.submit("count \ud800", PARAMS)
    assert client.stats().running == 0


def test_silence_of_the_engine_is_noticed(client, tmp_path, monkeypatch):
    client.stats()
    monkeypatch.setattr(link, "ANSWER_S", 0.1)
    engine = wait_for_engine(tmp_path)
    os.kill(engine, signal.SIGSTOP)
    with pytest.raises(EngineStopped, match="does not answer"):
        client.stats()
    os.kill(engine, signal.SIGCONT)


def test_a_turn_that_does_not_end_is_told_to_its_readers(client, monkeypatch):
    """The engine's process still answered, so they heard nothing until the turn ended."""
    monkeypatch.setattr(link, "BEAT_S", 0.1)
    monkeypatch.setattr(link, "SILENT_S", 1.0)
    reader = client.submit("count", PARAMS)
    reader.next()
    client.submit("stall", PARAMS)
    *_, failed = reader
    assert failed.kind == "engine_stopped" and "hangs" in failed.message
    wait_until(lambda: client.state().name == "ready")
    wait_until(lambda: not client.stats().running)


def test_a_request_that_is_taken_on_too_late_writes_for_nobody(client, monkeypatch):
    client.stats()
    with monkeypatch.context() as hasty:
        hasty.setattr(link, "ANSWER_S", 0.05)
        with pytest.raises(EngineStopped, match="does not answer"):
            client.submit("nap", PARAMS)
    wait_until(lambda: not client.stats().running)


def test_a_frozen_engine_is_told_to_its_readers_and_writes_for_nobody_when_it_wakes(
    client, tmp_path, monkeypatch
):
    monkeypatch.setattr(link, "BEAT_S", 0.1)
    monkeypatch.setattr(link, "SILENT_S", 1.0)
    reader = client.submit("count", PARAMS)
    engine = wait_for_engine(tmp_path)
    os.kill(engine, signal.SIGSTOP)
    *_, failed = reader
    assert failed.kind == "engine_stopped" and "hangs" in failed.message
    assert client.state().name == "stuck"
    with pytest.raises(EngineStopped, match="hangs"):
        client.submit("count", PARAMS)
    os.kill(engine, signal.SIGCONT)
    wait_until(lambda: client.state().name == "ready")
    wait_until(lambda: not client.stats().running)
    assert find_engines(tmp_path) == [engine]
