"""A small HTTP port to turn the dials of a running load and to read what the users saw.

GET  /stats?seconds=30   {"total": {...}, "seconds": [...], "dials": {...}}
POST /control            {"rotate": "10:15", "rate": 50, "labels": 1.0, "paused": false}
GET  /healthz
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trimtab.quickstart.load import Load

_LARGEST_BODY = 65_536


async def serve_control(load: Load, host: str, port: int) -> asyncio.Server:
    """Listen until the server is closed; each connection carries one request."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                status, content = _answer(load, *await _read(reader))
            body = (json.dumps(content) + "\n").encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (OSError, EOFError, TimeoutError, ValueError):
            return  # the caller left or spoke no HTTP
        finally:
            writer.close()

    return await asyncio.start_server(handle, host, port)


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    method, target, _ = (await reader.readline()).decode().split(" ", 2)
    size, is_chunked = 0, False
    while (line := await reader.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            size = min(int(value), _LARGEST_BODY)
        elif name.strip().lower() == b"transfer-encoding":
            is_chunked = b"chunked" in value.lower()
    body = await _chunks(reader) if is_chunked else await reader.readexactly(size)
    return method, target, body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Return a body in chunks, as `kubectl create --raw` sends it."""
    body = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        if len(body) + size > _LARGEST_BODY:
            raise ValueError("the body is too long")
        body += await reader.readexactly(size)
        await reader.readline()
    return body


def _answer(load: Load, method: str, target: str, body: bytes) -> tuple[str, dict[str, Any]]:
    parts = urlsplit(target)
    if (method, parts.path) == ("GET", "/healthz"):
        return "200 OK", {"live": True}
    if (method, parts.path) == ("GET", "/stats"):
        wanted = parse_qs(parts.query).get("seconds", ["10"])[0]
        seconds = int(wanted) if wanted.isdigit() else 10
        return "200 OK", {
            "total": load.record.total.to_json(),
            "seconds": load.record.last(seconds),
            "dials": load.dials.to_json(),
        }
    if (method, parts.path) == ("POST", "/control"):
        try:
            changes = json.loads(body or b"{}")
            if not isinstance(changes, dict):
                raise ValueError("an object is wanted")
            load.dials.turn(changes)
        except (ValueError, TypeError) as error:
            return "400 Bad Request", {"error": str(error)}
        return "200 OK", load.dials.to_json()
    return "404 Not Found", {"error": "GET /stats, POST /control or GET /healthz"}
