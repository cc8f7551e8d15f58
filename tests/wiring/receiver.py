"""A receiver of notifications on loopback, which misbehaves as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

MOST_SENT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Misbehaviour: TypeAlias = Callable[
    ["MisbehavingReceiver", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]
]


@dataclass
class MisbehavingReceiver:
    """Plain sockets, so that it can break HTTP, too."""

    answer: Misbehaviour = field(default_factory=lambda: status(200))
    tls: ssl.SSLContext | None = None
    got: list[Got] = field(default_factory=list)
    sent_bytes: int = 0
    """Of endless answers."""

    async def open(self) -> str:
        """Listen, on the same port each time; return the URL."""
        port = getattr(self, "_port", 0)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self.tls)
        self._port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[Any]] = set()
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                if self.answer is not endless_greeting:
                    self.got.append(await read_request(reader))
                await self.answer(self, reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    def ids(self) -> list[str]:
        """Return the ids of all requests."""
        return [got.headers["webhook-id"] for got in self.got]


async def read_request(reader: asyncio.StreamReader) -> Got:
    """Read a request as httpx sends it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in headers.items()}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(head[0].split(" ")[1], headers, body)


def status(code: int, *headers: str) -> Misbehaviour:
    """Answer with this status."""

    async def answer(
        receiver: MisbehavingReceiver, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines = [f"HTTP/1.1 {code} Said", "content-length: 0", "connection: close", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()

    return answer


async def silent(
    _: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Read the request and answer nothing, as one that takes a minute."""
    await reader.read()


async def cut(
    _: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Cut the connection without an answer."""
    writer.transport.abort()


async def half_a_head(
    _: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Begin a head, and cut."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
    await writer.drain()
    writer.transport.abort()


async def garbage(
    _: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Speak something else."""
    writer.write(b"\x00\xff220 smtp.example.com ESMTP\r\n\r\n")
    await writer.drain()


async def endless_head(
    receiver: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send headers without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _send(receiver, writer, b"x-more: " + b"x" * 8000 + b"\r\n")


async def endless_interim(
    receiver: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send interim answers without an end."""
    await _send(receiver, writer, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000)


async def endless_greeting(
    receiver: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Begin TLS with messages that mean nothing (HelloRequest), without an end."""
    await _send(receiver, writer, b"\x16\x03\x03\x40\x00" + b"\0" * 0x4000)


async def endless_body(
    receiver: MisbehavingReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer with success, and a body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await _send(receiver, writer, b"4000\r\n" + b"x" * 0x4000 + b"\r\n")


async def _send(receiver: MisbehavingReceiver, writer: asyncio.StreamWriter, piece: bytes) -> None:
    while receiver.sent_bytes < MOST_SENT:
        writer.write(piece)
        receiver.sent_bytes += len(piece)
        await writer.drain()
