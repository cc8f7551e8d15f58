"""Files below one https host: GET and nothing else, one answer, from the host that was named.

A redirect is an error, since whoever may name a URI would else choose where it leads. Bytes are
taken as they come: no encoding is asked for, and one that comes all the same does not match its
hash. What a server does not send within the time ends the request, however slowly it sends.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 30.0
_TRIES: Final = 5
_CHUNK_BYTES: Final = 1 << 18
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "trimtab"}


class HttpsFiles:
    """Raises FileNotFoundError, PermissionError or OSError, as a folder on a disk does."""

    def __init__(self, host: str, within: timedelta) -> None:
        """host: with its port, if it has one. within: of a whole request. Contacts nothing."""
        self._host = host
        self._seconds = within.total_seconds()

    def head(self, key: str) -> tuple[int, datetime]:
        """Return the length in bytes and the time of the last change."""
        answer = self._answer("HEAD", key, 0)
        try:
            return _length(answer), _modified(answer)
        finally:
            answer.close()

    def read(self, key: str, offset: int = 0) -> tuple[int, Iterator[bytes]]:
        """Return the length of the whole file, and its bytes from `offset` on."""
        answer = self._answer("GET", key, offset)
        if offset and answer.status != 206:
            answer.close()
            raise OSError("the server cannot go on in the middle of a file")
        return offset + _length(answer), _chunks(answer)

    def _answer(self, method: str, key: str, offset: int) -> HTTPResponse:
        """Try again where the server failed or did not answer."""
        end = time.monotonic() + self._seconds
        for attempt in range(1, _TRIES + 1):
            wait = 0.2 * 2 ** (attempt - 1)
            try:
                answer = self._ask(method, key, offset, end)
            except HTTPException as broken:
                error = OSError(f"{type(broken).__name__} {broken}")
            except ssl.SSLCertVerificationError:
                raise
            except OSError as failed:
                error = failed
            else:
                if answer.status < 500 and answer.status != 429:
                    return _checked(answer)
                answer.close()
                error = OSError(f"HTTP {answer.status}")
            if attempt == _TRIES or time.monotonic() + wait >= end:
                raise error
            time.sleep(wait)
        raise AssertionError("unreachable")

    def _ask(self, method: str, key: str, offset: int, end: float) -> HTTPResponse:
        connection = self._connection()
        connection.response_class = _bounded(end)
        headers = {**_HEADERS, "Connection": "close"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            connection.connect()
            connection.request(method, f"/{quote(key)}", headers=headers)
            sock = connection.sock
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        sock.close()  # the answer reads on from it, and ends it when it is closed
        return answer

    def _connection(self) -> HTTPSConnection:
        context = ssl.create_default_context()
        host, _, port = self._host.partition(":")
        proxy = urlsplit(getproxies().get("https", ""))
        if not proxy.hostname or proxy_bypass(host):
            return HTTPSConnection(self._host, timeout=CONNECT_SECONDS, context=context)
        tunnel = HTTPSConnection(
            proxy.hostname, proxy.port or 80, timeout=CONNECT_SECONDS, context=context
        )
        login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}"
        basic = f"Basic {b64encode(login.encode()).decode()}"
        tunnel.set_tunnel(
            host, int(port or 443), {"Proxy-Authorization": basic} if proxy.username else None
        )
        return tunnel


class _Bounded(io.RawIOBase):
    """A socket that is read until a time, whatever it sends in between."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._file = sock.makefile("rb", buffering=0)
        self._sock = sock
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(min(left, SILENCE_SECONDS))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _bounded(end: float) -> type[HTTPResponse]:
    class Response(HTTPResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
            super().__init__(sock, *arguments, **named)
            self.fp.close()
            self.fp = io.BufferedReader(_Bounded(sock, end))

    return Response


def _checked(answer: HTTPResponse) -> HTTPResponse:
    status = answer.status
    if status in (200, 206) and answer.getheader("Content-Encoding", "identity") == "identity":
        return answer
    answer.close()
    if status in (404, 410):
        raise FileNotFoundError(f"HTTP {status}")
    if status in (401, 403):
        raise PermissionError(f"HTTP {status}")
    if 300 <= status < 400:
        raise OSError(f"HTTP {status}: redirects are not followed; name the final address")
    raise OSError(f"HTTP {status}" if status >= 400 else "the file is sent compressed")


def _length(answer: HTTPResponse) -> int:
    text = answer.getheader("Content-Length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        answer.close()
        raise OSError("the server does not say how long the file is")
    return int(text)


def _modified(answer: HTTPResponse) -> datetime:
    try:
        return parsedate_to_datetime(answer.getheader("Last-Modified", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(_CHUNK_BYTES):
            yield chunk
        if answer.length:
            raise OSError(f"the connection ended {answer.length:,} bytes early")
    except HTTPException as error:
        raise OSError(f"{type(error).__name__} {error}") from error
    finally:
        answer.close()
