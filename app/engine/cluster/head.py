"""Whether a cluster's head takes connections, which the network alone tells.

Ray must not be asked while its head is away: it waits for a minute, lets no other thread run
meanwhile, and then ends the process.
"""

import socket

from ray._private.services import canonicalize_bootstrap_address

TIMEOUT_S = 1.0


def find_head() -> str | None:
    """host:port, as ray.init() finds it: by RAY_ADDRESS, or as the cluster of this machine."""
    return canonicalize_bootstrap_address("auto")


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False
