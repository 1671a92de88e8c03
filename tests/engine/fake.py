"""An engine without a model, for what the processes around an engine do.

`python -m tests.engine.fake HOME` is a process that serves it. A prompt says how it behaves:
"count 3" gives three tokens, "count" goes on for ever, "die" ends the process, "fail" is a bug.
A model's path says how it loads: "missing" cannot be opened, "crash" ends the process.
"""

import os
import sys
import threading

from app.engine import completion as c
from app.engine import process
from app.engine.answers import EngineStats, Tokenized

TURN_S = 0.001


class FakeEngine:
    def __init__(self, options, after_turn=lambda: None):
        path = next(iter(options.models.values()))
        if path == "missing":
            raise FileNotFoundError("models/missing does not exist.")
        if path == "crash":
            os.kill(os.getpid(), 9)
        self._after_turn = after_turn
        self._running = {}  # id -> [completion, tokens left, tokens so far]
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, prompt, params, model=None, id=None):
        word, *number = prompt.split()
        if word == "die":
            os.kill(os.getpid(), 9)
        if word == "fail":
            raise ZeroDivisionError("a bug")
        if word == "busy":
            raise c.EngineBusy("The queue is full.", 2.5, 7)
        if model is not None:
            raise c.UnknownModel(f"There is no model {model}.")
        completion = c.Completion(id, lambda: self.cancel(id))
        with self._lock:
            self._running[id] = [completion, int(number[0]) if number else 10**9, 0]
        completion.put(c.Started(len(prompt), 0, False, 0, 0, [1]))
        return completion

    def cancel(self, id):
        with self._lock:
            found = self._running.get(id)
            if found:
                found[1] = -1
            return found is not None

    def tokenize(self, text, model=None):
        return Tokenized([ord(letter) for letter in text], [(i, i + 1) for i in range(len(text))])

    def detokenize(self, ids, model=None):
        return "".join(map(chr, ids))

    def models(self):
        return ["fake"]

    def stats(self):
        return EngineStats(0, len(self._running), 0, 0, 0, {}, 0, 0, 0, 0, 0.0, 0.0)

    def close(self, grace=0.0):
        self._is_closed.set()

    def _run(self):
        while not self._is_closed.wait(TURN_S):
            with self._lock:
                for id, row in list(self._running.items()):
                    self._turn(id, row)
            self._after_turn()

    def _turn(self, id, row):
        completion, left, count = row
        if left > 0:
            completion.put(c.Token(0, count, f"{count} ", b"", None, []))
            row[1:] = left - 1, count + 1
            return
        del self._running[id]
        completion.put(c.Ended(0, "length" if left == 0 else "cancelled"))
        completion.put(c.Finished(c.Usage(1, count, 0), c.Timings(0, 0, 0, 0)))


def make_fake(options, after_turn):
    return FakeEngine(options, after_turn)


if __name__ == "__main__":
    process.main(make_fake, *sys.argv[1:])
