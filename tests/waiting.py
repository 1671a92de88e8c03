"""Waiting for what no event tells."""

import time


def wait_until(holds, seconds=60):
    """The first true answer of `holds`, asked with rests: what it waits for may need the core."""
    until = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < until, f"it did not become true within {seconds} s"
        time.sleep(0.02)
    return answer
