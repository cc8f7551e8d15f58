"""The body of an answer over HTTP: as it came over the wire, and of bounded size.

We ask for no encoding, and none is taken: a few bytes of gzip, stacked, unpack to any size.
"""

import asyncio
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from trimtab.telemetry.port import NoData, NoDataReason

PLAIN = {"accept-encoding": "identity"}
"""To be sent with each request whose answer is read here."""
CHUNKS_AT_ONCE = 64
"""Then others have their turn: an answer can come in millions of chunks of one byte."""
UNREADABLE = (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError, ExceptionGroup)
"""What a request raises for a peer, or a URL, that does not keep to HTTP. A redirect is followed by
nobody, but httpx builds its request, and a host that is no name is a ValueError; a port that is no
port is an OverflowError in a group of one for each address."""


def no_cookies() -> CookieJar:
    """Return a jar that takes nothing: what one peer sets must not reach, or slow, another."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


async def read_body(response: httpx.Response, limit: int) -> bytes | NoData:
    """Return the bytes of a streamed response, at most `limit` of them.

    What says that it is longer, or encoded, is refused before any of it is read.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        return _down(
            f"the answer is compressed ({encoding[:40]}), and only plain text is read: "
            "turn compression off there"
        )
    declared = response.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and _exceeds(declared, limit):
        return _down(f"more than {limit} bytes")
    body = bytearray()
    chunks = 0
    async for chunk in response.aiter_raw():
        chunks += 1
        if chunks % CHUNKS_AT_ONCE == 0:
            await asyncio.sleep(0)
        if len(body) + len(chunk) > limit:
            return _down(f"more than {limit} bytes")
        body += chunk
    return bytes(body)


def _exceeds(digits: str, limit: int) -> bool:
    """Compare without making a number of thousands of digits."""
    return len(digits) > 18 or int(digits) > limit


def _down(detail: str) -> NoData:
    return NoData(NoDataReason.BACKEND_DOWN, detail)
