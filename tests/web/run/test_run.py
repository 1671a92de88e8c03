import json
import threading

from app.engine import Params
from app.web import SharedStopping
from app.web.run.lists import collect
from app.web.run.run import start


def first(pieces, wanted):
    """Pieces of a response up to the first that holds `wanted`."""
    taken = b""
    for piece in pieces:
        taken += piece
        if wanted in taken:
            return taken
    raise AssertionError(f"{wanted!r} never came: {taken!r}")


def ask(client, **fields):
    return client.post("/generate", json={"prompt": "x", "stream": True} | fields, buffered=False)


def test_those_who_wait_are_told_how_many_are_before_them(client, engine):
    engine.begin.clear()
    reply = ask(client, max_tokens=1)
    pieces = iter(reply.response)
    assert b'event: queue\ndata: {"ahead":1,"wait_ms":500}' in first(pieces, b"wait_ms")
    engine.begin.set()
    first(pieces, b"event: done")
    reply.close()


def test_silence_is_filled_with_comments(make_client, engine):
    engine.begin.clear()
    reply = ask(make_client(ping=0.05))
    pieces = iter(reply.response)
    first(pieces, b"event: queue")
    assert next(pieces) == next(pieces) == b": still here\n\n"
    reply.close()


def test_a_closed_response_ends_its_request_though_never_read(client, engine):
    engine.step.clear()
    ask(client).close()
    (completion,) = engine.completions.values()
    assert list(completion)  # ends, as it was cancelled
    assert engine.cancelled == [completion.id]


def test_what_was_made_for_nobody_is_counted(client, engine):
    reply = ask(client, max_tokens=50)
    first(reply.response, b"event: token")
    (completion,) = engine.completions.values()
    assert engine.written.acquire(timeout=30)  # the rest arrives though nobody reads it
    reply.close()
    text = client.get("/metrics").text
    assert 'continuo_cancelled_total{by="disconnect",phase="decode"} 1.0' in text
    assert "continuo_tokens_wasted_total 0.0" not in text


def test_a_server_that_closes_ends_streams_with_an_error(client, engine):
    stopping = client.application.extensions["continuo"].stopping = SharedStopping()
    reply = ask(client, max_tokens=None)
    first(reply.response, b"event: token")
    stopping.close()
    assert b'"type":"engine_stopped"' in first(reply.response, b"event: error")
    assert list(reply.response) == []
    assert client.post("/generate", json={"prompt": "x"}, buffered=True).status_code == 503
    reply.close()
    assert stopping.running == 0


def test_a_list_that_fails_in_the_middle_leaves_nothing_running(client, engine):
    engine.fails_after = 1
    assert client.post("/generate", json={"prompt": ["a", "b", "c"]}).status_code == 500
    for completion in engine.completions.values():
        assert list(completion) is not None
    assert engine.stats().running == 0


def test_dialects_need_no_more_than_start_and_collect(client, engine):
    with client.application.test_request_context("/"):
        run = collect(start([1, 2, 3], Params(max_tokens=3), "other"))
    assert (run.text, run.model, run.choices[0].reason) == (" la", "other", "length")
    assert run.usage.prompt_tokens == 3


def test_one_cancelled_in_the_queue_never_started_and_says_so(client, engine):
    engine.begin.clear()
    reply = ask(client)
    pieces = iter(reply.response)
    first(pieces, b"event: queue")
    (id,) = list(engine.completions)
    assert client.delete(f"/generate/{id}").status_code == 200
    done = json.loads(first(pieces, b"event: done").split(b"data: ")[-1])
    assert done["finish_reason"] == "cancelled" and done["seed"] is None
    assert done["usage"]["completion_tokens"] == 0
    reply.close()


def test_a_generation_is_cancelled_by_its_id_from_another_request(client, engine):
    engine.step.clear()
    said = []
    asking = threading.Thread(
        target=lambda: said.append(client.post("/generate", json={"prompt": "x"}).json)
    )
    asking.start()
    id = engine.submitted.get(timeout=30)
    assert client.delete(f"/generate/{id}").status_code == 200
    asking.join()
    assert said[0]["finish_reason"] == "cancelled"
