"""A network of which no connection brings more than a few bytes.

Nothing limits how many interim answers (1xx) a receiver may send before its own: read as fast as
they come they would keep the event loop busy, and with it every pass of the operator.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

MOST_READ_BYTES = 32 * 1024
"""Of one connection, after TLS: the head of an answer."""
AT_ONCE_BYTES = 2 * 1024
"""Then others have their turn."""


class _Stream(httpcore.AsyncNetworkStream):
    """One connection, which ends as if it were closed when it has brought too much."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = MOST_READ_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise httpcore.ReadError("the answer is too long")
        await asyncio.sleep(0)
        data = await self._stream.read(min(max_bytes, AT_ONCE_BYTES), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        connected = await self._backend.connect_tcp(
            host, port, timeout, local_address, socket_options
        )
        return _Stream(connected)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class BoundedTransport(httpx.AsyncHTTPTransport):
    """One connection for each request, on this network."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted, max_keepalive_connections=0, network_backend=_Backend()
        )
