"""A small honest engine without a model: the interface of app.engine, tokens of one byte.

It validates like the real one, streams deterministic text, and can be told to be slow, busy,
loading or failing. `engine.completions` holds every request; `engine.cancelled` the ids of those
that were cancelled while running.
"""

import itertools
import queue
import secrets
import threading

from app.engine import (
    Completion,
    Ended,
    EngineBusy,
    EngineInfo,
    EngineState,
    EngineStats,
    EngineStopped,
    Failed,
    Finished,
    InvalidParams,
    ModelInfo,
    PromptToken,
    Queued,
    Started,
    Timings,
    Token,
    Tokenized,
    TopToken,
    UnknownModel,
    Usage,
)

SONG = " la"  # what it writes, over and over


class FakeEngine:
    def __init__(self, delay=0.0):
        self.delay = delay  # seconds before each token
        self.completions = {}
        self.submitted = queue.SimpleQueue()  # the ids, as they come
        self.written = threading.Semaphore(0)  # released when all events of a request are put
        self.cancelled = []
        self.song = SONG
        self.step = threading.Event()  # cleared: it stands still between tokens
        self.step.set()
        self.begin = threading.Event()  # cleared: requests stay in the queue
        self.begin.set()
        self.busy = False
        self.capacity = None  # how many may run at a time; more are busy
        self.tilt = 0.0  # added to the logprobs of each further continuation
        self.lasts = None  # tokens until the end of the text
        self.fails_after = None  # tokens
        self.is_closed = False
        self.cards = {}  # by name
        self.condition = EngineState(name="ready", message="")
        self._running = set()

    # ---- completions

    def submit(self, prompt, params, model=None, id=None):
        self._check(model)
        full = self.capacity is not None and len(self._running) >= self.capacity
        if self.busy or full:
            raise EngineBusy("The queue is full; try again in 3 s.", retry_after=3.0, ahead=7)
        if id in self._running:
            raise InvalidParams("id", f"id {id} is in use.")
        stop = threading.Event()
        completion = Completion(id or secrets.token_urlsafe(8), stop.set)
        self.completions[completion.id] = completion
        self._running.add(completion.id)
        self.submitted.put(completion.id)
        thread = threading.Thread(
            target=self._write, args=(completion, prompt, params, stop), daemon=True
        )
        thread.start()
        return completion

    def cancel(self, id):
        if id not in self._running:
            return False
        self.completions[id].cancel()
        return True

    def _write(self, completion, prompt, params, stop):
        for event in self._events(prompt, params, stop):
            last = isinstance(event, Finished | Failed)
            if last:
                self._running.discard(completion.id)
                if stop.is_set():
                    self.cancelled.append(completion.id)
            completion.put(event)
        self.written.release()

    def _events(self, prompt, params, stop):
        if not self.begin.is_set():
            yield Queued(ahead=1, wait_s=0.5)
        if not _wait(self.begin, stop):
            yield Ended(0, "cancelled")
            yield self._finished(prompt, 0)
            return
        first = 1 if params.seed is None else params.seed
        yield Started(
            prompt_tokens=len(_bytes(prompt)),
            cached_tokens=0,
            truncated=len(prompt) > 1000,
            dropped_tokens=max(0, len(_bytes(prompt)) - 1000),
            context_start=max(0, len(prompt) - 1000),
            seeds=[first + i for i in range(params.n)],
            prompt=_scored(prompt, params.prompt_logprobs),
        )
        written = 0
        endless = itertools.count() if params.max_tokens is None else range(params.max_tokens)
        song = itertools.cycle(self.song.encode())
        held, reason = b"", "length"
        for _, byte in zip(endless, song, strict=False):
            if not _wait(self.step, stop) or (self.delay and stop.wait(self.delay)):
                reason = "cancelled"
                break
            if self.fails_after == written:
                yield Failed("engine_error", "The engine stumbled.")
                return
            if self.lasts == written:
                reason = "end_of_text"
                break
            held, text = _certain(held + bytes([byte]))
            for choice in range(params.n):
                logprob, top = _odds(byte, params.logprobs)
                if logprob is not None:
                    logprob += self.tilt * choice
                yield Token(choice, byte, text, bytes([byte]), logprob, top)
            written += 1
        for choice in range(params.n):
            text = held.decode("utf-8", "replace")
            is_ended = reason == "end_of_text" and params.logprobs is not None
            yield Ended(choice, reason, text=text, logprob=-0.25 if is_ended else None)
        yield self._finished(prompt, written * params.n)

    def _finished(self, prompt, written):
        return Finished(Usage(len(_bytes(prompt)), written, 0), Timings(1.0, 2.0, 3.0, 100.0))

    # ---- answers

    def tokenize(self, text, model=None):
        self._check(model)
        ids, offsets = [], []
        for place, char in enumerate(text):
            for byte in char.encode():
                ids.append(byte)
                offsets.append((place, place + 1))
        return Tokenized(ids, offsets)

    def detokenize(self, ids, model=None):
        self._check(model)
        if any(id > 255 for id in ids):
            raise InvalidParams("tokens", "tokens: the model has ids 0 to 255.")
        return bytes(ids).decode("utf-8", "replace")

    def pieces(self, ids, model=None):
        self._check(model)
        return [bytes([id]) if id < 256 else b"" for id in ids]

    def models(self):
        return ["fake", "other"]

    def info(self):
        self._check(None)
        return EngineInfo(
            models=[_model(name, self.cards.get(name)) for name in self.models()],
            threads=1,
            max_running=4,
            max_queue=4,
            max_wait=60.0,
            max_time=600.0,
        )

    def state(self):
        return self.condition

    def stats(self):
        self._check(None)
        return EngineStats(
            waiting=0,
            running=len(self._running),
            pages=10,
            pages_used=len(self._running),
            requests=len(self.completions),
            outcomes={"finished": len(self.completions) - len(self._running)},
            prompt_tokens=0,
            cached_tokens=0,
            completion_tokens=0,
            turns=0,
            busy_s=0.0,
            uptime_s=1.0,
            memory_bytes=2**20,
        )

    def close(self, grace=0.0):
        self.is_closed = True

    def _check(self, model):
        if self.condition.name != "ready":
            raise EngineStopped(self.condition.message)
        if model is not None and model not in self.models():
            raise UnknownModel(f"There is no model {model!r}; this server has fake and other.")


