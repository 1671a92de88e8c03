"""The socket at the other end of a request: whose it is, and whether anybody still holds it."""

import ipaddress
import select
import socket
from typing import Any

# The kernel says POLLRDHUP as soon as the peer has closed, even behind bytes nobody has read and
# under TLS. A client that only shuts down its writing half looks the same, and is taken for gone.
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


def socket_of(environ: dict[str, Any]) -> socket.socket | None:
    """The accepted socket, where the server tells: gunicorn and werkzeug do, a test client not."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


class Reader:
    def __init__(self, environ: dict[str, Any], patience: float) -> None:
        self._socket = socket_of(environ)
        self._poll = select.poll()
        if self._socket is not None:
            # From here on a write to a reader who does not read fails in the end.
            self._socket.settimeout(patience)
            self._poll.register(self._socket, _GONE)

    @property
    def is_gone(self) -> bool:
        return self._socket is not None and bool(self._poll.poll(0))


def is_loopback(environ: dict[str, Any]) -> bool:
    """Whether the request arrived on this machine's own address, which a web page can reach too.

    Judged by the accepted socket; without one by the peer, who is on loopback exactly then. A Unix
    socket no page reaches but through a proxy.
    """
    accepted = socket_of(environ)
    if accepted is None:
        return is_loopback_name(environ.get("REMOTE_ADDR", ""))
    return not _is_unix(accepted) and is_loopback_name(accepted.getsockname()[0])


def is_local(environ: dict[str, Any]) -> bool:
    """Whether only this machine can have sent it; or a proxy here, which has its own guard."""
    accepted = socket_of(environ)
    return (accepted is not None and _is_unix(accepted)) or is_loopback(environ)


def _is_unix(accepted: socket.socket) -> bool:
    return accepted.family not in (socket.AF_INET, socket.AF_INET6)


def is_loopback_name(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (address if mapped is None else mapped).is_loopback
