"""A process's link to the engine: a thread that holds the socket and restarts a dead engine.

Any thread may ask and read; only this one sends and receives. It watches the engine's process, so
every reader learns of its death at once. Does not know what the engine can do.
"""

import contextlib
import itertools
import logging
import math
import os
import queue
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import zmq

from ..answers import EngineState
from ..completion import Completion, EngineStopped, Failed, is_last
from ..parameters import Params
from . import messages as wire
from .launch import AGAIN_S, Home, Launch

HELLO_MS = 100  # between greetings until the engine answers
FIRST_WORD_S = 1.0  # how long state() waits for the first answer, and cancel() for an engine
PATIENCE_S = 10.0  # how long a request waits for an engine that loads or restarts
ANSWER_S = 120.0  # for an answer
RETRY_S = 3.0  # until readers of a killed engine should try again
LEAVE_MS = 5000  # for an engine to stop
BEAT_S = 2.0  # of silence, after which the engine is greeted and must answer
SILENT_S = 8.0  # of silence or of one turn, after which its readers are given up
LAST_WORDS_S = 1.0  # for an orphaned worker to tell its readers before it ends

UNHEARD = EngineState("loading", "The engine is starting.")
LOADING = EngineState("loading", "The engine is loading its models.")
READY = EngineState("ready", "")
LOST = EngineState("restarting", "The engine stopped; it is being started again.")
STUCK = EngineState("stuck", "The engine hangs; it may be suspended or out of memory.")
ENDED = EngineState("failed", "The server has ended.")
BROKEN = EngineState(
    "failed", "The link to the engine broke: see the log, then restart the server."
)
CLOSED = EngineState("failed", "The engine is closed.")

STATES = {"ready": READY, "loading": LOADING, "restarting": LOST, "stuck": STUCK}

log = logging.getLogger(__name__)

T = TypeVar("T")


class LostEngine(EngineStopped):
    """The engine died before it answered."""


