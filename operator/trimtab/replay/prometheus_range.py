"""A stretch of time of Prometheus, Thanos or Mimir: its raw samples, never rate() or increase().

Asked for in chunks, each a query with a range selector as of its end. A chunk that the server
finds too large is asked for again in halves.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

from trimtab.errors import SpecError, Unavailable, plain
from trimtab.replay.counting import Counting
from trimtab.replay.matching import Matchers
from trimtab.replay.processes import WANTED, Processes
from trimtab.telemetry.port import NoData
from trimtab.telemetry.prometheus import PrometheusReader

TOKEN_VARIABLE = "TRIMTAB_PROMETHEUS_TOKEN"
CHUNK_SECONDS = 3600.0
SMALLEST_CHUNK_SECONDS = 60.0
LONGEST_SECONDS = 60.0
"""For one chunk: nobody waits for a rollback here."""


@dataclass(frozen=True)
class Access:
    """How to be let in. Without a token file the token is that of the environment, if any."""

    token_file: Path | None = None
    ca_file: Path | None = None
    org_id: str | None = None


def open_reader(url: str, access: Access) -> PrometheusReader:
    """Return a reader of `url` (without `/api/v1`); SpecError for what cannot be used."""
    if not url.startswith(("http://", "https://")):
        raise SpecError(f"--prometheus {url}: must begin with http:// or https://")
    token = _token(access.token_file)
    transport = None
    if access.ca_file is not None:
        try:
            context = ssl.create_default_context(cafile=str(access.ca_file))
        except OSError as error:
            raise SpecError(
                f"--ca-file {access.ca_file}: cannot be used: {plain(error)}"
            ) from error
        transport = httpx.AsyncHTTPTransport(verify=context)
    return PrometheusReader(
        url,
        access.org_id,
        longest_seconds=LONGEST_SECONDS,
        transport=transport,
        headers={"authorization": f"Bearer {token}"} if token else {},
    )


def _token(file: Path | None) -> str:
    where = f"--token-file {file}" if file is not None else f"${TOKEN_VARIABLE}"
    try:
        token = (os.environ.get(TOKEN_VARIABLE, "") if file is None else file.read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{where}: cannot be read: {plain(error)}") from error
    if file is not None and not token:
        raise SpecError(f"{where}: is empty")
    if not token.isascii() or not token.isprintable():
        raise SpecError(f"{where}: holds characters that no token has")
    return token


@dataclass(frozen=True)
class Span:
    """The time [start, end) that is replayed."""

    start: datetime
    end: datetime


TOO_LARGE = ("answers HTTP 422", "answers HTTP 5", "more than", "does not answer within")
"""In what a reader says of an answer that did not come."""


async def read_range(
    reader: PrometheusReader,
    matchers: Matchers,
    span: Span,
    counting: Counting,
    now: Callable[[], float] = time.time,
) -> list[str]:
    """Count what was recorded in the span; returns notes.

    Unavailable says why the server gave nothing, SpecError that it has no such series.
    """
    start, end = span.start.timestamp(), min(span.end.timestamp(), now())
    if start >= end:
        raise SpecError("--from must be before --to, and in the past")
    selector = f"{{{','.join([_names_matcher(), *matchers.promql()])}}}"
    processes = Processes(counting)
    chunk = CHUNK_SECONDS
    at = start
    while at < end:
        chunk = min(chunk, end - at)
        answer = await reader.series(f"{selector}[{round(chunk * 1000)}ms]", at + chunk)
        if isinstance(answer, NoData):
            if chunk <= SMALLEST_CHUNK_SECONDS or not _may_be_too_large(answer.detail):
                raise Unavailable(f"Prometheus: {answer.detail}")
            chunk = max(SMALLEST_CHUNK_SECONDS, chunk / 2)
            continue
        processes.add(answer)
        at += chunk
    if not counting.has_counted and not processes.notes():
        raise SpecError(
            "Prometheus has no counters of a model in this time"
            + (f" with {', '.join(matchers.promql())}" if matchers.promql() else "")
        )
    return processes.notes()


def _may_be_too_large(detail: str) -> bool:
    """Whether less at once may help: too many samples or bytes, too slow, or a proxy gave up."""
    return any(sign in detail for sign in TOO_LARGE)


def _names_matcher() -> str:
    return f'__name__=~"{"|".join(WANTED)}"'
