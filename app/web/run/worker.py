"""The gunicorn worker we serve with: gthread, where no client can hold up another.

Its main loop receives each request whole before a thread takes it, so slow senders and idle
connections occupy a socket and nothing else. The loop never waits for anybody:

    accept -> waiting (bytes come in) -> a thread answers -> waiting again, or lingering -> closed

gunicorn 27's own worker waits up to 2 s in its main loop for a client to close, and keeps a thread
busy for each client that sends slowly. Knows only enough HTTP to see where a request ends.
"""

import collections
import errno
import logging
import re
import selectors
import socket
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from .connection import group_of, limit_waiting
from .stopping import SharedStopping

log = logging.getLogger("gunicorn.error")

LINGER_S = 2.0  # for a client to read our last bytes and close; RFC 9112, 9.6
ORPHAN_S = 2.0  # for running streams to end properly once gunicorn's master is gone
SLOWEST = 1000  # bytes a second; slower senders are cut off after `patience`
MAX_HEAD = 65536  # bytes; gunicorn refuses such heads
MAX_TRAILER = 4096  # bytes after a chunked body, with the last chunk
MAX_RECEIVED = 64 * 2**20  # bytes of unfinished requests, over all connections
QUEUED = 32  # requests that may wait for a thread
LOOK_S = 0.25  # between checks for connections that wait too long
BOOT_ERROR = 3  # tells gunicorn's master to give up instead of retrying

# Threads for some requests only, which so never wait behind a crowd: how many, and for which. The
# first never wait for the engine; the others may.
APART = (
    (2, re.compile(rb"(GET|HEAD) /(livez|readyz)\b")),
    (4, re.compile(rb"GET /metrics\b|DELETE /generate/|POST /api/extra/abort\b")),
)
LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r$", re.I | re.M)
CHUNKED = re.compile(rb"^transfer-encoding:", re.I | re.M)
CONTINUE = re.compile(rb"^expect:[ \t]*100-continue[ \t]*\r$", re.I | re.M)
LAST_CHUNK = re.compile(rb"(?:^|\r\n)0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n\Z")