class Link:
    def __init__(self, home: Home, launch: Launch) -> None:
        self._home = home
        self._launch = launch
        self._numbers = itertools.count()
        self._changed = threading.Condition()  # guards what follows it
        self._state = UNHEARD
        self._due = 0.0  # when a restarting engine starts, on the monotonic clock
        self._engine: int | None = None  # its process, watched, once it has answered
        self._answers: dict[int, queue.SimpleQueue[wire.Answer | wire.Refused | None]] = {}
        self._completions: dict[int, Completion] = {}
        self._outbox: deque[bytes] = deque()
        self._leave: wire.Leave | None = None  # our last message, once we close
        self._thread: threading.Thread | None = None

    # ---- what any thread may do

    def open(self) -> None:
        with self._changed:
            if self._thread is None:
                self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self._thread = threading.Thread(target=self._run, name="engine link", daemon=True)
                self._thread.start()

    def submit(
        self, prompt: str | list[int], params: Params, model: str | None, id: str
    ) -> Completion:
        def ask() -> Completion:
            completion = Completion(id, lambda: self.cancel(id))
            self._ask(wire.Submit(next(self._numbers), prompt, params, model, id), completion)
            return completion

        return _again_if_lost(ask)

    def call(self, method: wire.Method, *arguments: Any) -> msgspec.Raw:
        return _again_if_lost(
            lambda: self._ask(wire.Call(next(self._numbers), method, list(arguments)))
        )

    def cancel(self, id: str) -> bool:
        if threading.current_thread() is self._thread:  # also called to cut off a slow reader
            self._cancel_soon(id)
            return True
        call = wire.Call(next(self._numbers), "cancel", [id])
        try:
            return msgspec.msgpack.decode(self._ask(call, patience=FIRST_WORD_S), type=bool)
        except EngineStopped:
            return False

    def _cancel_soon(self, id: str) -> None:
        """Send it without waiting for the answer."""
        self._outbox.append(wire.encode([wire.Call(next(self._numbers), "cancel", [id])]))
        os.eventfd_write(self._bell, 1)

    def state(self) -> EngineState:
        with self._changed:
            self._changed.wait_for(lambda: self._state is not UNHEARD, FIRST_WORD_S)
            wait = math.ceil(self._due - time.monotonic())
            if self._state.name == "restarting" and wait > 0:
                return EngineState(
                    "restarting", f"The engine stopped; it starts again in {wait} s."
                )
            return self._state

    def close(self, grace: float, stop: bool) -> None:
        with self._changed:
            if self._leave is not None or self._thread is None:
                return
            self._become(CLOSED)
            self._changed.wait_for(lambda: not self._completions, grace)
            self._leave = wire.Leave(stop)
            os.eventfd_write(self._bell, 1)
        self._thread.join(2 * LEAVE_MS / 1000)
        if not self._thread.is_alive():  # stays so while it waits for an engine to load
            os.close(self._bell)

    def _ask(
        self,
        request: wire.Submit | wire.Call,
        completion: Completion | None = None,
        patience: float = PATIENCE_S,
    ) -> msgspec.Raw:
        frame = wire.encode([request])  # encoded first, so that nothing is recorded if it fails
        answer: queue.SimpleQueue[wire.Answer | wire.Refused | None] = queue.SimpleQueue()
        with self._changed:
            self._changed.wait_for(
                lambda: self._state.name in ("ready", "failed", "stuck"), patience
            )
            if self._state is not READY:
                raise EngineStopped(self._state.message)
            self._answers[request.number] = answer
            if completion is not None:
                self._completions[request.number] = completion
            self._outbox.append(frame)
            os.eventfd_write(self._bell, 1)
        try:
            reply = answer.get(timeout=ANSWER_S)
        except queue.Empty:
            reply = wire.refuse(request.number, EngineStopped("The engine does not answer."))
            if isinstance(request, wire.Submit):
                self._cancel_soon(request.id)  # nobody will read the answer
        self._answers.pop(request.number, None)
        if reply is None:
            raise LostEngine("The engine stopped; please try again.")
        if isinstance(reply, wire.Refused):
            self._completions.pop(request.number, None)
            raise wire.to_error(reply)
        return reply.result

    # ---- the thread

    def _run(self) -> None:
        end = BROKEN
        try:
            end = self._serve()
        finally:
            self._lose_engine(end)

    def _serve(self) -> EngineState:
        """Serve one engine after another, until we close or the server has ended."""
        while self._leave is None:
            if not self._launch.server.is_alive():
                return self._end_with_server()
            failure = self._start_engine()
            if failure is None:
                with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
                    self._talk(socket)
                self._lose_engine(LOST)
            else:  # what was missing may be back by then
                self._lose_engine(EngineState("failed", failure))
                if select.select([self._bell], [], [], AGAIN_S)[0]:
                    os.eventfd_read(self._bell)
        return CLOSED

    def _end_with_server(self) -> EngineState:
        """End a worker whose master was killed: it would keep the port from the next server."""
        self._lose_engine(ENDED)
        time.sleep(LAST_WORDS_S)
        os._exit(1)

    def _start_engine(self) -> str | None:
        try:
            return self._home.start(self._launch)
        except (OSError, subprocess.SubprocessError) as error:
            log.error("The engine cannot be started: %s.", error)
            return f"The engine cannot be started: {error}."

    def _talk(self, socket: zmq.Socket[bytes]) -> None:
        """Serve one engine, from the greeting to its end or ours."""
        socket.linger = 0
        socket.sndhwm = 0  # there are never more than threads that ask
        socket.connect(f"ipc://{self._home.socket}")
        self._greet(socket)
        if self._engine is None:
            return
        poller = zmq.Poller()
        for source in (socket, self._bell, self._engine):
            poller.register(source, zmq.POLLIN)
        awake: dict[Any, int] = {}
        heard = time.monotonic()
        while self._leave is None and self._engine not in awake:
            awake = dict(poller.poll(int(1000 * BEAT_S)))
            if self._bell in awake:
                os.eventfd_read(self._bell)
            is_heard = self._receive(socket)  # even if it has died: its last messages may be there
            if is_heard and self._state is not STUCK:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENT_S:
                self._give_up_readers()
            if not awake:
                socket.send(wire.encode([wire.Hello(os.getpid())]))
            while self._outbox:
                socket.send(self._outbox.popleft())
        if self._leave is not None:
            self._say_goodbye(socket, self._leave)

    def _greet(self, socket: zmq.Socket[bytes]) -> None:
        """Greet until the engine answers, or there is none."""
        while self._engine is None and self._home.is_running():
            socket.send(wire.encode([wire.Hello(os.getpid())]))
            socket.poll(HELLO_MS)
            self._receive(socket)

    def _say_goodbye(self, socket: zmq.Socket[bytes], leave: wire.Leave) -> None:
        socket.linger = LEAVE_MS
        socket.send(wire.encode([leave]))
        if leave.stop:
            poller = zmq.Poller()
            poller.register(self._engine, zmq.POLLIN)
            poller.poll(LEAVE_MS)

    def _receive(self, socket: zmq.Socket[bytes]) -> bool:
        """Take everything that has come; returns whether anything had."""
        for n_frames in itertools.count():
            try:
                frame = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return n_frames > 0
            for message in wire.decode_replies(frame):
                self._take(message)
        raise AssertionError

    def _take(self, message: wire.Reply) -> None:
        match message:
            case wire.Events(number, events):
                if self._state is STUCK:
                    self._become(READY)
                self._deliver(number, events)
            case wire.Status(pid, name, due):
                self._watch(pid)
                self._due = due
                self._become(STATES[name])
            case wire.Answer(number) | wire.Refused(number):
                if number in self._answers:
                    self._answers[number].put(message)

    def _deliver(self, number: int, events: list[wire.AnyEvent]) -> None:
        completion = self._completions.get(number)
        if completion is None:
            return
        for event in events:
            completion.put(event)
        if is_last(events[-1]):
            with self._changed:
                self._completions.pop(number, None)
                self._changed.notify_all()

    def _watch(self, pid: int) -> None:
        if self._engine is None:
            # If it has ended already, the greeting will notice.
            with contextlib.suppress(ProcessLookupError):
                self._engine = os.pidfd_open(pid)

    def _become(self, state: EngineState) -> None:
        with self._changed:
            if self._state is not CLOSED:
                self._state = state
            self._changed.notify_all()

    def _lose_engine(self, state: EngineState) -> None:
        """Tell everyone who waits, at once."""
        if self._engine is not None:
            os.close(self._engine)
            self._engine = None
        self._become(state)
        with self._changed:
            self._outbox.clear()
        self._fail_readers("The engine stopped before the end.")

    def _give_up_readers(self) -> None:
        """Fail and cancel the requests of a hanging engine: it may wake, and must not write on."""
        self._become(STUCK)
        for id in self._fail_readers("The engine hangs; the text ends here."):
            self._cancel_soon(id)

    def _fail_readers(self, sentence: str) -> list[str]:
        with self._changed:
            completions, self._completions = self._completions, {}
            answers, self._answers = self._answers, {}
        for completion in completions.values():
            completion.put(Failed("engine_stopped", sentence, RETRY_S))
        for answer in answers.values():
            answer.put(None)
        return [completion.id for completion in completions.values()]


def _again_if_lost(ask: Callable[[], T]) -> T:
    """Ask the next engine too, but none after it: this request may be what kills them."""
    try:
        return ask()
    except LostEngine:
        return ask()
