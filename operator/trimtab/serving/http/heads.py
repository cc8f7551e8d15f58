"""What the head of a request says about its target, its host, its body and its caller."""

from __future__ import annotations

import re
from typing import Final

VERSIONS: Final = frozenset(("1.1", "1.0"))
LONGEST_ID: Final = 128
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")
_ID: Final = re.compile(rb"[!-~]{1,%d}" % LONGEST_ID)
_TRACE: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)


def is_host(value: bytes) -> bool:
    """Whether `value` can be one host with or without a port; an empty one is allowed."""
    return _HOST.fullmatch(value) is not None


def request_id_of(value: bytes) -> bytes:
    """Return an X-Request-Id that may be repeated: printable and not long. Otherwise nothing."""
    return value if _ID.fullmatch(value) else b""


def traceparent_of(value: bytes) -> bytes:
    """Return a valid `traceparent` as version 00 has it; nothing where it is none.

    Of later versions the part that they share is kept. Source: W3C Trace Context, level 1.
    """
    found = _TRACE.fullmatch(value)
    if found is None or (found[1] == b"00" and found[3] is not None):
        return b""
    return b"00" + found[2]


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
