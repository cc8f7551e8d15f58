"""`trimtab wait`: an exit code that says what became of an object, for pipelines.

What an object says of itself is read in `outcome_of`, from its JSON alone; the loop asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from trimtab.api.resource import Json, Key
from trimtab.cli.api import NoSuchObject
from trimtab.cli.session import Session
from trimtab.errors import Refused, TrimtabError

DONE = 0
ERROR = 1
USAGE = 2
TIMED_OUT = 3
FAILED = 4
NEEDS_PERSON = 5
SUPERSEDED = 6
EXIT_CODES = {
    DONE: "the version that is wanted serves; of other kinds: it is as wanted",
    ERROR: "no answer can be had: no cluster, no permission, or no such object (any more)",
    USAGE: "wrong usage",
    TIMED_OUT: "still under way when the time was over",
    FAILED: "it came out bad: rolled back, quarantined, rejected, worse than what serves; "
    "repeating does not help, the model has to change",
    NEEDS_PERSON: "nobody could tell, or something else stands in the way: a person has to mend "
    "that, and the version is not blamed",
    SUPERSEDED: "with `--version`: another version is wanted by now",
}

LOOK_EVERY_SECONDS = 2.0
ANSWER_SECONDS = 30.0
CAME_OUT_BAD = frozenset(
    {
        "Quarantined",
        "FirstVersionFailed",
        "VersionRejected",
        "IncompatibleSchema",
        "GuardBreached",
        "NoWayBack",
        "ReturnDelayed",
        "DigestMismatch",
        "Unreadable",
        "SchemaBroken",
        "ChallengerWorse",
        "DataFailed",
        "CodeFailed",
    }
)
"""Reasons of `Stalled` that are a verdict on the version or the attempt."""
UNDECIDED = "BackingOff"
_MAIN = ("Ready", "Verified", "Watching", "Complete")
"""Of each kind, what it is good for."""


@dataclass(frozen=True)
class Outcome:
    """What an object says of itself. `code` None: not over yet."""

    code: int | None
    text: str
    about: tuple[str, ...] = ()
    """What makes it news; a message has figures that move all the time."""


def outcome_of(
    obj: Mapping[str, Any], version: str | None = None, *, was_wanted: bool = False
) -> Outcome:
    """Return what became of an object, as the API server has it.

    version: of a Deployment, the one that is to serve; None: whichever is wanted. was_wanted: it
    has been the wanted one since the wait began.
    """
    metadata, status = obj["metadata"], obj.get("status") or {}
    if status.get("observedGeneration") != metadata.get("generation"):
        return _waits("the operator has not seen it yet: is it running?")
    told = {one.get("type"): one for one in status.get("conditions") or []}
    stalled, reconciling = told.get("Stalled"), told.get("Reconciling")
    if stalled is None or reconciling is None:
        return _waits("the operator does not say how it stands: is it older than this command?")
    if version is not None and not is_wanted(obj, version):
        other = _of_another(obj, version, was_wanted=was_wanted)
        if other is not None:
            return other
    if stalled.get("status") == "True":
        return _said(FAILED if stalled.get("reason") in CAME_OUT_BAD else NEEDS_PERSON, stalled)
    if reconciling.get("status") == "True":
        return _under_way(status, reconciling)
    return _at_rest(obj, told, version)


def is_wanted(obj: Mapping[str, Any], version: str) -> bool:
    """Return whether the Deployment wants a version: as its spec names it, or by following."""
    return _wanted(obj) == version


def _wanted(obj: Mapping[str, Any]) -> str:
    summary = (obj.get("status") or {}).get("summary") or {}
    return str((obj.get("spec") or {}).get("version") or summary.get("want") or "")


def _of_another(obj: Mapping[str, Any], version: str, *, was_wanted: bool) -> Outcome | None:
    """Return what became of a version that is not the wanted one; None: it is still tried."""
    status = obj.get("status") or {}
    if (status.get("candidate") or {}).get("version") == version and status.get("rollout"):
        return None
    for entry in reversed(status.get("rejected") or []):
        if entry.get("version") == version:
            text = f"{version} was taken out: {entry.get('reason')}: {entry.get('evidence', '')}"
            return Outcome(FAILED, text)
    wanted = _wanted(obj) or "nothing"
    if was_wanted:
        return Outcome(SUPERSEDED, f"{wanted} is wanted by now, not {version}")
    return _waits(f"{wanted} is wanted so far, not {version}")


def _under_way(status: Mapping[str, Any], reconciling: Mapping[str, Any]) -> Outcome:
    if reconciling.get("reason") == UNDECIDED:
        return _said(NEEDS_PERSON, reconciling)
    summary = status.get("summary") or {}
    about = (str(summary.get("candidate", "")), str(summary.get("step", "")))
    return _said(None, reconciling, *about)


def _at_rest(
    obj: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]], version: str | None
) -> Outcome:
    if obj.get("kind") == "Deployment":
        up_to_date = told.get("UpToDate") or {}
        if up_to_date.get("status") != "True":
            return _said(NEEDS_PERSON, up_to_date)
        serving = ((obj.get("status") or {}).get("stable") or {}).get("version")
        if version is not None and serving != version:
            return _waits(f"{serving or 'nothing'} serves so far")
    return _said(DONE, next((told[one] for one in _MAIN if one in told), {}))


def _said(code: int | None, condition: Mapping[str, Any], *more: str) -> Outcome:
    reason, message = str(condition.get("reason", "")), str(condition.get("message", ""))
    return Outcome(code, f"{reason}: {message}" if message else reason, (reason, *more))


def _waits(text: str) -> Outcome:
    return Outcome(None, text, (text,))


# --- the loop -----------------------------------------------------------------------------------


async def wait(session: Session, key: Key, version: str | None, timeout: timedelta) -> int:
    """Wait until an object is as wanted, or never will be; return one of `EXIT_CODES`.

    Prints a line whenever it stands otherwise than before. An API server that is away for a while,
    as is usual in an upgrade, is asked again; NoSuchObject only if there is none at the beginning.
    """
    began, slept = session.now(), timedelta()
    uid, was_wanted = "", False
    said: tuple[str, ...] | None = None
    while True:
        live = await _look(session, key, is_first=not uid)
        if live is None:
            outcome = Outcome(ERROR, "it was deleted meanwhile")
        elif isinstance(live, str):
            outcome = _waits(live)
        else:
            found = str(live["metadata"].get("uid", ""))
            was_wanted = was_wanted and found == uid
            uid = found
            outcome = outcome_of(live, version, was_wanted=was_wanted)
            was_wanted = was_wanted or (version is not None and is_wanted(live, version))
        if outcome.code is not None or outcome.about != said:
            session.say(f"{key.name}: {outcome.text}")
            said = outcome.about
        if outcome.code is not None:
            return outcome.code
        if max(session.now() - began, slept) >= timeout:
            session.say(
                f"{key.name}: still under way after {timeout.total_seconds():g} s: {outcome.text}"
            )
            return TIMED_OUT
        await session.sleep(LOOK_EVERY_SECONDS)
        slept += timedelta(seconds=LOOK_EVERY_SECONDS)


async def _look(session: Session, key: Key, *, is_first: bool) -> Json | str | None:
    """Return the object, why nobody can tell how it is now, or None if it is gone."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await session.api.get(key)
    except TimeoutError as error:
        words = f"the API server did not answer within {ANSWER_SECONDS:g} s"
        if is_first:
            raise TrimtabError(words) from error
        return f"asked again: {words}"
    except NoSuchObject:
        if is_first:
            raise
        return None
    except Refused:
        raise
    except TrimtabError as error:
        if is_first:
            raise
        return f"asked again: {error}"
