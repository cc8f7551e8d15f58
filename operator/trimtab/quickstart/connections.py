"""Keep-alive HTTP/1.1 connections to one Service, as a plain client pool keeps them.

Requests take connections in turn, so that every one is used and the pods behind the Service share
the load. A connection that the server closed while it lay idle is replaced before use; one that
closes before the first byte of an answer is tried once more on a fresh one, and counted, which is
what HTTP clients do (RFC 9110 §9.2.2 allows it where no answer had begun).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LARGEST_HEAD: Final = 65_536


class NoAnswer(Exception):
    """The request was not answered: refused, cut off, or not in time."""


class NotSent(NoAnswer):
    """No connection was free in time: the request never left, so that nobody lost it."""


@dataclass(slots=True)
class Answer:
    """Status, body, and whether it took a second connection."""

    status: int
    body: bytes
    retried: bool = False


class _Stale(ConnectionError):
    """The connection was closed before any byte of the answer."""


class Connections:
    """At most `limit` connections to `url` (http only).

    With `stay_seconds` each is closed after about that long, as users come and go; without, only
    the server ends them.
    """

    def __init__(
        self,
        url: str,
        limit: int,
        timeout_seconds: float = 30.0,
        stay_seconds: float | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url}: http://host[:port] is wanted")
        self._host, self._port = parts.hostname, parts.port or 80
        self._authority = parts.netloc
        self._timeout_seconds = timeout_seconds
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._free = asyncio.Semaphore(limit)
        self._limit, self._open = limit, 0
        self._stay_seconds = stay_seconds
        self._leaves: dict[asyncio.StreamWriter, float] = {}

    async def post(self, path: str, body: bytes) -> Answer:
        """Send one request and return its answer; raise NoAnswer, or NotSent."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._authority}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self._wait_for_a_connection()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(head.encode() + body)
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._timeout_seconds:g} s") from error
        except (OSError, EOFError, ValueError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        finally:
            self._free.release()

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            writer = self._idle.popleft()[1]
            self._drop(writer)
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _wait_for_a_connection(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise NotSent(f"no connection was free for {self._timeout_seconds:g} s") from error

    async def _post(self, message: bytes) -> Answer:
        reused = self._take()
        if reused is not None:
            try:
                return await self._exchange(*reused, message)
            except _Stale:
                answer = await self._exchange(*await self._connect(), message)
                answer.retried = True
                return answer
        return await self._exchange(*await self._connect(), message)

    def _take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        if self._open < self._limit:
            return None  # until all are open, so that the pods share the load
        while self._idle:
            reader, writer = self._idle.popleft()
            is_open = not reader.at_eof() and not writer.is_closing()
            if is_open and time.monotonic() < self._leaves[writer]:
                return reader, writer
            self._drop(writer)
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opened = await asyncio.open_connection(self._host, self._port)
        self._open += 1
        stay = math.inf if self._stay_seconds is None else self._stay_seconds
        self._leaves[opened[1]] = time.monotonic() + stay * random.uniform(0.5, 1.5)
        return opened

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
    ) -> Answer:
        is_kept = False
        try:
            writer.write(message)
            try:
                await writer.drain()
                first = await reader.readline()
            except ConnectionError as error:
                raise _Stale(str(error)) from error
            if not first:
                raise _Stale("closed")
            status, headers = _status(first), await _headers(reader)
            body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
            is_kept = headers.get(b"connection", b"").lower() != b"close"
            return Answer(status, body)
        finally:
            if is_kept:
                self._idle.append((reader, writer))
            else:
                self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._open -= 1
        self._leaves.pop(writer, None)
        writer.close()


def _status(line: bytes) -> int:
    protocol, _, rest = line.partition(b" ")
    if not protocol.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise ValueError(f"no HTTP answer: {line[:40]!r}")
    return int(rest[:3])


async def _headers(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    size = 0
    while (line := await reader.readline()) not in (b"\r\n", b"\n"):
        size += len(line)
        if not line or size > _LARGEST_HEAD:
            raise EOFError("the answer's head was cut off")
        name, _, value = line.partition(b":")
        found[name.strip().lower()] = value.strip()
    return found
