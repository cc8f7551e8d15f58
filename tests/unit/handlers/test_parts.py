"""The end of one part is the end of all."""

import asyncio
import json
import logging

import pytest

from trimtab.handlers.logs import JsonLines
from trimtab.handlers.parts import Parts


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise LookupError("broken")


async def end() -> None:
    return


async def test_what_a_part_failed_with_is_raised() -> None:
    parts = Parts()
    parts.start("good", forever())
    parts.start("bad", fail())
    with pytest.raises(LookupError):
        await parts.until(asyncio.create_task(forever()))
    await parts.end()


async def test_a_part_that_ends_is_a_failure() -> None:
    parts = Parts()
    parts.start("short", end())
    with pytest.raises(RuntimeError, match="short ended"):
        await parts.until(asyncio.create_task(forever()))
    await parts.end()


async def test_what_is_reached_ends_the_wait() -> None:
    parts = Parts()
    parts.start("good", forever())
    await parts.until(asyncio.create_task(end()))
    await parts.end()


async def test_the_part_started_last_is_ended_first() -> None:
    ended: list[str] = []

    async def part(name: str) -> None:
        try:
            await forever()
        finally:
            ended.append(name)

    parts = Parts()
    parts.start("first", part("first"))
    parts.start("second", part("second"))
    await asyncio.sleep(0)
    await parts.end()
    assert ended == ["second", "first"]


def test_a_record_is_one_line_of_json() -> None:
    try:
        raise LookupError("broken\nin two")
    except LookupError as error:
        exception = (type(error), error, error.__traceback__)
    record = logging.LogRecord("a.b", logging.ERROR, "f", 1, "lost %s", ("x",), exception)
    text = JsonLines().format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["logger"], line["message"]) == ("error", "a.b", "lost x")
    assert "LookupError" in line["trace"]
