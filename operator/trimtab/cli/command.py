"""Commands to the operator: written as an annotation, carried out once, recorded in status."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import Deployment
from trimtab.api.meta import COMMAND_ANNOTATION, COMMAND_BY_ANNOTATION
from trimtab.cli.api import Happening
from trimtab.cli.session import Session
from trimtab.cluster.port import Key
from trimtab.errors import SpecError, TrimtabError
from trimtab.reconcile.kinds.typed import typed

LOOK_EVERY_SECONDS = 0.3
EVENT_WITHIN_SECONDS = 2.0
"""Events are written after the status that they speak of."""
OF_CANDIDATE = ("promote", "abort", "pause", "resume")
"""Verbs that mean the candidate that the person saw, and never a later one."""
_ANSWERS = (EventReason.COMMAND_CARRIED_OUT, EventReason.COMMAND_REFUSED)


class NotCarriedOut(TrimtabError):
    """The operator has not answered in time."""


@dataclass(frozen=True)
class Answer:
    """What became of a command."""

    is_refused: bool
    message: str


async def command(
    session: Session, key: Key, verb: str, argument: str | None, wait_seconds: float
) -> int:
    """Write one command and print what became of it; 1 if it was refused."""
    before = await read_deployment(session, key)
    written = argument or argument_of(verb, before)
    if "/" in written:
        raise SpecError(f"{written}: a version or revision has no slash")
    seen = {event.name for event in await session.events(key)}
    command_id = secrets.token_hex(4)
    await session.api.annotate(
        key,
        {
            COMMAND_ANNOTATION: f"{verb}/{written}/{command_id}",
            COMMAND_BY_ANNOTATION: await session.api.whoami(),
        },
    )
    if not wait_seconds:
        session.say(f"{verb} {written} is written (id {command_id})")
        return 0
    await _carried_out(session, key, verb, command_id, wait_seconds)
    answer = await _answer(session, key, verb, seen)
    session.say(answer.message)
    session.say(standing(await read_deployment(session, key)))
    return 1 if answer.is_refused else 0


async def read_deployment(session: Session, key: Key) -> Deployment:
    """Return the live Deployment."""
    deployment = typed(Deployment, await session.api.get(key))
    assert deployment is not None
    return deployment


def argument_of(verb: str, deployment: Deployment) -> str:
    """Return what a verb without an argument means now."""
    if verb not in OF_CANDIDATE:
        return "-"
    candidate = deployment.status.candidate
    if candidate is None or deployment.status.rollout is None:
        raise SpecError(f"{verb}: no rollout of {deployment.metadata.name} is under way")
    return candidate.revision


def standing(deployment: Deployment) -> str:
    """Return in one line what serves, what is tried and why."""
    status = deployment.status
    parts = [f"serves {status.stable.version}" if status.stable else "serves nothing yet"]
    if status.candidate is not None and status.rollout is not None:
        step = f", step {status.summary.step}" if status.summary.step else ""
        paused = ", paused" if status.rollout.paused_since is not None else ""
        parts.append(f"tries {status.candidate.version} ({status.rollout.phase}{step}{paused})")
    if status.summary.reason:
        parts.append(status.summary.reason)
    return f"{deployment.metadata.name}: {'; '.join(parts)}"


async def _carried_out(
    session: Session, key: Key, verb: str, command_id: str, wait_seconds: float
) -> None:
    waited = 0.0
    while command_id not in (await read_deployment(session, key)).status.commands:
        if waited >= wait_seconds:
            raise NotCarriedOut(
                f"{verb} (id {command_id}) was not taken up within {wait_seconds:g} s: is the "
                "operator running? It is carried out when the operator is back; --wait 0 does "
                "not wait"
            )
        await session.sleep(LOOK_EVERY_SECONDS)
        waited += LOOK_EVERY_SECONDS


async def _answer(session: Session, key: Key, verb: str, seen: set[str]) -> Answer:
    waited = 0.0
    while True:
        answer = answer_in(await session.events(key), verb, seen)
        if answer is not None:
            return answer
        if waited >= EVENT_WITHIN_SECONDS:
            # Nothing was heard, or we may not read events; the state says the rest.
            return Answer(False, f"{verb} was taken up")
        await session.sleep(LOOK_EVERY_SECONDS)
        waited += LOOK_EVERY_SECONDS


def answer_in(events: tuple[Happening, ...], verb: str, seen: set[str]) -> Answer | None:
    """Return the answer to a verb among events that were not seen before."""
    for event in events:
        if event.name in seen or not event.message.startswith(f"{verb} "):
            continue
        if event.reason in _ANSWERS:
            is_refused = event.reason == EventReason.COMMAND_REFUSED
            word = "refused" if is_refused else "carried out"
            return Answer(is_refused, f"{word}: {event.message}")
    return None
