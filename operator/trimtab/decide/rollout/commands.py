"""Commands of a person, written as an annotation and carried out once.

`trimtab.dev/command: verb/argument/id`. The argument is the revision that the person saw (so that
a command never hits a later candidate), a version for `rollback`, or `-` for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.meta import COMMAND_ANNOTATION, COMMAND_BY_ANNOTATION
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.ends import return_to_last_good, roll_back, try_of
from trimtab.decide.rollout.wanted import Wanted, revision_of

VERBS = ("promote", "abort", "pause", "resume", "retry", "rollback")


@dataclass(frozen=True)
class Command:
    """One command as it was written."""

    verb: str
    argument: str
    id: str
    by: str


def parse_command(annotations: dict[str, str]) -> Command | None:
    """Return the command in the annotations, or None if there is none or it is malformed."""
    parts = annotations.get(COMMAND_ANNOTATION, "").split("/")
    if len(parts) != 3 or not all(parts) or len(parts[2]) > 64:
        return None
    by = annotations.get(COMMAND_BY_ANNOTATION, "") or "unknown"
    return Command(parts[0], parts[1], parts[2], by[:200])


def carry_out(draft: Draft, wanted: Wanted) -> None:
    """Carry out a command that was not carried out before, and record its id."""
    command = parse_command(draft.snapshot.deployment.metadata.annotations)
    if command is None or command.id in draft.status.commands:
        return
    draft.set(commands=[*draft.status.commands, command.id[:64]][-20:])
    refusal = _do(draft, command, wanted)
    inputs = {"command": command.id, "by": command.by}
    if refusal is None:
        words = f"{command.verb} by {command.by}"
        draft.tell(EventReason.COMMAND_CARRIED_OUT, words, inputs=inputs)
    else:
        words = f"{command.verb} by {command.by}: {refusal}"
        draft.tell(EventReason.COMMAND_REFUSED, words, warning=True, inputs=inputs)


def _do(draft: Draft, command: Command, wanted: Wanted) -> str | None:
    """Carry out one verb; return why not, or None."""
    match command.verb:
        case "promote":
            return _promote(draft, command)
        case "abort":
            return _abort(draft, command)
        case "pause":
            return _pause(draft, command)
        case "resume":
            return _resume(draft, command)
        case "retry":
            return _retry(draft, command, wanted)
        case "rollback":
            return _rollback(draft, command)
        case _:
            return f"unknown command; known are {', '.join(VERBS)}"


def _not_the_candidate(draft: Draft, command: Command) -> str | None:
    candidate = draft.status.candidate
    if candidate is None or draft.status.rollout is None:
        return "no rollout is under way"
    if command.argument not in ("-", candidate.revision):
        return f"the candidate is {candidate.revision} by now, not {command.argument}"
    return None


def _promote(draft: Draft, command: Command) -> str | None:
    refusal = _not_the_candidate(draft, command)
    if refusal is None:
        _end_pause(draft)
        draft.set_rollout(phase="Promoting", promoted_by=command.by)
    return refusal


def _abort(draft: Draft, command: Command) -> str | None:
    refusal = _not_the_candidate(draft, command)
    if refusal is None:
        roll_back(draft, Reason.BY_PERSON, f"aborted by {command.by}", by=command.by)
    return refusal


def _pause(draft: Draft, command: Command) -> str | None:
    refusal = _not_the_candidate(draft, command)
    rollout = draft.status.rollout
    if refusal is None and rollout is not None and rollout.paused_since is None:
        draft.set_rollout(paused_since=draft.now, paused_by=command.by)
    return refusal


def _resume(draft: Draft, command: Command) -> str | None:
    refusal = _not_the_candidate(draft, command)
    rollout = draft.status.rollout
    if refusal is not None or rollout is None:
        return refusal
    if rollout.paused_since is None:
        return "the rollout is not paused"
    _end_pause(draft)
    return None


def _end_pause(draft: Draft) -> None:
    """End a pause; the deadline stood still, and the step's own clock starts again."""
    rollout = draft.status.rollout
    assert rollout is not None
    if rollout.paused_since is None:
        return
    paused = (draft.now - rollout.paused_since) / timedelta(seconds=1)
    draft.set_rollout(
        paused_since=None, paused_by=None, paused_seconds=rollout.paused_seconds + paused
    )


def _retry(draft: Draft, command: Command, wanted: Wanted) -> str | None:
    revision = wanted.revision if command.argument == "-" else command.argument
    lifted = [r for r in draft.status.rejected if revision in (r.revision, r.version)]
    waiting = draft.status.back_off
    if not lifted and waiting is None:
        return f"{revision} is not quarantined"
    keep = [r for r in draft.status.rejected if r not in lifted]
    draft.set(rejected=keep, back_off=None)
    if lifted and draft.status.candidate is None and draft.status.stable is not None:
        draft.record(draft.status.stable, "QuarantineLifted", f"{revision}", by=command.by)
    draft.tell(EventReason.QUARANTINE_LIFTED, f"{revision} may be tried again, by {command.by}")
    return None


def _rollback(draft: Draft, command: Command) -> str | None:
    if draft.status.rollout is not None and draft.status.rollout.phase != "Returning":
        return _abort(draft, Command("abort", "-", command.id, command.by))
    if command.argument != "-":
        refusal = _choose_target(draft, command.argument)
        if refusal is not None:
            return refusal
    message = f"rolled back by {command.by}"
    if return_to_last_good(draft, Reason.BY_PERSON, message, by=command.by):
        return None
    return "there is no other version known to be good; name one with --to"


def _choose_target(draft: Draft, version: str) -> str | None:
    """Make another version the one to return to."""
    good = draft.status.last_good
    if good is not None and version in (good.version, good.revision):
        return None
    for candidate in draft.snapshot.versions.values():
        spec = candidate.spec
        if spec.model == draft.spec.model and spec.version == version:
            revision = revision_of(spec.artifact.digest, draft.spec.serving)
            draft.set(last_good=try_of(draft.snapshot, candidate, revision))
            return None
    return f"no ModelVersion of the line {draft.spec.model} has version {version}"
