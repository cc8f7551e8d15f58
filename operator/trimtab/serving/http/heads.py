"""What the head of a request says about its target, its host and its body."""

from __future__ import annotations

import re
from typing import Final

_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")


def is_host(value: bytes) -> bool:
    """Whether `value` can be one host with or without a port; an empty one is allowed."""
    return _HOST.fullmatch(value) is not None


def framing_of(headers: dict[bytes, bytes]) -> bytes:
    """Return the end of a head that announces the same body; nothing where there is none."""
    if b"transfer-encoding" in headers:
        return b"transfer-encoding: %b\r\n\r\n" % headers[b"transfer-encoding"]
    length = int(headers.get(b"content-length", b"0"))
    return b"content-length: %d\r\n\r\n" % length if length else b""


def path_of(target: str) -> str:
    """Return the path of a request target; one with scheme and host is allowed, too."""
    path = target.partition("?")[0]
    if path.startswith("/"):
        return path
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        return "/" + rest.partition("/")[2]
    return path
