from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class FakeModel:
    """Answers as the serving container does; the digit that it sees is hidden in the image."""

    url: str = ""
    status: int = 200
    version: str = "v1"
    garbage: bytes | None = None
    close_after_answer: bool = False
    cut_next: list[bytes] = field(default_factory=list)
    """What is sent, before the connection is dropped, in place of the next answers."""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[None] | None] = field(default_factory=list)
    classify: Callable[[list[float]], int] = lambda image: int(image[0])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.tasks.append(asyncio.current_task())
        try:
            while line := await reader.readline():
                path = line.decode().split(" ")[1]
                size = 0
                while (header := await reader.readline()) != b"\r\n":
                    if header.lower().startswith(b"content-length:"):
                        size = int(header.split(b":")[1])
                content = json.loads(await reader.readexactly(size))
                if self.cut_next:
                    writer.write(self.cut_next.pop(0))
                    break
                self._answer(writer, path, content)
                if self.close_after_answer:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, path: str, content: Any) -> None:
        if path == "/outcomes":
            self.labels += content
            body = b"[]"
        else:
            self.requests.append((path, content))
            predicted = self.classify(content["inputs"][0]["data"])
            body = json.dumps(
                {
                    "model_name": "digits",
                    "model_version": self.version,
                    "parameters": {"trimtab_token": f"token-{len(self.requests)}"},
                    "outputs": [{"name": "class", "shape": [1], "data": [predicted]}],
                }
            ).encode()
            body = self.garbage if self.garbage is not None else body
        close = "connection: close\r\n" if self.close_after_answer else ""
        head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n{close}\r\n"
        writer.write(head.encode() + body)


@pytest.fixture
async def server() -> AsyncIterator[FakeModel]:
    model = FakeModel()
    listening = await asyncio.start_server(model.handle, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield model
    listening.close()
    for writer in model.writers:
        writer.close()
    await asyncio.gather(*(task for task in model.tasks if task is not None))
