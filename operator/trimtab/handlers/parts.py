"""Tasks that shall run for ever: the end of one is the end of all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)

END_WITHIN_SECONDS = 6.0


class Parts:
    """The parts of a process that run side by side."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, part: Coroutine[None, None, None]) -> None:
        """Start one more."""
        self._tasks.append(asyncio.create_task(part, name=name))

    async def until(self, *reached: asyncio.Task[object]) -> None:
        """Wait until one of `reached` is done; raises what a part ended with before that.

        A part that ended without an error while one of `reached` is done is no failure.
        """
        await asyncio.wait([*self._tasks, *reached], return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done() and (error := task.exception()) is not None:
                raise error
        if not any(task.done() for task in reached):
            ended = [task.get_name() for task in self._tasks if task.done()]
            # It may have ended because of what is about to be reached.
            await asyncio.sleep(0)
            if not any(task.done() for task in reached):
                raise RuntimeError(f"{', '.join(ended)} ended")

    async def end(self) -> None:
        """Cancel all, the last one started first, and wait a bounded time for each."""
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait([task], timeout=END_WITHIN_SECONDS)
            if not task.done():
                logger.warning("%s did not end in time", task.get_name())
            elif not task.cancelled() and (error := task.exception()) is not None:
                logger.debug("%s ended with %r", task.get_name(), error)
