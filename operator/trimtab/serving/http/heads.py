"""What the head of a request says about its target, its host, its body and its caller."""

from __future__ import annotations

import re
from typing import Final

VERSIONS: Final = frozenset(("1.1", "1.0"))
LONGEST_ID: Final = 128
LONGEST_PLAIN_HEAD: Final = 4096
MOST_KNOWN: Final = 256
_LENGTH: Final = b"\r\ncontent-length: "
_HOSTED: Final = b"\r\nhost: "
_MOST_DIGITS: Final = 18
_MARK: Final = b"ength: "
_UNUSUAL: Final = (
    *(b"transfer-encoding", b"content-encoding", b"\r\nexpect", b"\r\nupgrade"),
    *(b"\r\nx-request-id", b"\r\ntraceparent"),  # an answer repeats them
    *(b"\r\n ", b"\r\n\t", b"\0"),
)
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")
_ID: Final = re.compile(rb"[!-~]{1,%d}" % LONGEST_ID)
_TRACE: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)


def is_host(value: bytes) -> bool:
    """Whether `value` can be one host with or without a port; an empty one is allowed."""
    return _HOST.fullmatch(value) is not None


class PlainHeads:
    """Requests to some targets that can be refused without parsing them.

    Plain is one whole request of which nobody could think otherwise: one length, one host, no
    transfer coding, nothing expected, kept alive, lines that end as they should. Clients send the
    same head again and again, but for the length. So what was found plain is remembered without it.
    """

    def __init__(self, targets: tuple[str, ...]) -> None:
        self._starts = tuple(f"POST {target} HTTP/1.1\r\n".encode() for target in targets)
        self._known: set[tuple[bytes, bytes]] = set()

    def size(self, data: bytes) -> int:
        """Return the length of the body where `data` is a plain request; -1 otherwise."""
        end = data.find(b"\r\n\r\n", 0, LONGEST_PLAIN_HEAD)
        at = data.find(_MARK, 0, end) + len(_MARK)
        stop = data.find(b"\r\n", at, end + 2)
        digits = data[at:stop]
        if end < 0 or at < len(_MARK) or not digits.isdigit() or len(digits) > _MOST_DIGITS:
            return -1
        size = int(digits)
        if len(data) - end - 4 != size:
            return -1
        key = (data[:at], data[stop:end])
        if key not in self._known:
            if not data.startswith(self._starts) or not _is_plain(data[: end + 2].lower(), at):
                return -1
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known.add(key)
        return size


def _is_plain(head: bytes, at: int) -> bool:
    """Whether it is, and its body's length begins at `at`."""
    if not head.endswith(_LENGTH, 0, at) or head.count(_LENGTH[:-2]) != 1:
        return False
    if any(word in head for word in _UNUSUAL):
        return False
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        return False
    connections = head.count(b"\r\nconnection")
    if connections != head.count(b"\r\nconnection: keep-alive\r\n"):
        return False
    host = head.find(_HOSTED)
    if host < 0 or head.count(_HOSTED[:-2]) != 1:
        return False
    host += len(_HOSTED)
    return is_host(head[host : head.index(b"\r\n", host)])


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
