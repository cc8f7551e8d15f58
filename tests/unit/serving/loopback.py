"""A server on loopback ports with clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from tests.unit.serving.stored import Stored

from trimtab.serving.lifecycle import Server
from trimtab.serving.settings import Settings


class Client:
    """A running server and HTTP clients of its two ports."""

    def __init__(self, server: Server, front: httpx.AsyncClient, back: httpx.AsyncClient) -> None:
        self.server = server
        self.front = front
        self.back = back

    async def infer(self, inputs: Any, **more: Any) -> httpx.Response:
        return await self.front.post("/v2/models/digits/infer", json={"inputs": inputs, **more})

    async def metrics(self) -> dict[str, float]:
        """Return samples by name, with labels but for the four of the identity."""
        page = await self.back.get("/metrics")
        assert page.status_code == 200
        return samples(page.text)


def samples(page: str) -> dict[str, float]:
    found = {}
    for line in page.splitlines():
        if line.startswith("#"):
            continue
        name, _, value = line.rpartition(" ")
        bare, _, inside = name.removesuffix("}").partition("{")
        labels = [
            part
            for part in inside.split('",')
            if part and part.partition("=")[0] not in ("model", "version", "digest", "baseline")
        ]
        text = ",".join(part.replace('"', "") for part in labels)
        key = f"{bare}{{{text}}}" if text else bare
        assert key not in found, key
        found[key] = float(value)
    return found


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    server = Server(settings)
    await server.start()
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    try:
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{server.inference_port}", limits=limits, timeout=30
            ) as front,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{server.metrics_port}", timeout=30
            ) as back,
        ):
            yield Client(server, front, back)
    finally:
        await server.close()


def served_as(settings: Settings, stored: Stored, **more: Any) -> Settings:
    return replace(settings, artifact_uri=stored.uri, artifact_digest=stored.digest, **more)


def vector(rows: NDArray[Any] | list[Any], name: str = "x", datatype: str = "FP64") -> list[Any]:
    values = np.asarray(rows)
    return [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(values.shape),
            "data": values.ravel().tolist(),
        }
    ]


async def until(reached: Callable[[], bool], seconds: float = 5.0) -> None:
    """Poll with a limit."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - many kinds of things are waited for
            await asyncio.sleep(0.005)
