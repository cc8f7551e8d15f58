"""Answers of a function as if they came over a wire: in a stream that is read once."""

from collections.abc import AsyncIterator

import httpx


class Wire(httpx.MockTransport):
    """`httpx.MockTransport` hands over bodies that are read already, which no server does."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ready = await super().handle_async_request(request)
        return httpx.Response(ready.status_code, headers=ready.headers, stream=_Once(ready.content))


class _Once(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
