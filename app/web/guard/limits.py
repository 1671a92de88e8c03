"""Limits for each key and each address: continuations in a time, and at a time.

Only writing counts: a list of 128 prompts counts as 128, times n. Counting tokens, following a
request and ending it are free. What gives way to others is counted apart, within the same limits,
so that a page that guesses ahead takes nothing from what its writer asks for.
"""

import importlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import g, request

from ..errors import Problem, bad_value
from ..options import WebOptions
from ..run.connection import group_of, is_loopback_name
from .shares import Shares

if TYPE_CHECKING:
    from limits import RateLimitItem


class Limits:
    """One app's limits: the rates, counted in limit_storage, and the shares of what runs."""

    def __init__(self, options: WebOptions) -> None:
        self.shares = Shares()  # whoever starts the server may put a shared one here
        self._most = (options.running_per_key, options.running_per_address)
        self._rates: list[tuple[RateLimitItem, str, Callable[[], str | None]]] = []
        wanted = (
            ("limit_per_key", options.limit_per_key, key),
            ("limit_per_address", options.limit_per_address, address),
        )
        if any(rate is not None for _, rate, _ in wanted):
            limits = importlib.import_module("limits")  # a slow import that few need
            importlib.import_module(".tally", __package__)  # registers sqlite://
            storage = limits.storage.storage_from_string(options.limit_storage)
            self._counter = limits.strategies.FixedWindowRateLimiter(storage)
            for name, rate, who in wanted:
                items = [] if rate is None else limits.parse_many(rate)
                self._rates += [(item, name, who) for item in items]

    def charge(self, cost: int, gives_way: bool = False) -> None:
        """Count a request's continuations against the rates; raises a Problem if too many."""
        counted = [(item, name, _account(who(), gives_way)) for item, name, who in self._rates]
        for item, name, whose in counted:
            if whose is None:
                continue
            if cost > item.amount:
                raise bad_value(
                    "prompt", f"This asks for {cost} continuations; {name} allows {item} in all."
                )
            if not self._counter.test(item, name, whose, cost=cost):
                reset = self._counter.get_window_stats(item, name, whose).reset_time
                wait = max(1.0, reset - time.time())
                message = f"More than {item} is not allowed; try again in {wait:.0f} s."
                raise Problem(429, "rate_limit", message, retry_after=wait)
        for item, name, whose in counted:
            if whose is not None:
                self._counter.hit(item, name, whose, cost=cost)

    def take_share(self, n: int, gives_way: bool = False) -> Callable[[], None]:
        """Count n continuations as running until the returned function is called.

        Raises TooMany if this key or address has as many running as it may.
        """
        taken: list[str] = []

        def give_back() -> None:
            while taken:
                self.shares.give_back(taken.pop(), n)

        for who, most, kind in zip((key, remote), self._most, ("key", "address"), strict=True):
            whose = _account(who(), gives_way)
            if whose is None or most is None:
                continue
            if not self.shares.take(f"{kind} {whose}", n, most):
                give_back()
                raise TooMany(kind, most)
            taken.append(f"{kind} {whose}")
        return give_back


def _account(whose: str | None, gives_way: bool) -> str | None:
    return f"{whose}, giving way" if whose is not None and gives_way else whose


class TooMany(Problem):
    def __init__(self, kind: str, most: int) -> None:
        super().__init__(
            429,
            "rate_limit",
            f"This {kind} already has {most} continuations running or waiting, the most it may "
            "have; try again when one has ended.",
            retry_after=2.0,
        )


def key() -> str | None:
    return g.get("key")


def address() -> str:
    return group_of(request.remote_addr or "nowhere")


def remote() -> str | None:
    """The address; None for this machine itself, which has no limit."""
    return None if is_loopback_name(request.remote_addr or "") else address()
