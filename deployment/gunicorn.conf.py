"""How gunicorn serves Continuo; gunicorn.conf.py at the top loads it, `continuo serve` names it.

Threads, because a reader holds one for as long as the text comes. Every setting is CONTINUO_*, and
gunicorn's own command line goes over what stands here.

On SIGTERM the server drains before it stops: /readyz and new requests get 503, running streams go
on, for as long as CONTINUO_GRACE. A second SIGTERM, or that time's end, closes them with an error.
"""

import importlib
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

settings_module = importlib.import_module("app.settings")
try:
    settings = settings_module.read_settings()
    importlib.import_module("app.engine.process.launch").check_directory(settings.runtime)
except (settings_module.SettingsError, importlib.import_module("app.engine").EngineError) as error:
    sys.exit(f"Continuo: {error}")

host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
bind = f"{host}:{settings.port}"
workers = settings.workers
worker_class = "app.web.run.worker.Worker"
# A thread for each reader and each one waiting, and eight more for what is answered at once.
threads = settings.max_running + settings.max_queue + 8
# Beyond that, idle connections make room for new ones. Each is a file, and so is much else.
worker_connections = threads + 512
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_files = min(2 * worker_connections + 1024, _hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, _files), _hard))
graceful_timeout = int(settings.grace) + 1  # for a worker that is stopped by itself
keepalive = 75  # longer than a proxy keeps its own side
pythonpath = str(ROOT)
loglevel = "warning"
control_socket_disable = True

# Where the workers' counters meet, so that /metrics and limits are right whichever answers. What
# killed servers left behind goes; a SIGHUP reads this file again, and finds the folder by its name.
_started = Path("/proc/self/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
_counters = Path(tempfile.gettempdir()) / f"continuo-counters-{os.getpid()}-{_started}"
for _old in _counters.parent.glob("continuo-counters-*"):
    if not Path("/proc", _old.name.split("-")[2]).exists():
        shutil.rmtree(_old, ignore_errors=True)  # another user's stays
try:
    _counters.mkdir(mode=0o700, exist_ok=True)
    _is_ours = _counters.lstat().st_uid == os.getuid() and not _counters.is_symlink()
except OSError as error:
    sys.exit(
        f"Continuo: {_counters} cannot be made ({error.strerror}); set TMPDIR to a free folder."
    )
if not _is_ours:
    sys.exit(f"Continuo: {_counters} is somebody else's; set TMPDIR to a folder of your own.")
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_counters}"]
if settings.limit_storage == "memory://":
    raw_env.append(f"CONTINUO_LIMIT_STORAGE=sqlite://{_counters}/limits")

log = logging.getLogger("gunicorn.error")
WORKER_BOOT_ERROR = 3  # tells gunicorn to give up, not to try again


def on_starting(server):
    from gunicorn.workers.gthread import ThreadWorker

    from app.web import SharedStopping
    from app.web.guard.shares import Shares
    from app.web.run.worker import Worker

    log.addFilter(is_news)
    server.stopping, server.shares = SharedStopping(), Shares()
    if server.worker_class is ThreadWorker:  # by -k gthread or --threads on the command line
        server.worker_class = Worker


def when_ready(server):
    if settings.public:
        print(f"Public: {_what_is_open()}", file=sys.stderr, flush=True)
    addresses = [listener.sock.getsockname() for listener in server.LISTENERS]
    if not settings.api_keys and not all(_is_loopback(address) for address in addresses):
        log.warning(
            "LISTENING BEYOND THIS MACHINE WITHOUT A KEY: whoever reaches this address can use the "
            "server. Set CONTINUO_API_KEYS, or listen on 127.0.0.1."
        )
    signal.signal(signal.SIGTERM, lambda *_: _stop(server))


def pre_fork(server, worker):
    worker.stopping, worker.shares = server.stopping, server.shares


def post_worker_init(worker):
    log.addFilter(News())
    worker.stopping.count_in(worker.age)
    worker.shares.count_in(worker.age)
    service = worker.wsgi.extensions["continuo"]
    service.stopping, service.limits.shares = worker.stopping, worker.shares
    service.faults.share(_counters / "faults.jsonl")
    if worker.age == 1:
        threading.Thread(target=_announce, args=(worker, service), daemon=True).start()


def is_news(record):
    """A worker that cannot start has said why, which gunicorn's own three lines would only bury."""
    return not re.match(
        r"Worker \(pid:\d+\) exited with code 3|Shutting down: |Reason: Worker failed",
        record.getMessage(),
    )


class News(logging.Filter):
    """What is worth a line: no reader who was cut off after CONTINUO_PATIENCE, and of what is not
    HTTP, as scanners of ports send it, one in ten minutes."""

    SILENCE_S = 600

    def __init__(self):
        super().__init__()
        self._next, self._silenced = 0.0, 0

    def filter(self, record):
        if record.exc_info is not None and isinstance(record.exc_info[1], BlockingIOError):
            return False
        if not record.getMessage().startswith("Invalid request from"):
            return True
        if time.monotonic() < self._next:
            self._silenced += 1
            return False
        if self._silenced:
            record.msg = f"{record.getMessage()} ({self._silenced} more since the last such line)"
            record.args = ()
        self._next, self._silenced = time.monotonic() + self.SILENCE_S, 0
        return True


def worker_int(worker):
    worker.stopping.leave()  # Ctrl-C, or its code has changed: nobody waits


def child_exit(server, worker):
    from prometheus_client import multiprocess

    server.stopping.forget(worker.age)
    server.shares.forget(worker.age)
    multiprocess.mark_process_dead(worker.pid, _counters)


def worker_exit(server, worker):
    if os.getppid() != worker.ppid:  # the master was killed, and removes nothing any more
        shutil.rmtree(_counters, ignore_errors=True)


def on_exit(server):
    shutil.rmtree(_counters, ignore_errors=True)


def _what_is_open():
    who = "whoever has a key" if settings.api_keys else "anybody who knows the address"
    each = settings.limit_per_address or "as many continuations as they like"
    where = "any name" if "*" in settings.hosts else ", ".join(settings.hosts)
    return (
        f"{who} may write here, {each} for each address and {settings.running_per_address} at a "
        f"time, under {where}. X-Forwarded-For is believed from {settings.proxies} proxy in front; "
        "listen on 127.0.0.1 or let only that proxy reach this port."
    )


def _is_loopback(address):
    return isinstance(address, str) or address[0] == "::1" or address[0].startswith("127.")


def _announce(worker, service):
    """One line for whoever started this, once there is something to see."""
    while (state := service.engine.state()).name != "ready":
        if state.name == "failed":  # which has been logged
            os._exit(WORKER_BOOT_ERROR)  # a thread cannot leave for its process otherwise
        time.sleep(0.1)
    for listener in worker.sockets:
        print(f"Continuo writes at {listener}", file=sys.stderr, flush=True)


def _stop(server):
    """In a signal handler, so it only says so; a thread waits for the readers."""
    if server.stopping.is_draining:
        server.stopping.close()
        return
    server.stopping.drain()
    threading.Thread(target=_wait_and_stop, args=(server,), daemon=True).start()


def _wait_and_stop(server):
    end = time.monotonic() + settings.grace
    while server.stopping.running and not server.stopping.is_closing and time.monotonic() < end:
        time.sleep(0.05)
    server.stopping.close()
    end = time.monotonic() + 2  # for the last words to go out
    while server.stopping.running and time.monotonic() < end:
        time.sleep(0.05)
    server.SIG_QUEUE.put_nowait(signal.SIGTERM)  # gunicorn's own way from here
