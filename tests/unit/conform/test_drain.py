"""Containers that drain well and badly, told apart by the rows of the drain."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys

import pytest
from tests.unit.conform.judging import judged
from tests.unit.conform.reference import running

from trimtab.conform.container import Asked, NotUsable
from trimtab.conform.rows import Row, Verdict
from trimtab.conform.run import conform

SIGNALLED = ("kill", "-USR1", str(os.getpid()))


async def drained(clause: str, command: tuple[str, ...] = SIGNALLED) -> dict[str, Row]:
    loop = asyncio.get_running_loop()
    tasks = []
    async with running() as reference:
        reference.reset(clause)
        loop.add_signal_handler(
            signal.SIGUSR1, lambda: tasks.append(loop.create_task(reference.leave()))
        )
        try:
            rows = await judged(reference, "drain: ", drain_command=command, grace_seconds=0.6)
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
        await asyncio.gather(*tasks)
    return {row.check.removeprefix("drain: "): row for row in rows}


async def test_a_good_drain_passes() -> None:
    rows = await drained("")
    assert {rows[name].verdict for name in ("readiness", "requests", "end")} == {Verdict.PASS}
    assert rows["requests"].seen.startswith("0 of ")
    assert not rows["requests"].seen.startswith("0 of 0")


@pytest.mark.parametrize(
    ("clause", "row", "seen"),
    [
        ("ready in the drain", "readiness", "/readyz is still 200"),
        ("no readiness at all", "readiness", "was 200 before"),
        ("deaf at once", "readiness", "a new connection then got"),
        ("503 in the drain", "requests", "503"),
        ("drops what is open", "requests", "failed|in flight got"),
        ("never ends", "end", "runs on after 0.6 s"),
    ],
)
async def test_a_bad_drain_fails_its_row(clause: str, row: str, seen: str) -> None:
    rows = await drained(clause)
    assert rows[row].verdict is Verdict.FAIL
    assert rows[row].is_required
    assert re.search(seen, rows[row].seen)


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), "ended with 3"),
        (("/no/such/command",), "No such file"),
    ],
)
async def test_a_command_that_fails_is_told(command: tuple[str, ...], seen: str) -> None:
    rows = await drained("", command)
    assert rows["readiness"].verdict is Verdict.FAIL
    assert seen in rows["readiness"].seen


async def test_a_process_that_is_not_there_is_told_before_anything_is_asked() -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    asked = Asked(url="http://127.0.0.1:9", metrics_url="http://127.0.0.1:9", drain_pid=process.pid)
    with pytest.raises(NotUsable, match="--drain"):
        await conform(asked)
