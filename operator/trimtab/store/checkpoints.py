"""Checkpoints as objects of a location: one a Deployment, replaced each time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from trimtab.contract.location import Location, LocationError, NotInStore, open_location
from trimtab.store.port import StoreAway

LIMIT_BYTES = 16 * 1024 * 1024
"""Of an object as it lies there; the largest that were seen have some MiB."""
CALL_SECONDS = 30.0
CALLS_AT_ONCE = 4

_Result = TypeVar("_Result")


class CheckpointObjects:
    """`trimtab.store.port.CheckpointStore` for every scheme that `contract.location` opens."""

    def __init__(self, uri: str, credentials: Path | None) -> None:
        self._uri = uri
        self._credentials = credentials
        # Threads of its own: a store that hangs must not hold up anything else.
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="checkpoints")

    async def save(self, name: str, raw: Callable[[], bytes]) -> None:
        """Replace the object `name`; `raw` is called in a thread. Raises StoreAway."""

        def write() -> None:
            content = raw()
            if len(content) > LIMIT_BYTES:
                raise ValueError(f"{name} has {len(content):,} bytes, more than would be read")
            self._open().put(name, content)

        await self._in_thread(write)

    async def load(self, name: str) -> bytes | None:
        """Return the object `name`, None where there is none. Raises StoreAway."""

        def read() -> bytes | None:
            try:
                return self._open().get(name, LIMIT_BYTES)
            except NotInStore:
                return None

        return await self._in_thread(read)

    def _open(self) -> Location:
        return open_location(self._uri, self._credentials, timedelta(seconds=CALL_SECONDS))

    async def _in_thread(self, call: Callable[[], _Result]) -> _Result:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except TimeoutError as error:
            raise StoreAway(f"{self._uri}: no answer within {CALL_SECONDS:.0f} s") from error
        except LocationError as error:
            raise StoreAway(str(error)) from error
