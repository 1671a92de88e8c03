"""One process's line to the engine: a thread that holds the socket, and starts a dead engine again.

Any thread may ask and read; this one alone sends and receives. It watches the engine's process, so
that its death reaches every reader at once. Knows nothing of what the engine can do.
"""

import contextlib
import itertools
import math
import os
import queue
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
from .launch import Home, Launch

HELLO_MS = 100  # between greetings, until the engine answers
FIRST_WORD_S = 1.0  # how long state() waits for that answer, and cancel() for an engine
PATIENCE_S = 10.0  # how long a request waits for an engine that is loading or starts again
ANSWER_S = 120.0  # no answer takes longer, the score of a long text included
RETRY_S = 3.0  # after which readers of a killed engine are told to come again
LEAVE_MS = 5000  # an engine told to stop has ended by then

UNHEARD = EngineState("loading", "The engine is starting.")
LOADING = EngineState("loading", "The engine is loading its models.")
READY = EngineState("ready", "")
LOST = EngineState("restarting", "The engine stopped; it is being started again.")
BROKEN = EngineState("failed", "The line to the engine broke: see the log, restart the server.")
CLOSED = EngineState("failed", "The engine is closed.")

T = TypeVar("T")


class LostEngine(EngineStopped):
    """The engine died before it answered."""


class Link:
    def __init__(self, home: Home, launch: Launch) -> None:
        self._home = home
        self._launch = launch
        self._numbers = itertools.count()
        self._changed = threading.Condition()  # guards what follows
        self._state = UNHEARD
        self._due = 0.0  # when a restarting engine starts, on the monotonic clock
        self._engine: int | None = None  # its process, watched, once it has answered
        self._answers: dict[int, queue.SimpleQueue[wire.Answer | wire.Refused | None]] = {}
        self._completions: dict[int, Completion] = {}
        self._outbox: deque[bytes] = deque()
        self._leave: wire.Leave | None = None  # our last word, once we close
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
        call = wire.Call(next(self._numbers), "cancel", [id])
        if threading.current_thread() is self._thread:  # cuts a slow reader, and must not wait
            self._outbox.append(wire.encode([call]))
            return True
        try:
            return msgspec.msgpack.decode(self._ask(call, patience=FIRST_WORD_S), type=bool)
        except EngineStopped:
            return False

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
        if not self._thread.is_alive():  # else it waits for an engine that does not even answer
            os.close(self._bell)

    def _ask(
        self,
        request: wire.Submit | wire.Call,
        completion: Completion | None = None,
        patience: float = PATIENCE_S,
    ) -> msgspec.Raw:
        frame = wire.encode([request])  # what cannot be encoded fails before anything is noted
        answer: queue.SimpleQueue[wire.Answer | wire.Refused | None] = queue.SimpleQueue()
        with self._changed:
            self._changed.wait_for(lambda: self._state.name in ("ready", "failed"), patience)
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
        """Engine after engine, until we close or there will be no more."""
        while self._leave is None:
            failure = self._start_engine()
            if failure is not None:
                return EngineState("failed", failure)
            with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
                self._talk(socket)
            self._lose_engine(LOST)
        return CLOSED

    def _start_engine(self) -> str | None:
        try:
            return self._home.start(self._launch)
        except (OSError, subprocess.SubprocessError) as error:
            return f"The engine cannot be started: {error}."

    def _talk(self, socket: zmq.Socket[bytes]) -> None:
        """With one engine, from greeting it to its end or ours."""
        socket.linger = 0
        socket.sndhwm = 0  # no more can wait than there are threads that ask
        socket.connect(f"ipc://{self._home.socket}")
        self._greet(socket)
        if self._engine is None:
            return
        poller = zmq.Poller()
        for source in (socket, self._bell, self._engine):
            poller.register(source, zmq.POLLIN)
        awake: dict[Any, int] = {}
        while self._leave is None and self._engine not in awake:
            awake = dict(poller.poll())
            if self._bell in awake:
                os.eventfd_read(self._bell)
            self._receive(socket)  # also when it has died: its last words may be there
            while self._outbox:
                socket.send(self._outbox.popleft())
        if self._leave is not None:
            self._say_goodbye(socket, self._leave)

    def _greet(self, socket: zmq.Socket[bytes]) -> None:
        """Until the engine answers, or there is none."""
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

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            try:
                frame = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            for message in wire.decode_replies(frame):
                self._take(message)

    def _take(self, message: wire.Reply) -> None:
        match message:
            case wire.Events(number, events):
                self._deliver(number, events)
            case wire.Status(pid, name, due):
                self._watch(pid)
                self._due = due
                self._become({"ready": READY, "loading": LOADING, "restarting": LOST}[name])
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
            with contextlib.suppress(ProcessLookupError):  # gone already; the greeting notices
                self._engine = os.pidfd_open(pid)

    def _become(self, state: EngineState) -> None:
        with self._changed:
            if self._state is not CLOSED:
                self._state = state
            self._changed.notify_all()

    def _lose_engine(self, state: EngineState) -> None:
        """Whoever waits is told at once."""
        if self._engine is not None:
            os.close(self._engine)
            self._engine = None
        self._become(state)
        with self._changed:
            completions, self._completions = self._completions, {}
            answers, self._answers = self._answers, {}
            self._outbox.clear()
        failed = Failed("engine_stopped", "The engine stopped before the end.", RETRY_S)
        for completion in completions.values():
            completion.put(failed)
        for answer in answers.values():
            answer.put(None)


def _again_if_lost(ask: Callable[[], T]) -> T:
    """It had promised nothing yet, so the next engine may be asked; but it may have died of it."""
    try:
        return ask()
    except LostEngine:
        return ask()
