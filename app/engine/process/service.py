"""The engine in a process of its own: `python -m app.engine.process.service HOME`.

One thread holds the socket: requests in, one frame per worker and turn out; the engine's own thread
only rings its bell. The process ends with the server, which it watches. It watches the workers too,
and ends the requests of one that dies.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import zmq

from ..completion import EngineError, EngineStopped
from ..interface import AnyEngine
from ..options import EngineOptions
from ..parameters import InvalidParams
from . import messages as wire
from .launch import RESTARTS, Home
from .peer import Peer

CALM_S = 60.0  # after this long an engine is well, and earlier stops are forgotten
MAX_UNSENT = 1000  # frames waiting for a worker that takes none; further events stay here
RETRY_MS = 100  # until we try such a worker again
# Encoding a long text takes 2 ms for a thousand characters and would hold up everybody's tokens, so
# it has threads of its own, which never wait for the engine.
SLOW = ("tokenize", "detokenize", "pieces")
LONG = 1000
N_SLOW = 4
SWITCH_S = 0.0005  # how long those threads may keep the interpreter from the engine's

MakeEngine = Callable[[EngineOptions, Callable[[], None]], AnyEngine]

log = logging.getLogger(__name__)


class EngineProcess:
    """The main loop of the engine's process."""

    def __init__(self, home: Home, make_engine: MakeEngine) -> None:
        self._home = home
        self._launch = home.read_launch()
        self._make_engine = make_engine
        self._engine: AnyEngine | None = None
        self._delay = (0, *RESTARTS)[home.count_starts() - 1]
        due = time.monotonic() + self._delay
        self._status = wire.Status(os.getpid(), "restarting" if self._delay else "loading", due)
        self._workers: dict[bytes, Peer] = {}
        self._slow_requests = ThreadPoolExecutor(N_SLOW)
        self._arriving_lock = threading.Lock()
        self._arriving: dict[str, bool] = {}  # ids of prompts being read -> cancelled already
        self._is_over = threading.Event()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def run(self) -> None:
        """Serve until the server ends or says stop, or the engine fails."""
        try:
            server = self._launch.server.watch()
        except ProcessLookupError:
            return self._stop()
        with zmq.Context() as context, context.socket(zmq.ROUTER) as self._socket:
            self._socket.router_mandatory = True  # raise if a worker cannot be reached
            self._socket.sndhwm = MAX_UNSENT
            self._socket.linger = 0
            self._socket.bind(f"ipc://{self._home.socket}")
            self._poller = zmq.Poller()
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._bell, zmq.POLLIN)
            self._poller.register(server, zmq.POLLIN)
            threading.Thread(target=self._load, daemon=True).start()
            while not self._is_over.is_set():
                self._step(server)

    def ring(self) -> None:
        """Something is ready to be sent. For any thread; never blocks."""
        os.eventfd_write(self._bell, 1)

    # ---- starting the engine

    def _load(self) -> None:
        time.sleep(self._delay)
        self._tell_all(wire.Status(os.getpid(), "loading"))
        try:
            self._engine = self._make_engine(self._launch.options, self.ring)
        except Exception as error:
            sentence = f"The engine cannot start: {str(error) or repr(error)}"
            if not isinstance(error, OSError | ValueError | ImportError):
                self._home.leave_word(sentence)
                raise  # to be tried again
            self._home.fail(sentence)  # a mistake in the settings, which would only repeat
            return self._end()
        self._tell_all(wire.Status(os.getpid(), "ready"))
        if not self._is_over.wait(CALM_S):
            self._home.forget_starts()

    def _tell_all(self, status: wire.Status) -> None:
        self._status = status
        for worker in list(self._workers.values()):
            worker.replies.append(status)
        self.ring()

    def _end(self) -> None:
        self._is_over.set()
        self.ring()

    # ---- the one thread that holds the socket

    def _step(self, server: int) -> None:
        is_anyone_stuck = any(worker.frame is not None for worker in self._workers.values())
        awake = dict(self._poller.poll(RETRY_MS if is_anyone_stuck else None))
        if self._bell in awake:
            os.eventfd_read(self._bell)
        if self._socket in awake:
            self._receive()
        for worker in list(self._workers.values()):
            if worker.pidfd in awake:
                self._lose(worker)
            else:
                self._send(worker)
        if server in awake:
            self._stop()

    def _send(self, worker: Peer) -> None:
        frame = worker.pack()
        if frame is None:
            return
        try:
            self._socket.send_multipart([worker.address, frame], zmq.NOBLOCK)
            worker.frame = None
        except zmq.Again:
            pass  # it takes nothing: its completions fill up, and are cut off at their limit
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose(worker)

    def _lose(self, worker: Peer) -> None:
        """The worker is gone or done: end its requests."""
        del self._workers[worker.address]
        self._poller.unregister(worker.pidfd)
        os.close(worker.pidfd)
        worker.cancel()

    def _receive(self) -> None:
        while True:
            try:
                address, frame = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                messages = wire.decode_requests(frame)
            except msgspec.DecodeError:
                log.exception(
                    "A worker sent an unreadable message; was the code changed while it ran?"
                )
                continue
            for message in messages:
                self._handle(address, message)

    def _handle(self, address: bytes, message: wire.Request) -> None:
        worker = self._workers.get(address)
        match message:
            case wire.Hello(pid):
                self._welcome(address, pid)
            case _ if worker is None:
                pass  # it still thinks we are the engine before us, and will say hello
            case wire.Leave(stop):
                self._lose(worker)
                if stop:
                    self._stop()
            case wire.Call(method=method) if method in SLOW:
                self._slow_requests.submit(self._answer, worker, message)
            case wire.Submit(prompt=prompt, id=id) if len(prompt) > LONG:
                with self._arriving_lock:
                    self._arriving[id] = False
                self._slow_requests.submit(self._answer, worker, message)
            case _:
                self._answer(worker, message)

    def _welcome(self, address: bytes, pid: int) -> None:
        if address not in self._workers:
            try:
                worker = Peer(address, pid)
            except ProcessLookupError:
                return  # it left in the meantime
            self._workers[address] = worker
            self._poller.register(worker.pidfd, zmq.POLLIN)
        status = self._status
        if self._engine is not None and self._engine.state().name == "stuck":
            status = wire.Status(os.getpid(), "stuck")
        self._workers[address].replies.append(status)

    def _stop(self) -> None:
        """The server has ended: remove this home."""
        if self._engine is not None:
            self._engine.close()
        self._home.remove()
        self._end()

    # ---- on that thread, or for slow requests on their own

    def _answer(self, worker: Peer, request: wire.Submit | wire.Call) -> None:
        reply: wire.Reply
        try:
            reply = self._ask_engine(worker, request)
        except (EngineError, InvalidParams) as error:
            reply = wire.refuse(request.number, error)
        except Exception as error:
            log.exception("A request failed in the engine.")
            reply = wire.refuse(request.number, EngineError(f"The engine failed: {error!r}."))
        worker.replies.append(reply)
        self.ring()

    def _ask_engine(self, worker: Peer, request: wire.Submit | wire.Call) -> wire.Answer:
        if self._engine is None:
            raise EngineStopped("The engine is loading.")
        match request:
            case wire.Submit():
                self._submit(self._engine, worker, request)
                return wire.answer(request.number, None)
            case wire.Call(method="cancel", arguments=[id]):
                return wire.answer(request.number, self._cancel(self._engine, id))
            case _:
                result = getattr(self._engine, request.method)(*request.arguments)
                return wire.answer(request.number, result)

    def _submit(self, engine: AnyEngine, worker: Peer, request: wire.Submit) -> None:
        try:
            completion = engine.submit(request.prompt, request.params, request.model, request.id)
        finally:
            with self._arriving_lock:
                is_cancelled = self._arriving.pop(request.id, False)
        worker.completions[request.number] = completion
        if is_cancelled or worker.address not in self._workers:
            completion.cancel()  # while its long prompt was encoded

    def _cancel(self, engine: AnyEngine, id: str) -> bool:
        with self._arriving_lock:
            is_arriving = id in self._arriving
            if is_arriving:
                self._arriving[id] = True
        return engine.cancel(id) or is_arriving


def main(make_engine: MakeEngine, path: str, lock: str) -> None:
    os.set_inheritable(int(lock), False)  # held as long as we live
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # A signal to the whole group of processes is for the server, which may let texts end first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    threading.excepthook = _die
    home = Home(Path(path))
    os.chdir(home.read_launch().folder)
    try:
        EngineProcess(home, make_engine).run()
    except Exception:
        log.exception("The engine stopped.")
    logging.shutdown()
    os._exit(0)  # at once, without waiting for a half-loaded model on another thread


def _die(what: threading.ExceptHookArgs) -> None:
    """End the process if one of its threads dies: its readers would wait for ever."""
    log.critical("The engine stopped: %s", what.exc_value, exc_info=what.exc_value)
    os._exit(1)


def load_engine(options: EngineOptions, after_turn: Callable[[], None]) -> AnyEngine:
    from ..engine import Engine  # importing torch takes seconds; the socket is answered meanwhile

    return Engine(options, after_turn=after_turn)


if __name__ == "__main__":
    main(load_engine, *sys.argv[1:])
