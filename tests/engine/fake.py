"""An engine without a model, for tests of the processes around an engine.

`python -m tests.engine.fake HOME LOCK` serves it. A prompt says what it does: "count 3" gives three
tokens, "count" goes on for ever, "flood" does so by the hundred, "nap" takes its time to be read,
"stall" is a turn that ends only once it is cancelled, "busy" and "bug" raise, "break" ends the
thread that writes. The model's path says how it loads: ".../missing" cannot be opened until it is
there, "large" and "crash" end the process, the former with a reason.
"""

import os
import signal
import sys
import threading
import time

from app.engine import (
    Completion,
    Ended,
    EngineBusy,
    EngineState,
    EngineStats,
    Finished,
    Timings,
    Token,
    Tokenized,
    UnknownModel,
    Usage,
)
from app.engine.process import service as process

TURN_S = 0.001
FOREVER = 10**9


class FakeEngine:
    def __init__(self, options, after_turn):
        (path,) = options.models.values()
        if path.endswith("missing") and not os.path.exists(path):
            raise FileNotFoundError("models/missing is not there.")
        if path == "large":
            raise RuntimeError("The device is out of memory.")
        if path == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        self._after_turn = after_turn
        self._rows = {}
        self._is_closed = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, prompt, params, model=None, id=None):
        word, *number = prompt.split()
        if model is not None:
            raise UnknownModel(f"There is no model {model}.")
        if word == "busy":
            raise EngineBusy("The queue is full.", retry_after=2.5, ahead=7)
        if word == "nap":
            time.sleep(0.2)
        if word == "bug":
            raise ZeroDivisionError("a bug")
        completion = Completion(id, lambda: self.cancel(id))
        self._rows[id] = Row(completion, int(number[0]) if number else FOREVER, word)
        return completion

    def cancel(self, id):
        row = self._rows.get(id)
        if row is not None:
            row.is_cancelled = True
        return row is not None

    def tokenize(self, text, model=None):
        return Tokenized([ord(letter) for letter in text], [(i, i + 1) for i in range(len(text))])

    def models(self):
        return ["fake"]

    def stats(self):
        return EngineStats(0, len(self._rows), 0, 0, 0, {}, 0, 0, 0, 0, 0.0, 0.0, 0)

    def state(self):
        return EngineState("stuck" if self._is_stalled() else "ready", "")

    def _is_stalled(self):
        rows = list(self._rows.values())
        return any(row.word == "stall" and not row.is_cancelled for row in rows)

    def close(self, grace=0.0):
        self._is_closed.set()

    def _run(self):
        while not self._is_closed.wait(TURN_S):
            if self._is_stalled():
                continue
            for id, row in list(self._rows.items()):
                if row.is_over():
                    row.finish()
                    del self._rows[id]
                row.write()
            self._after_turn()


class Row:
    def __init__(self, completion, length, word):
        self.completion, self.length, self.word = completion, length, word
        self.count = 0
        self.is_cancelled = False

    def is_over(self):
        return self.is_cancelled or self.count == self.length

    def write(self):
        if self.word == "break":
            raise RuntimeError("The thread dies.")
        for _ in range(100 if self.word == "flood" else 1):
            if not self.is_over():
                self.completion.put(Token(0, self.count, "", b"", None, []))
                self.count += 1

    def finish(self):
        self.completion.put(Ended(0, "cancelled" if self.is_cancelled else "length"))
        self.completion.put(Finished(Usage(1, self.count, 0), Timings(0, 0, 0, 0)))


if __name__ == "__main__":
    process.RESTARTS = (0, 0, 0, 60)
    process.MAX_UNSENT = 10
    process.main(FakeEngine, *sys.argv[1:])
