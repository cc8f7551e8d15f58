"""One JSON line a request on stdout, without anything of its content."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

import orjson

from trimtab.serving.http.messages import Request
from trimtab.serving.settings import AccessLog

FLUSH_SECONDS: Final = 0.1
_NEVER: Final = 1000


class AccessLogger:
    """Collects lines and writes them a few times a second."""

    def __init__(self, level: AccessLog) -> None:
        self._least_status = {"off": _NEVER, "errors": 400, "all": 0}[level]
        self._lines: list[bytes] = []

    @property
    def is_off(self) -> bool:
        """Whether no request is noted."""
        return self._least_status == _NEVER

    def note(self, request: Request, status: int, size: int) -> None:
        """Take note of an answered request."""
        if status < self._least_status:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": request.method,
            "path": request.path[:200],
            "status": status,
            "seconds": round(perf_counter() - request.began, 6),
            "rows": request.rows,
            "bytesIn": request.size,
            "bytesOut": size,
        }
        if request.id:
            line["requestId"] = request.id.decode()
        if request.trace:
            line["traceparent"] = request.trace.decode()
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stdout.write(b"".join(lines).decode())
            sys.stdout.flush()
