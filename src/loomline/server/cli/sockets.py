"""The listening socket, bound before anything slow happens."""

from __future__ import annotations

import errno
import socket

from loomline.server.settings import SettingsError

_REASONS = {
    errno.EADDRINUSE: "the port is in use. Stop the other program, or choose another --port",
    errno.EACCES: "the port needs more rights than this user has. Choose a --port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address. Check --host",
}


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet.

    Raises:
        SettingsError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise SettingsError(f"Cannot listen on {host}, port {port}: {reason}.") from None
    return bound


def url(bound: socket.socket) -> str:
    """Return the address for people."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if bound.family == socket.AF_INET6 else host
    return f"http://{shown}:{port}"
