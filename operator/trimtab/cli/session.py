"""What every command on a cluster works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from trimtab.cli.api import Api


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass
class Session:
    """The cluster, where to look in it, and the clock."""

    api: Api
    namespace: str
    say: Callable[[str], None] = print
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)
    now: Callable[[], datetime] = field(default=utc_now)
