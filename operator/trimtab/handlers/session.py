"""kopf's connection to the API server, whose answers kopf parses itself.

What an object has too much of is taken out before kopf sees it (`cluster/bounded.py`), and whoever
asks for it is told of every list: kopf itself tells nobody that a watch began anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import kopf

from trimtab.cluster.bounded import bounded, read_answer
from trimtab.cluster.transport import load_configuration


class BoundedLines:
    """The content of an answer; what is read in chunks comes in whole lines, none too much."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield the content line by line, as kopf's reader of watches takes it."""
        buffer = bytearray()
        async for data in self._content.iter_chunked(size):
            buffer += data
            *lines, rest = buffer.split(b"\n") if b"\n" in data else [buffer]
            for line in lines:
                yield await bounded(bytes(line)) + b"\n"
            buffer = rest
        if buffer:
            yield await bounded(bytes(buffer))


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which nothing is too much for a parser."""

    async def start(self, connection: Any) -> BoundedResponse:
        """Begin to read the answer."""
        await super().start(connection)
        self.content = BoundedLines(self.content)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        """Return the JSON of the whole answer."""
        return await read_answer(await self.read())


def telling_response(on_list: Callable[[str], None]) -> type[BoundedResponse]:
    """Return a class of answers that calls `on_list` with the path when the last page is read."""

    class Response(BoundedResponse):
        async def json(self, **kopf: Any) -> Any:
            """Return the JSON of the whole answer."""
            answer = await super().json(**kopf)
            is_list = isinstance(answer, dict) and "items" in answer
            if is_list and not (answer.get("metadata") or {}).get("continue"):
                on_list(self.url.path)
            return answer

    return Response


async def login(on_list: Callable[[str], None], **_kopf: Any) -> kopf.AiohttpSession:
    """Log kopf in as the cluster port logs in: one source of credentials.

    on_list: called with the path of each list that kopf has read to its end.
    """
    configuration = await load_configuration()
    settings: Mapping[str, Any] = await configuration.auth_settings()
    authorization = next((str(e["value"]) for e in settings.values() if e["value"]), "")
    scheme, _, token = authorization.partition(" ")
    info = kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme or None,
        token=token or None,
    )
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        response_class=telling_response(on_list),
    )
    return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)
