"""Commands to the operator: written as an annotation, carried out once, recorded in status."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from trimtab.api.group import COMMAND_ANNOTATION, COMMAND_BY_ANNOTATION
from trimtab.api.resource import Key
from trimtab.cli.seen import Seen, printable
from trimtab.cli.session import Session
from trimtab.errors import SpecError, TrimtabError

LOOK_EVERY_SECONDS = 0.3
OF_CANDIDATE = ("promote", "abort", "pause", "resume")
"""Verbs that mean the candidate that the person saw, and never a later one."""
COMMAND_REFUSED: Final = "CommandRefused"
"""Reason of the decision, as the operator writes it."""


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
        raise SpecError(f"{printable(written)}: a version or revision has no slash")
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
    after = await _carried_out(session, key, verb, command_id, wait_seconds)
    answer = answer_to(command_id, verb, after)
    session.say(answer.message)
    session.say(standing(after))
    return 1 if answer.is_refused else 0


async def read_deployment(session: Session, key: Key) -> Seen:
    """Return the live Deployment."""
    return Seen(await session.api.get(key))


def argument_of(verb: str, deployment: Seen) -> str:
    """Return what a verb without an argument means now."""
    if verb not in OF_CANDIDATE:
        return "-"
    candidate = deployment.text("status", "candidate", "revision")
    if not candidate or not deployment.at("status", "rollout"):
        raise SpecError(f"{verb}: no rollout of {deployment.name} is under way")
    return candidate


def standing(deployment: Seen) -> str:
    """Return in one line what serves, what is tried and why."""
    status = deployment.at("status")
    serves = status.text("stable", "version")
    parts = [f"serves {serves}" if serves else "serves nothing yet"]
    tried = status.text("candidate", "version")
    if tried and status.at("rollout"):
        step = f", step {status.text('summary', 'step')}" if status.text("summary", "step") else ""
        paused = ", paused" if status.time("rollout", "pausedSince") is not None else ""
        parts.append(f"tries {tried} ({status.text('rollout', 'phase')}{step}{paused})")
    if status.text("summary", "reason"):
        parts.append(status.text("summary", "reason"))
    return f"{deployment.name}: {'; '.join(parts)}"


async def _carried_out(
    session: Session, key: Key, verb: str, command_id: str, wait_seconds: float
) -> Seen:
    """Return the Deployment once the operator has taken the command up."""
    waited = 0.0
    while True:
        deployment = await read_deployment(session, key)
        if command_id in deployment.texts("status", "commands"):
            return deployment
        if waited >= wait_seconds:
            raise NotCarriedOut(
                f"{verb} (id {command_id}) was not taken up within {wait_seconds:g} s: is the "
                "operator running? It is carried out when the operator is back, unless another "
                "command replaces it before; --wait 0 does not wait"
            )
        await session.sleep(LOOK_EVERY_SECONDS)
        waited += LOOK_EVERY_SECONDS


def answer_to(command_id: str, verb: str, deployment: Seen) -> Answer:
    """Return what was decided about a command; decisions are in the status that carries it out."""
    for decision in deployment.all("status", "record", "decisions"):
        if decision.text("inputs", "command") == command_id:
            is_refused = decision.text("reason") == COMMAND_REFUSED
            word = "refused" if is_refused else "carried out"
            return Answer(is_refused, f"{word}: {decision.text('message')}")
    return Answer(False, f"{verb} was taken up")
