"""How the inbox and the queues of notifications go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def step_on(step: Callable[[], Awaitable[float | None]], something: asyncio.Event) -> None:
    """Step until cancelled: again after the seconds that a step returns; None: once there is more.

    something: is set by whoever adds to what is stepped through.
    """
    while True:
        something.clear()
        wait = await step()
        if wait is None:
            await something.wait()
        else:
            await asyncio.sleep(wait)  # also if it is 0: others have their turn
