"""A network of which no connection brings more than a few bytes, and no name holds up others.

Nothing limits how many interim answers (1xx) a receiver may send before its own, nor how long it
greets when TLS begins: read as fast as they come they would keep the event loop busy, and with it
every pass of the operator. And nothing ends a look-up of a name that nobody answers: in the threads
that all parts share a few of them would keep the operator from reading what the API server says.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, zip_longest
from typing import Any

import anyio
import httpcore
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream

MOST_READ_BYTES = 32 * 1024
"""Of one connection, after TLS: the head of an answer."""
MOST_RAW_BYTES = 256 * 1024
"""Of one connection as it comes: with what TLS says before, which need not end either."""
AT_ONCE_BYTES = 2 * 1024
"""Then others have their turn."""
MOST_ADDRESSES = 4
ADDRESS_WITHIN_SECONDS = 3.0
"""Before the next address of a name is tried."""
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class _Wire(ByteStream):
    """One connection as it comes, which breaks when it has brought too much."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = MOST_RAW_BYTES

    async def receive(self, max_bytes: int = AT_ONCE_BYTES) -> bytes:
        if self._left <= 0:
            raise anyio.BrokenResourceError
        await asyncio.sleep(0)
        data = await self._stream.receive(min(max_bytes, AT_ONCE_BYTES))
        self._left -= len(data)
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes


class _Stream(httpcore.AsyncNetworkStream):
    """What is read of a connection, with TLS or without; at most the head of an answer.

    There are no timeouts here: one limit is over the whole try.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = MOST_READ_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise httpcore.ReadError("the answer is too long")
        await asyncio.sleep(0)
        try:
            data = await self._stream.receive(min(max_bytes, AT_ONCE_BYTES))
        except anyio.EndOfStream:
            return b""
        except (*_BROKEN, ssl.SSLError) as error:
            raise httpcore.ReadError("the connection broke") from error
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            if buffer:
                await self._stream.send(buffer)
        except (*_BROKEN, ssl.SSLError) as error:
            raise httpcore.WriteError("the connection broke") from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            secured = await TLSStream.wrap(
                self._stream,
                ssl_context=ssl_context,
                hostname=server_hostname,
                standard_compatible=False,
                server_side=False,
            )
        except (*_BROKEN, anyio.EndOfStream, ssl.SSLError) as error:
            await self.aclose()
            raise httpcore.ConnectError("no connection by TLS") from error
        except BaseException:
            await self.aclose()
            raise
        return _Stream(secured)

    def get_extra_info(self, info: str) -> Any:
        """Return the object of TLS: all that is asked for of a connection that is used once."""
        return self._stream.extra(TLSAttribute.ssl_object, None) if info == "ssl_object" else None


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._names = ThreadPoolExecutor(1, thread_name_prefix="names")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception = httpcore.ConnectError("the name has no address")
        for address in await self._addresses(host, port):
            try:
                async with asyncio.timeout(ADDRESS_WITHIN_SECONDS):
                    connected = await anyio.connect_tcp(address, port)
            except OSError as failed:  # TimeoutError is one
                error = failed
            else:
                return _Stream(_Wire(connected))
        raise httpcore.ConnectError("no address can be reached") from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._names, look_up)
        except OSError as error:
            raise httpcore.ConnectError("the name is not known") from error
        return _mixed([(family, str(address[0])) for family, *_, address in found])

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Begin no further look-up; one that hangs ends by itself."""
        self._names.shutdown(wait=False, cancel_futures=True)


def _mixed(found: Sequence[tuple[int, str]]) -> list[str]:
    """Return some addresses, of each family in turn: one family may lead nowhere."""
    families = dict.fromkeys(family for family, _ in found)
    columns = [[address for of, address in found if of == family] for family in families]
    rows = chain.from_iterable(zip_longest(*columns))
    return list(dict.fromkeys(address for address in rows if address))[:MOST_ADDRESSES]


class BoundedTransport(httpx.AsyncHTTPTransport):
    """One connection for each request, on this network."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted)
        self._network = _Backend()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted, max_keepalive_connections=0, network_backend=self._network
        )

    async def aclose(self) -> None:
        """Close all connections."""
        self._network.close()
        await super().aclose()
