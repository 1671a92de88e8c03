"""Whether a cluster's head accepts connections, and whether this machine is a node; without Ray.

Calling Ray while its head is away blocks all threads for a minute and then ends the process.
Without a node on this machine it waits for a minute too.
"""

import socket

from ray._private.services import canonicalize_bootstrap_address, find_node_ids

TIMEOUT_S = 1.0


def find_head() -> str | None:
    """host:port, as ray.init() finds it: from RAY_ADDRESS, or the cluster on this machine."""
    return canonicalize_bootstrap_address("auto")


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False


def has_node_here() -> bool:
    """A process joins a cluster through a node on its own machine."""
    return bool(find_node_ids())
