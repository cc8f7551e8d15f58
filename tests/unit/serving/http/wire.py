"""Requests as bytes, and a socket to send them on."""

from __future__ import annotations

import asyncio
import json

from tests.unit.serving.loopback import Client
from tests.unit.serving.stored import Stored

PAGE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"


def infer(stored: Stored, rows: int = 1, extra: bytes = b"") -> bytes:
    body = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP64",
                    "shape": [rows, 4],
                    "data": stored.rows[:rows].tolist(),
                }
            ]
        }
    ).encode()
    head = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n" % len(body)
    return head + extra + b"\r\n" + body


class Wire:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, client: Client) -> Wire:
        return cls(*await client.connect())

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def ended(self) -> bool:
        async with asyncio.timeout(20):
            return await self.reader.read() == b""
