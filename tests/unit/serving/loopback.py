"""A server on loopback ports with clients."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.patience import stretched
from tests.unit.serving.stored import Stored

from trimtab.serving.errors import StartRefused
from trimtab.serving.lifecycle import Server
from trimtab.serving.settings import ServingSettings


class Client:
    """A running server and HTTP clients of its two ports."""

    def __init__(self, server: Server, front: httpx.AsyncClient, back: httpx.AsyncClient) -> None:
        self.server = server
        self.front = front
        self.back = back
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the inference port that is closed at the end."""
        streams = await asyncio.open_connection("127.0.0.1", self.server.inference_port)
        self._writers.append(streams[1])
        return streams

    async def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def infer(self, inputs: Any, **more: Any) -> httpx.Response:
        return await self.front.post("/v2/models/digits/infer", json={"inputs": inputs, **more})

    async def metrics(self) -> dict[str, float]:
        """Return samples by name, with labels but for the four of the identity; sums over these."""
        page = await self.back.get("/metrics")
        assert page.status_code == 200
        return samples(page.text)


def samples(page: str) -> dict[str, float]:
    found: dict[str, float] = {}
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
        found[key] = found.get(key, 0.0) + float(value)
    return found


@asynccontextmanager
async def serving(settings: ServingSettings) -> AsyncIterator[Client]:
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
            client = Client(server, front, back)
            try:
                yield client
            finally:
                await client.hang_up()
    finally:
        await server.close()


async def refused(settings: ServingSettings) -> StartRefused:
    """Start a server that must not serve; return why it does not."""
    server = Server(settings)
    try:
        with pytest.raises(StartRefused) as raised:
            await server.start()
        return raised.value
    finally:
        await server.close()


def program_environment(settings: ServingSettings, **more: str) -> dict[str, str]:
    """Return what the program is told to serve so, on free ports of loopback."""
    others = {name: value for name, value in os.environ.items() if name[:8] != "TRIMTAB_"}
    return {
        **others,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TRIMTAB_MODEL": settings.model,
        "TRIMTAB_VERSION": settings.version,
        "TRIMTAB_ARTIFACT_URI": settings.artifact_uri,
        "TRIMTAB_ARTIFACT_DIGEST": settings.artifact_digest,
        "TRIMTAB_TOKEN_KEY_FILE": str(settings.token_key_file),
        "TRIMTAB_SCRATCH": str(settings.scratch),
        "TRIMTAB_TERMINATION_LOG": str(settings.termination_log),
        "TRIMTAB_HOST": "127.0.0.1",
        "TRIMTAB_INFERENCE_PORT": "0",
        "TRIMTAB_METRICS_PORT": "0",
        "TRIMTAB_DRAIN_GRACE_SECONDS": "0.2",
    } | more


def served_as(settings: ServingSettings, stored: Stored, **more: Any) -> ServingSettings:
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


async def until(reached: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll with a limit."""
    async with asyncio.timeout(stretched(seconds)):
        while not reached():  # noqa: ASYNC110 - many kinds of things are waited for
            await asyncio.sleep(0.005)
