"""Bodies that were packed with gzip or deflate, unpacked within a bound.

Sources: RFC 9110, 8.4; RFC 1950 to 1952. Some write `deflate` without the zlib frame that belongs
to it; both are read. One stream a body: a body of many tiny ones would be slow to read.
"""

from __future__ import annotations

import zlib
from typing import Final

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.http.messages import Response, error_response

CODING: Final = b"content-encoding"
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_BARE: Final = -zlib.MAX_WBITS
_PLAIN: Final = frozenset((b"identity", b""))
_CODINGS: Final = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": _ZLIB}
_UNDERSTOOD: Final = b"accept-encoding: gzip, deflate\r\n"


def not_understood(coding: bytes) -> Response | None:
    """Return the refusal of a body in another coding than those that `unpacked` reads."""
    coding = coding.lower()
    if coding in _CODINGS or coding in _PLAIN:
        return None
    shown = coding[:80].decode("latin-1")
    message = f"content-encoding: {shown!r} is not understood; gzip and deflate are"
    return error_response(415, message, _UNDERSTOOD)


def unpacked(body: bytes, coding: bytes, most: int) -> bytes:
    """Return what `body` was before it was packed, at most `most` bytes.

    Nothing beyond that is unpacked: raises RequestInvalid with 413 where there would be more, and
    with 400 where the body is damaged, ends early, or has anything behind its end.
    """
    coding = coding.lower()
    if coding in _PLAIN:
        return body
    stream = zlib.decompressobj(_window(body, _CODINGS[coding]))
    try:
        content = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise RequestInvalid(f"the body: cannot be unpacked: {error}") from error
    if len(content) > most:
        raise RequestInvalid(f"the body is unpacked longer than {most} bytes", 413)
    if not stream.eof:
        raise RequestInvalid("the body: ends before what is packed in it")
    if stream.unused_data:
        raise RequestInvalid(f"the body: {len(stream.unused_data)} bytes after what is packed")
    return content


def _window(body: bytes, window: int) -> int:
    if window == _ZLIB and not (body[:1] and body[0] & 15 == 8 and _is_checked(body[:2])):
        return _BARE
    return window


def _is_checked(frame: bytes) -> bool:
    """Whether the first two bytes can begin a zlib frame: as a number they divide by 31."""
    return len(frame) == 2 and int.from_bytes(frame) % 31 == 0
