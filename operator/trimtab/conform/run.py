"""All checks, in their order: what a later one needs is learnt by an earlier one."""

from __future__ import annotations

from trimtab.conform import bad_input, counters, drain, extensions, outcomes, protocol
from trimtab.conform.container import Asked, Container, connected
from trimtab.conform.rows import Check, Row, judge


def checks(grace_seconds: float) -> tuple[Check[Container], ...]:
    """Return every check; the drain comes last, since nothing answers after it."""
    return (
        *protocol.CHECKS,
        *extensions.CHECKS,
        *bad_input.CHECKS,
        *counters.CHECKS,
        *outcomes.CHECKS,
        *drain.checks(grace_seconds),
    )


async def conform(asked: Asked) -> list[Row]:
    """Run all checks against one container; raise NotUsable where there is nothing to check."""
    drain.check_target(asked.drain_pid)
    async with connected(asked) as container:
        return [
            await judge(check, container, asked.check_seconds)
            for check in checks(asked.grace_seconds)
        ]
