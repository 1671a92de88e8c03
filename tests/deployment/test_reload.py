"""SIGHUP: new workers serve while the old ones finish what they began."""

import signal
import threading

import psutil
import requests

from tests.server import fake, read_until, serve

STREAM = {"prompt": "x", "max_tokens": 300, "stream": True}


def workers(server):
    return {child.pid for child in psutil.Process(server.process.pid).children()}


def test_a_reload_loses_no_stream_and_sends_nobody_away():
    with serve(fake(0.01, "-w", "2"), grace=30) as server:
        running = [server.connect(STREAM) for _ in range(8)]
        for connection in running:
            read_until(connection, b"event: token")
        old, statuses, is_over = workers(server), [], threading.Event()

        def keep_asking():
            while not is_over.is_set():  # a connection each, as new readers come
                reply = requests.post(
                    f"{server.url}/generate", json={"prompt": "x", "max_tokens": 1}, timeout=30
                )
                statuses.append(reply.status_code)

        reader = threading.Thread(target=keep_asking)
        reader.start()
        server.process.send_signal(signal.SIGHUP)
        for connection in running:
            assert b"event: done" in read_until(connection, b"0\r\n\r\n")
        psutil.wait_procs([psutil.Process(pid) for pid in old if psutil.pid_exists(pid)], 60)
        is_over.set()
        reader.join()
        assert len(workers(server)) == 2 and not workers(server) & old
        assert set(statuses) == {200}
        assert server.metric('continuo_responses_total{status="200"}') >= len(statuses) + 8
        server.terminate()
        assert server.process.wait(30) == 0
