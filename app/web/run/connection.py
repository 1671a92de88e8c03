"""A request's socket: whose it is, and how long it may stall."""

import ipaddress
import socket
import struct
from typing import Any


def socket_of(environ: dict[str, Any]) -> socket.socket | None:
    """The accepted socket, from gunicorn or werkzeug; None with a test client."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def limit_waiting(accepted: socket.socket, patience: float) -> None:
    """Let writing to a peer who does not read, or reading from one who does not send, fail after
    `patience` seconds. By the kernel: Python's own timeout costs another system call per write.
    """
    seconds, part = divmod(patience, 1)
    limit = struct.pack("ll", int(seconds), int(part * 1e6))
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def is_loopback(environ: dict[str, Any]) -> bool:
    """Whether the request arrived on a loopback address, which any web page here can reach.

    Judged by the accepted socket, or else by the peer, which then is on loopback too. A page
    reaches a Unix socket only through a proxy.
    """
    accepted = socket_of(environ)
    if accepted is None:
        return is_loopback_name(environ.get("REMOTE_ADDR", ""))
    return not _is_unix(accepted) and is_loopback_name(accepted.getsockname()[0])


def is_local(environ: dict[str, Any]) -> bool:
    """Whether this machine sent the request, or a proxy on it, which has its own guard."""
    accepted = socket_of(environ)
    return (accepted is not None and _is_unix(accepted)) or is_loopback(environ)


def _is_unix(accepted: socket.socket) -> bool:
    return accepted.family not in (socket.AF_INET, socket.AF_INET6)


def group_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which one host has to itself.

    "2001:db8:1:2:a:b:c:d" and "2001:db8:1:2::1" -> "2001:db8:1:2::/64"
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


def is_loopback_name(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (address if mapped is None else mapped).is_loopback