def _wait(event, stop):
    """Until `event`; False when stopped first."""
    while not event.wait(0.005):
        if stop.is_set():
            return False
    return not stop.is_set()


def _bytes(prompt):
    return prompt.encode() if isinstance(prompt, str) else bytes(prompt)


def _certain(data):
    """What of `data` is text for certain: all of it, or nothing while a character is cut."""
    try:
        return b"", data.decode()
    except UnicodeDecodeError:
        return data, ""


def _odds(byte, alternatives):
    if alternatives is None:
        return None, []
    ids = [(byte + i) % 256 for i in range(alternatives)]
    return -0.5, [TopToken(id, bytes([id]), -0.5 - i) for i, id in enumerate(ids)]


def _scored(prompt, alternatives):
    if alternatives is None:
        return None
    tokens = [PromptToken(b, bytes([b]), *_odds(b, alternatives)) for b in _bytes(prompt)]
    return [PromptToken(t.id, t.bytes, None if i == 0 else t.logprob, t.top)
            for i, t in enumerate(tokens)]  # fmt: skip


def _model(name, card):
    return ModelInfo(
        name=name,
        path=f"/models/{name}",
        about="Lullabies." if name == "fake" else "",
        backend="native",
        device="cpu",
        instruction_set="avx2",
        precision="int8",
        cache_precision="u8",
        notes=["Sings."],
        perplexity_loss=0.001,
        same_bits="always",
        n_positions=1024,
        vocab_size=256,
        n_layer=2,
        n_embd=64,
        n_head=4,
        n_parameters=100_000,
        bos_token_id=0,
        eos_token_ids=[0],
        cache_bytes=2**20,
        card=card,
    )
