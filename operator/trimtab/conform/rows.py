"""A check, its verdict, and how one becomes the other within a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import httpx

T = TypeVar("T")


class Verdict(StrEnum):
    """What became of a check."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


class Failed(Exception):
    """The container does not keep this clause. `do` says what would."""

    def __init__(self, seen: str, do: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.do = do


class Skipped(Exception):
    """The clause cannot be looked at here; the message says why, or how it could be."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `do` is empty unless the check failed."""

    check: str
    is_required: bool
    verdict: Verdict
    seen: str
    do: str = ""


@dataclass(frozen=True)
class Check(Generic[T]):
    """One clause of the contract.

    `run` returns what was seen; it raises Failed or Skipped. Without what a required check asks
    for, the operator or the callers of the model cannot work.
    """

    name: str
    is_required: bool
    run: Callable[[T], Awaitable[str]]
    seconds: float | None = None
    """Its own bound of time, in place of the usual one."""


def required(name: str, run: Callable[[T], Awaitable[str]]) -> Check[T]:
    """Return a check that has to pass."""
    return Check(name, True, run)


def optional(name: str, run: Callable[[T], Awaitable[str]]) -> Check[T]:
    """Return a check that is told but may fail."""
    return Check(name, False, run)


async def judge(check: Check[T], container: T, seconds: float) -> Row:
    """Run one check; whatever the container does, a row comes out within `seconds`."""
    limit = check.seconds or seconds
    try:
        async with asyncio.timeout(limit):
            seen = await check.run(container)
    except Failed as failed:
        return _row(check, Verdict.FAIL, failed.seen, failed.do)
    except Skipped as skipped:
        return _row(check, Verdict.SKIP, str(skipped))
    except TimeoutError:
        return _row(check, Verdict.FAIL, f"no end within {limit:g} s", "answer sooner")
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        return _row(check, Verdict.FAIL, f"no answer: {told(error)}", "answer every request")
    return _row(check, Verdict.PASS, seen)


def is_conformant(rows: Sequence[Row]) -> bool:
    """Whether no required check failed."""
    return not any(row.is_required and row.verdict is Verdict.FAIL for row in rows)


def told(error: Exception) -> str:
    """Return an error of the client as words; some have none but their name."""
    return str(error) or type(error).__name__


def _row(check: Check[T], verdict: Verdict, seen: str, do: str = "") -> Row:
    return Row(check.name, check.is_required, verdict, seen, do)
