"""Runs checks against the reference container."""

from __future__ import annotations

from typing import Any

from tests.unit.conform.reference import Reference
from tests.unit.conform.tally import VERSION

from trimtab.conform import run
from trimtab.conform.container import Asked, connected
from trimtab.conform.rows import Row, judge

PREPARES = (
    "server metadata",
    "model metadata",
    "infer",
    "metrics page",
    "identity labels",
    "token in every answer",
)


async def judged(reference: Reference, check: str = "", **more: Any) -> list[Row]:
    """Run the checks whose name begins so and those they build on; all without a name."""
    given: dict[str, Any] = {"bearer": reference.bearer, "version": VERSION} | more
    asked = Asked(
        url=reference.front_url,
        metrics_url=reference.back_url,
        check_seconds=2.0,
        settle_seconds=0.06,
        **given,
    )
    wanted = {*PREPARES} | ({"bad JSON"} if check == "alive after bad input" else set())
    async with connected(asked) as container:
        return [
            await judge(one, container, 0.3 if reference.is_broken("hangs") else 2.0)
            for one in run.checks(asked.grace_seconds)
            if one.name in wanted or one.name.startswith(check)
        ]
