"""Count limits in a small SQLite file, for several workers.

Importing this registers sqlite:///path with the limits library. Knows no request.
"""

import contextlib
import math
import sqlite3
import time
from typing import Any

from limits.storage import Storage

PURGE_S = 60.0  # between removals of expired counts

_TABLE = "CREATE TABLE IF NOT EXISTS tally (key TEXT PRIMARY KEY, count INTEGER, until REAL)"
# One statement, since workers race: an expired count starts again.
_COUNT = """
INSERT INTO tally VALUES (:key, :amount, :now + :expiry)
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN until > :now THEN count + :amount ELSE :amount END,
    until = CASE WHEN until > :now THEN until ELSE :now + :expiry END
RETURNING count
"""


class SQLiteStorage(Storage):
    STORAGE_SCHEME = ["sqlite"]

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._path = uri.removeprefix("sqlite://")
        self._next_purge = math.inf  # once the table exists
        self._ask(_TABLE)
        self._next_purge = 0.0

    @property
    def base_exceptions(self) -> type[Exception]:
        return sqlite3.Error

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        values = {"key": key, "amount": amount, "expiry": expiry, "now": time.time()}
        return (self._ask(_COUNT, values) or (0,))[0]

    def get(self, key: str) -> int:
        query = "SELECT count FROM tally WHERE key = ? AND until > ?"
        return (self._ask(query, (key, time.time())) or (0,))[0]

    def get_expiry(self, key: str) -> float:
        return (self._ask("SELECT until FROM tally WHERE key = ?", (key,)) or (time.time(),))[0]

    def check(self) -> bool:
        return self._ask("SELECT 1") == (1,)

    def reset(self) -> None:
        self._ask("DELETE FROM tally")

    def clear(self, key: str) -> None:
        self._ask("DELETE FROM tally WHERE key = ?", (key,))

    def _ask(self, query: str, values: Any = ()) -> tuple[Any, ...] | None:
        """One connection for each statement: cheap, and shared by no thread or fork."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=5)) as connection, connection:
            # Losing a count at a power cut does no harm.
            connection.execute("PRAGMA synchronous = OFF")
            if time.time() > self._next_purge:
                connection.execute("DELETE FROM tally WHERE until < ?", (time.time(),))
                self._next_purge = time.time() + PURGE_S
            return connection.execute(query, values).fetchone()
