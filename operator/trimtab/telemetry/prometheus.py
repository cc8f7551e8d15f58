"""Asks Prometheus, Thanos or Mimir for the raw samples of pods.

One instant query with a range selector; never rate() or increase(), which extrapolate. Every
failure becomes a `NoData` that says what was seen.
"""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import Mapping, Sequence

import httpx

from trimtab.contract.metrics import PROCESS_START
from trimtab.telemetry.bodies import PLAIN, UNREADABLE, no_cookies, read_body
from trimtab.telemetry.port import NoData, NoDataReason
from trimtab.telemetry.prometheus_answer import (
    OWN_LABELS,
    RawSeries,
    Readings,
    Sampled,
    readings_of,
    series_of,
)

DEFAULT_SIZE_LIMIT = 64 * 1024 * 1024
LONGEST_QUERY_SECONDS = 10.0
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def query_of(
    namespace: str, pods: Sequence[str], seconds: float, labels: Mapping[str, str] | None = None
) -> str:
    """PromQL for the samples of the last `seconds` of these pods; all names are escaped.

    labels narrow it further. Raises ValueError for a label name that Prometheus does not allow.
    """
    narrowed = sorted((labels or {}).items())
    for name, _ in narrowed:
        if not _LABEL_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no label name")
    matchers = [
        f"__name__=~{_quoted('|'.join([*OWN_LABELS, PROCESS_START]))}",
        f"namespace={_quoted(namespace)}",
        f"pod=~{_quoted('|'.join(re.escape(pod) for pod in pods))}",
        *(f"{name}={_quoted(value)}" for name, value in narrowed),
    ]
    return f"{{{','.join(matchers)}}}[{round(seconds * 1000)}ms]"


class PrometheusReader:
    """Queries one server. org_id: tenant of Mimir. Opens no connection before the first query."""

    def __init__(
        self,
        url: str,
        org_id: str | None = None,
        size_limit: int = DEFAULT_SIZE_LIMIT,
        longest_seconds: float = LONGEST_QUERY_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        parsing: asyncio.Lock | None = None,
    ) -> None:
        """url without `/api/v1`; size_limit in bytes; headers are sent with every query.

        parsing: shared by readers whose answers are to be parsed one after another.
        """
        self._server = url.rstrip("/")
        self._url = f"{self._server}/api/v1/query"
        self._size_limit = size_limit
        self._longest_seconds = longest_seconds
        self._parsing = parsing or asyncio.Lock()
        self._client = httpx.AsyncClient(
            headers={**PLAIN, **(headers or {}), **({"X-Scope-OrgID": org_id} if org_id else {})},
            cookies=no_cookies(),
            transport=transport,
            verify=verify,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # one limit over the whole query, below
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def read(
        self,
        query: str,
        pods: Sequence[str],
        last: Mapping[str, Sampled] | None = None,
        timeout_seconds: float | None = None,
    ) -> Readings | NoData:
        """Readings newer than `last` by pod, within the limits of time and size.

        timeout_seconds: in place of the reader's own limit.
        """
        body = await self._body(query, timeout_seconds=timeout_seconds)
        if isinstance(body, NoData):
            return body
        async with self._parsing:
            return await asyncio.to_thread(readings_of, body, pods, last)

    async def series(self, query: str, at: float) -> list[RawSeries] | NoData:
        """All series of a query as of `at`, Unix seconds, within the same limits."""
        body = await self._body(query, at)
        if isinstance(body, NoData):
            return body
        async with self._parsing:
            return await asyncio.to_thread(series_of, body)

    async def _body(
        self, query: str, at: float | None = None, timeout_seconds: float | None = None
    ) -> bytes | NoData:
        limit = timeout_seconds or self._longest_seconds
        form = {"query": query, "dedup": "true", "partial_response": "false"}
        if at is not None:
            form["time"] = f"{at:.3f}"
        try:
            async with asyncio.timeout(limit):
                return await self._fetch(form)
        except TimeoutError:
            return self._down(f"does not answer within {limit:g} s")
        except httpx.ConnectError as error:
            return self._down(f"cannot be reached: {_why_not_reached(error)}")
        except UNREADABLE as error:
            return self._down(f"cannot be read: {type(error).__name__}: {error}")

    async def _fetch(self, form: Mapping[str, str]) -> bytes | NoData:
        async with self._client.stream("POST", self._url, data=form) as response:
            if response.status_code != httpx.codes.OK:
                return self._down(f"answers HTTP {response.status_code}")
            return await read_body(response, self._size_limit)

    def _down(self, what: str) -> NoData:
        detail = f"{self._server[:200]} {what[:200]}"
        return NoData(NoDataReason.BACKEND_DOWN, detail, is_of_all=True)


def _why_not_reached(error: httpx.ConnectError) -> str:
    """Return what the system said, which lies below what the libraries made of it."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, socket.gaierror):
            return "its name does not resolve"
        if isinstance(below, ConnectionRefusedError):
            return "connection refused"
        below = below.__cause__ or below.__context__
    return str(error)


def _quoted(text: str) -> str:
    """A PromQL string, which is escaped as JSON is."""
    return json.dumps(text, ensure_ascii=False)
