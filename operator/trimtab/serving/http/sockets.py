"""Sockets: listening on both families, and a goodbye that loses no request."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

log = logging.getLogger(__name__)

BACKLOG: Final = 2048


def say_goodbye(transport: asyncio.Transport) -> bool:
    """Tell the peer at once that nothing more comes; False when it has sent something.

    A transport closes its socket only after what else the loop has to do, and each request that
    comes in between would be lost.
    """
    descriptor = transport.get_extra_info("socket").fileno()
    unread = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
    if struct.unpack("i", unread)[0] > 0:
        return False
    with socket.socket(fileno=os.dup(descriptor)) as peer, suppress(OSError):
        peer.shutdown(socket.SHUT_WR)
    return True


def listening_socket(host: str | None, port: int) -> socket.socket:
    """Return a listening socket, for both families where the pod has IPv6."""
    if host is None and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            log.info("IPv6 is not to be had: %s", error)
    family = socket.AF_INET6 if host is not None and ":" in host else socket.AF_INET
    return socket.create_server((host or "", port), family=family, backlog=BACKLOG)
