"""Whether a cluster's head takes connections, which the network alone tells, and whether this
machine is a node.

Ray must not be asked while its head is away: it waits for a minute, lets no other thread run
meanwhile, and then ends the process. Without a node here it waits for a minute too.
"""

import socket

from ray._private.services import canonicalize_bootstrap_address, find_node_ids

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


def has_node_here() -> bool:
    """A process joins a cluster through a node of its own machine."""
    return bool(find_node_ids())
