"""The container under test: its two ports, and what the checks have learnt of it so far."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from trimtab.conform.rows import Failed, Skipped, told
from trimtab.conform.tensors import Body, has_fixed_rows, repeated, rows_of

SHOWN_CHARACTERS: Final = 160
JSON_TYPE: Final = {"content-type": "application/json"}


class NotUsable(Exception):
    """There is nothing to check: nobody answers, or the model is not known."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the person gave. Durations in seconds."""

    url: str
    metrics_url: str
    model: str | None = None
    version: str | None = None
    request: Body | None = None
    bearer: str | None = None
    drain_pid: int | None = None
    drain_command: tuple[str, ...] = ()
    grace_seconds: float = 30.0
    check_seconds: float = 10.0
    settle_seconds: float = 3.0
    """How long counters may lag behind answers."""


@dataclass
class Container:
    """Clients of both ports; `metadata` and `body` are set by the checks that fetch them."""

    asked: Asked
    front: httpx.AsyncClient
    back: httpx.AsyncClient
    model: str
    version: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    body: Body | None = None
    extensions: tuple[str, ...] = ()
    has_page: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, Any] = field(default_factory=dict)
    """Lines of the metrics page that were read before, with their samples."""

    @property
    def model_path(self) -> str:
        """Path of the model on the inference port."""
        return f"/v2/models/{quote(self.model, safe='')}"

    def request(self, rows: int | None = None) -> Body:
        """Return a request that was answered well, as it is or with at least `rows` rows.

        Raises Skipped when there was none, or its rows cannot be repeated.
        """
        if self.body is None:
            raise Skipped("needs `infer` to pass")
        if rows is None:
            return self.body
        times = -(-rows // rows_of(self.body))
        return repeated(self.body, times, self.metadata)

    def some_rows(self, rows: int) -> Body:
        """Return such a request with at least `rows` rows, or as it is where they are fixed."""
        body = self.request()
        return body if has_fixed_rows(body, self.metadata) else self.request(rows)

    async def infer(self, body: Mapping[str, Any] | bytes, path: str = "") -> httpx.Response:
        """Post an inference request; the default path has no version."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.front.post(
            path or f"{self.model_path}/infer", content=content, headers=JSON_TYPE
        )

    async def answered(self, body: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        """Return the answer to a good request; raise Failed unless it is 200 with an object."""
        response = await self.infer(body, path)
        if response.status_code != 200:
            raise Failed(shown(response), "answer a good request with 200")
        return object_of(response)


def shown(response: httpx.Response) -> str:
    """Return status and beginning of an answer in one line of printable text."""
    text = " ".join(response.text[:1000].split())
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return f"{response.status_code} {printable[:SHOWN_CHARACTERS]}".rstrip()


def json_of(response: httpx.Response) -> Any:
    """Return the JSON that an answer is; None where it is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def object_of(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object that an answer is; raise Failed."""
    content = json_of(response)
    if not isinstance(content, dict):
        raise Failed(shown(response), "answer with a JSON object")
    return content


@asynccontextmanager
async def connected(asked: Asked) -> AsyncIterator[Container]:
    """Yield the container; raise NotUsable if nobody answers or the model is not known."""
    # A connection each: one that the container closes after an error must not fail the next check.
    # What open connections meet is for the drain.
    limit, limits = asked.check_seconds, httpx.Limits(max_keepalive_connections=0)
    async with (
        client_of(asked.url, limit, limits=limits) as front,
        client_of(asked.metrics_url, limit, limits=limits) as back,
    ):
        try:
            async with asyncio.timeout(asked.check_seconds):
                await front.get("/v2/health/live")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise NotUsable(f"{asked.url} does not answer: {told(error)}") from error
        model = asked.model or await _found_model(front)
        yield Container(asked, front, back, model, asked.version)


def client_of(url: str, seconds: float, **more: Any) -> httpx.AsyncClient:
    """Return a client of one port; a container is asked directly, without proxy or redirect."""
    # Certificates are not read where there is no TLS: that takes longer than all the rest.
    verify = url.startswith("https:")
    return httpx.AsyncClient(
        base_url=url, timeout=httpx.Timeout(seconds), verify=verify, trust_env=False, **more
    )


async def _found_model(front: httpx.AsyncClient) -> str:
    """Return the one model that the container says it serves, as KServe's v1 or as Triton does."""
    for request in (
        front.build_request("GET", "/v1/models"),
        front.build_request("POST", "/v2/repository/index", json={}),
    ):
        try:
            response = await front.send(request)
        except httpx.HTTPError:
            continue
        names = _models_in(response) if response.status_code == 200 else set()
        if len(names) == 1:
            return names.pop()
        if names:
            listed = ", ".join(sorted(names)[:10])
            raise NotUsable(f"several models are served, name one by --model: {listed}")
    raise NotUsable("the container does not say which model it serves; name it by --model")


def _models_in(response: httpx.Response) -> set[str]:
    content = json_of(response)
    if isinstance(content, dict):
        content = content.get("models")
    if not isinstance(content, list):
        return set()
    names = [one.get("name") if isinstance(one, dict) else one for one in content]
    return {name for name in names if isinstance(name, str) and name}