class Connection(TConn):
    """A client's connection, and the part of its next request that has arrived."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.wait()

    def wait(self, received: bytes = b"") -> None:
        """Wait for the next request; `received` is its beginning."""
        self.received = bytearray(received)
        self._end = 0  # where the head ends; 0 until it has arrived
        self._length: int | None = None  # of the whole request; None: chunked
        self.began = self.heard = time.monotonic()

    def take(self, data: bytes) -> None:
        self.heard = time.monotonic()
        if not self.received:
            self.began = self.heard
            data = data.lstrip(b"\r\n")
        self.received += data

    def is_http(self) -> bool:
        return not self.received or self.received[:1].isalpha()

    def is_whole(self, max_body: int) -> bool:
        """Whether a thread can answer without waiting: the request is complete, or wrong anyway."""
        if not self._end and not self._read_head(max_body):
            return len(self.received) > MAX_HEAD
        n = len(self.received)
        if self._length is not None:
            return n >= self._length
        tail = max(self._end - 2, n - MAX_TRAILER)
        return n > self._end + 2 * max_body or bool(LAST_CHUNK.search(self.received, tail))

    def _read_head(self, max_body: int) -> bool:
        self._end = self.received.find(b"\r\n\r\n") + 4
        if self._end < 4:
            self._end = 0
            return False
        head = self.received[: self._end]
        length = LENGTH.search(head)
        if not CHUNKED.search(head):
            body = int(length[1]) if length else 0
            # The app refuses a body that is too large without reading it.
            self._length = self._end + (body if body <= max_body else 0)
        if CONTINUE.search(head) and not self.is_whole(max_body):
            self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def is_late(self, now: float, patience: float, keepalive: float) -> bool:
        if not self.received:
            return now > self.heard + keepalive
        most = patience + len(self.received) / SLOWEST
        return now > min(self.heard + patience, self.began + most)


class Worker(ThreadWorker):
    stopping: SharedStopping | None = None  # set by our configuration, before the fork

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[Connection, None] = {}  # waiting for a request or its rest
        self._lingering: dict[Connection, float] = {}  # and until when, the oldest first
        self._in_threads = 0
        self._next_look = 0.0

    def load_wsgi(self) -> None:
        """Log a failed start as a sentence, where gunicorn would print a traceback."""
        try:
            super().load_wsgi()
        except Exception as error:
            if not isinstance(error, OSError) and not type(error).__module__.startswith("app."):
                raise
            log.error("Continuo cannot start: %s", error)
            sys.exit(BOOT_ERROR)

    def run(self) -> None:
        options = self.wsgi.extensions["continuo"].options
        self._max_body, self._patience = options.max_body, options.patience
        self._apart = [(ThreadPoolExecutor(n), pattern) for n, pattern in APART]
        super().run()
        for pool, _ in self._apart:
            pool.shutdown(wait=False)

    # ---- in: from a listener to a thread

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.is_ssl:  # only a thread can decrypt what arrives
            return super().accept(listener)
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return self._make_room()
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return None
            raise
        self.nr_conns += 1
        limit_waiting(sock, self._patience)
        self._wait(Connection(self.cfg, sock, address, listener.getsockname()))
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _wait(self, conn: Connection) -> None:
        conn.sock.setblocking(False)
        self._waiting[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        # The next request may have been sent along with the one before.
        if conn.received and conn.is_whole(self._max_body):
            self._answer(conn)

    def _receive(self, conn: Connection, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            conn.take(data)
            if data and conn.is_http() and not conn.is_whole(self._max_body):
                return self._bound_memory()
        except BlockingIOError:
            return
        except OSError:  # reset by its peer
            data, conn.received = b"", bytearray()
        if not conn.is_http():
            self._stop_waiting(conn)
            self._refuse(conn, 400, "unreadable", "This is not HTTP.")
        elif data or conn.received:  # half a request deserves an answer too
            self._answer(conn)
        else:
            self._give_up(conn)

    def _answer(self, conn: Connection) -> None:
        self._stop_waiting(conn)
        pool = next((p for p, pattern in self._apart if pattern.match(conn.received)), self.tpool)
        is_apart = pool is not self.tpool
        if not is_apart and self._in_threads >= self.cfg.threads + QUEUED:
            return self._refuse(conn, 503, "overloaded", "The server is full; try again in 2 s.")
        conn.data_ready = True
        future = pool.submit(self.handle, conn)
        self._in_threads += not is_apart
        future.add_done_callback(
            lambda done: self.method_queue.defer(self._after, conn, done, is_apart)
        )

    def handle(self, conn: Connection) -> Any:
        """In a thread."""
        if not self.cfg.is_ssl and not conn.initialized:
            conn.init()
        if conn.received:
            conn.parser.unreader.unread(bytes(conn.received))
            conn.received.clear()
        return super().handle(conn)

    # ---- out: from a thread to the next request, or the end

    def _after(self, conn: Connection, done: "Future[Any]", is_apart: bool) -> None:
        self._in_threads -= not is_apart
        self.finish_request(conn, done)

    def finish_request(self, conn: Any, done: "Future[Any]") -> None:
        is_kept = not done.cancelled() and done.exception() is None and done.result()
        if self.cfg.is_ssl and is_kept:
            return super().finish_request(conn, done)
        try:
            if is_kept:
                conn.wait(conn.parser.unreader.take_buffered())
                self._wait(conn)
            else:
                self._linger(conn)
        except OSError:
            self._close(conn)

    def _refuse(self, conn: Connection, status: int, kind: str, message: str) -> None:
        """Answer without a thread, in the shape of the native API."""
        body = b'{"error":{"type":"%s","message":"%s"}}\n' % (kind.encode(), message.encode())
        head = (
            f"HTTP/1.1 {status} {kind}\r\nContent-Type: application/json\r\nRetry-After: 2\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            conn.sock.send(head.encode() + body)
            self._linger(conn)
        except OSError:
            self._close(conn)

    def _linger(self, conn: Connection) -> None:
        """Close our side, and wait for the client to close without holding up anybody."""
        if self.cfg.is_ssl:
            return self._close(conn)
        conn.sock.setblocking(False)
        conn.sock.shutdown(socket.SHUT_WR)
        self._lingering[conn] = time.monotonic() + LINGER_S
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))

    def _drain(self, conn: Connection, sock: socket.socket) -> None:
        try:
            if sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._stop_lingering(conn)

    def _stop_lingering(self, conn: Connection) -> None:
        del self._lingering[conn]
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _stop_waiting(self, conn: Connection) -> None:
        del self._waiting[conn]
        self.poller.unregister(conn.sock)

    def _close(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    # ---- what waits too long, or takes too much

    def murder_keepalived(self, force: bool = False) -> None:
        """Called after each round of the main loop."""
        super().murder_keepalived(force)
        now = time.monotonic()
        if now < self._next_look and not force:
            return
        self._next_look = now + LOOK_S
        for conn in self._late(now, force):
            if conn.received and not force:
                self._stop_waiting(conn)
                patience = f"{self._patience:g} s"
                self._refuse(conn, 408, "too_slow", f"The request stood still for {patience}.")
            else:
                self._give_up(conn)
        for conn, until in list(self._lingering.items()):
            if now < until and not force:
                break
            self._stop_lingering(conn)

    def _late(self, now: float, force: bool) -> list[Connection]:
        keepalive = self.cfg.keepalive
        return [c for c in self._waiting if force or c.is_late(now, self._patience, keepalive)]

    def _cap_keepalive(self, deadline: float) -> None:
        """A stopping worker waits until then for connections without a request."""
        super()._cap_keepalive(deadline)
        for conn in self._waiting:
            conn.heard = min(conn.heard, deadline - self.cfg.keepalive)

    def _make_room(self) -> None:
        """Close a connection: the oldest that only has to close, or one that waits, of the address
        with the most of them."""
        if len(self._lingering) > len(self._waiting):
            self._stop_lingering(next(iter(self._lingering)))
        elif self._waiting:
            (address, _), *_ = collections.Counter(map(_address, self._waiting)).most_common(1)
            self._give_up(next(conn for conn in self._waiting if _address(conn) == address))

    def _bound_memory(self) -> None:
        if sum(len(conn.received) for conn in self._waiting) > MAX_RECEIVED:
            self._give_up(max(self._waiting, key=lambda conn: len(conn.received)))

    def _give_up(self, conn: Connection) -> None:
        self._stop_waiting(conn)
        self._close(conn)

    def is_parent_alive(self) -> bool:
        """Once gunicorn's master is gone, end soon: the next one needs our port."""
        is_alive = super().is_parent_alive()
        if not is_alive:
            if self.stopping is not None:
                self.stopping.leave()
            self.cfg.set("graceful_timeout", int(ORPHAN_S))
        return is_alive


def _address(conn: Connection) -> str:
    """What a connection counts for: an address, or the /64 of an IPv6 address."""
    return group_of(conn.client[0] if isinstance(conn.client, tuple) else "")
