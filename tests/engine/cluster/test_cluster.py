"""What a cluster adds: replicas and nodes that die, come and go, while readers read."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from ray import serve

from app.engine import EngineBusy, EngineStopped, Finished, Params, Token, join_cluster
from app.engine.cluster.routing import APP
from tests.engine.reading import ended_of, ids_of, read, text_of
from tests.engine.test_engine import ask, until
from tests.waiting import wait_until

LONG = {"max_tokens": 200, "ignore_eos": True, "temperature": 1.0}


def replicas():
    """The processes of the replicas that run; each one's parent is its node's."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if "ServeReplica:continuo" in " ".join(process.info["cmdline"] or ()):
            found.append(process)
    return found


def start(client, n):
    """Long texts of n stories, each past its first token."""
    texts = [ask(client, f"The house {i}", seed=i, **LONG) for i in range(n)]
    return [(text, until(text, Token)) for text in texts]


def undisturbed(client, n):
    return [read(ask(client, f"The house {i}", seed=i, **LONG)) for i in range(n)]


def test_a_replica_killed_in_mid_stream_costs_a_pause(deploy, client):
    """The streams go on elsewhere with the very same text, to the token."""
    deploy(2)
    expected = undisturbed(client, 6)
    running = start(client, 6)
    victim, _ = replicas()
    victim.kill()
    for (text, first), whole in zip(running, expected, strict=True):
        rest = read(text)
        assert isinstance(rest[-1], Finished)
        assert [first.id, *ids_of(rest)] == ids_of(whole)
        assert first.text + text_of(rest) == text_of(whole)
        assert ended_of(rest) == ended_of(whole)


def test_what_a_reader_has_of_a_lost_text_is_read_not_written_again(deploy, client):
    deploy(1)
    wait_until(lambda: len(replicas()) == 1)
    text = ask(client, "The house", **LONG | {"max_tokens": 2000})
    seen = [until(text, Token).id for _ in range(1500)]
    [victim] = replicas()
    victim.kill()
    seen += ids_of(read(text))
    assert len(seen) == 2000
    assert client.stats().turns < 1000  # of the replica that came in its place


def test_a_node_killed_in_mid_stream_costs_a_pause(cluster, deploy, client):
    deploy(2)
    expected = undisturbed(client, 6)
    running = start(client, 6)
    # Serve's controller is on the head; the node that dies is another's.
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    victim = next(raylets[found.ppid()] for found in replicas() if found.ppid() in raylets)
    cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    cluster.remove_node(victim, allow_graceful=False)
    for (text, first), whole in zip(running, expected, strict=True):
        assert [first.id, *ids_of(read(text))] == ids_of(whole)
    # The lost one is started again, on the node that came.
    wait_until(lambda: len(replicas()) == 2)


def test_scaling_up_and_down_under_load_loses_nothing(deploy, client):
    deploy(1)
    expected = [ids_of(events) for events in undisturbed(client, 4)]
    found, is_over = [], threading.Event()

    def keep_reading(i):
        while not is_over.is_set():
            # Serve replaces all replicas at each deploy(); a slow machine has none for a while.
            with contextlib.suppress(EngineStopped):
                found.append((i, ids_of(read(ask(client, f"The house {i}", seed=i, **LONG)))))

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(keep_reading, i) for i in range(4)]
        try:
            deploy(2)
            wait_until(lambda: len(replicas()) == 2)  # one of before may still be leaving
            n = len(found)
            wait_until(lambda: len(found) >= n + 8 or any(reader.done() for reader in readers))
            deploy(1)
        finally:
            is_over.set()
        for reader in readers:
            reader.result()
    wait_until(lambda: len(replicas()) == 1)
    assert all(ids == expected[i] for i, ids in found)


def test_a_cancel_reaches_its_replica(deploy, client):
    deploy(2)
    running = start(client, 4)
    assert client.stats().running == 4
    for text, _ in running:
        text.cancel()
    for text, _ in running:
        assert ended_of(read(text)).reason == "cancelled"
    assert client.stats().running == 0


def test_a_text_cancelled_between_two_replicas_is_not_written_on(deploy, client, caplog):
    """It waited for the next replica, which wrote it to its end for nobody."""
    deploy(1)
    wait_until(lambda: len(replicas()) == 1)
    text = ask(client, max_tokens=None, ignore_eos=True)
    until(text, Token)
    [victim] = replicas()
    victim.kill()
    wait_until(lambda: "lost its replica" in caplog.text)
    assert client.cancel(text.id)
    assert ended_of(read(text)).reason == "cancelled"
    wait_until(lambda: client.state().name == "ready")
    wait_until(lambda: not client.stats().running)  # it may have begun
    assert not client.cancel(text.id)


def test_anybody_who_knows_the_id_may_cancel(deploy, client):
    deploy(2)
    [(text, _)] = start(client, 1)
    other = join_cluster()
    assert other.cancel(text.id)
    assert not other.cancel("nobody's")
    assert ended_of(read(text)).reason == "cancelled"
    other.close()


def test_readers_are_sent_away_only_when_all_replicas_are_full(deploy, client):
    """One story's replica fills first; its next readers go to the other one."""
    deploy(2, max_running=2, max_queue=1)
    running = [ask(client, "The house", seed=i, max_tokens=None, ignore_eos=True) for i in range(6)]
    with pytest.raises(EngineBusy) as caught:
        ask(client, "The house")
    assert caught.value.retry_after > 0
    for text in running:
        text.cancel()
        read(text)


def test_two_replicas_are_told_as_one_engine(deploy, client):
    """/status said "5 of 3" and "busy 180%", and /slots?fail_on_no_slot had none with half free."""
    deploy(1, max_running=3, max_queue=2)
    one = client.info()
    deploy(2, max_running=3, max_queue=2)
    wait_until(lambda: client.info().max_running > 3)
    both = client.info()
    assert (both.max_running, both.max_queue) == (6, 4)
    assert both.models[0].cache_bytes == 2 * one.models[0].cache_bytes
    read(ask(client))
    stats = client.stats()
    assert stats.turns == sum(part.turns for part in stats.replicas.values()) > 0
    assert len(stats.replicas) == 2
    assert 0 < stats.busy_s < max(part.busy_s for part in stats.replicas.values())


def test_a_story_comes_back_to_the_replica_that_has_read_it(deploy, client):
    deploy(2)
    prompt = "Once upon a time there was a house in the wood, and in it lived a bear. " * 5
    read(ask(client, prompt, max_tokens=1))
    for seed in range(5):
        [usage] = [e.usage for e in read(ask(client, prompt, seed=seed)) if isinstance(e, Finished)]
        assert usage.cached_tokens > 0


def test_without_replicas_the_state_says_so_and_recovers(deploy, client):
    deploy(1)
    assert client.state().name == "ready"
    serve.delete(APP)
    wait_until(lambda: client.state().name != "ready")
    assert client.state().message
    deploy(1)
    wait_until(lambda: client.state().name == "ready")
    assert len(ids_of(read(ask(client, max_tokens=3)))) == 3


def test_params_are_judged_by_the_replica(deploy, client):
    deploy(1)
    from app.engine import InvalidParams, UnknownModel

    with pytest.raises(UnknownModel, match="No model 'other' is served; name one of: tiny."):
        client.submit("a", Params(), model="other")
    with pytest.raises(InvalidParams, match="this model's tokens are 0 to 50256"):
        client.submit([60000], Params())
