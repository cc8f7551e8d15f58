"""Commands of a person, written as an annotation and carried out once.

`trimtab.dev/command: verb/argument/id`. The argument is the revision that the person saw (so that
a command never hits a later candidate), a version for `rollback`, or `-` for none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trimtab.api.conditions import EventReason, Reason
from trimtab.api.deployment import Tried
from trimtab.api.meta import COMMAND_ANNOTATION, COMMAND_BY_ANNOTATION
from trimtab.api.model_version import ModelVersion
from trimtab.decide.rollout.alone import carries_alone, why_unwanted
from trimtab.decide.rollout.draft import OPERATOR, Draft
from trimtab.decide.rollout.ends import (
    guard_over,
    is_flapping,
    return_to,
    roll_back,
    supersede,
    try_of,
)
from trimtab.decide.rollout.history import is_rejected
from trimtab.decide.rollout.phases import (
    ON_DEADLINE,
    Phase,
    Returning,
    is_late,
    paused_by_person,
    promoted_early,
    resumed,
)
from trimtab.decide.rollout.wanted import Wanted, first_refusal, revision_of

VERBS = ("promote", "abort", "pause", "resume", "retry", "rollback")
NO_OTHER = "there is no other version known to be good; name one with --to"


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
    by = annotations.get(COMMAND_BY_ANNOTATION, "")
    if by in ("", OPERATOR, ON_DEADLINE):
        by = "unknown"  # what a person decides must not count as our own decision
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
            return _why_dropped(draft, wanted) or _promote(draft, command)
        case "abort":
            return _abort(draft, command)
        case "pause":
            return _why_dropped(draft, wanted) or _pause(draft, command)
        case "resume":
            return _why_dropped(draft, wanted) or _resume(draft, command)
        case "retry":
            return _retry(draft, command, wanted)
        case "rollback":
            return _rollback(draft, command)
        case _:
            return f"unknown command; known are {', '.join(VERBS)}"


def _commanded(draft: Draft, command: Command) -> Phase | str:
    """Return the phase of the candidate that the person saw, or why there is none."""
    phase = draft.phase
    if phase is None:
        return "no rollout is under way"
    if isinstance(phase, Returning):
        return _returning(draft, phase)
    if command.argument not in ("-", phase.candidate.revision):
        return f"the candidate is {phase.candidate.revision} by now, not {command.argument}"
    return phase


def _why_dropped(draft: Draft, wanted: Wanted) -> str | None:
    """Return why the candidate is dropped in this very pass; None if it is not."""
    phase = draft.phase
    if phase is None or isinstance(phase, Returning):
        return None
    unwanted = why_unwanted(phase, wanted)
    if unwanted is None or carries_alone(draft.snapshot, draft.status):
        return None
    return f"{phase.candidate.version} is dropped: {unwanted}"


def _returning(draft: Draft, phase: Returning) -> str:
    name, stable = draft.snapshot.deployment.metadata.name, draft.status.stable
    left = "" if stable is None else f" {stable.version}"
    if is_late(draft.spec, phase, draft.instant):
        return (
            f"{phase.candidate.version} is returned to once it finds a place to start; to keep "
            f"what serves: trimtab retry mdep/{name}{left}; to return to another version: "
            f"trimtab rollback mdep/{name} --to VERSION"
        )
    return (
        f"the way back to {phase.candidate.version} is under way, and goes on; once it is over, "
        f"trimtab retry mdep/{name}{left} or trimtab rollback mdep/{name} --to VERSION"
    )


def _promote(draft: Draft, command: Command) -> str | None:
    phase = _commanded(draft, command)
    if isinstance(phase, str):
        return phase
    draft.enter(promoted_early(resumed(phase, draft.instant), draft.instant, by=command.by))
    return None


def _abort(draft: Draft, command: Command) -> str | None:
    phase = _commanded(draft, command)
    if isinstance(phase, str):
        return phase
    message = f"aborted by {command.by}"
    roll_back(draft, phase.candidate, Reason.BY_PERSON, message, by=command.by)
    return None


def _pause(draft: Draft, command: Command) -> str | None:
    phase = _commanded(draft, command)
    if isinstance(phase, str):
        return phase
    if phase.pause is None:
        draft.enter(replace(phase, pause=paused_by_person(draft.instant, command.by)))
    return None


def _resume(draft: Draft, command: Command) -> str | None:
    phase = _commanded(draft, command)
    if isinstance(phase, str):
        return phase
    if phase.pause is None:
        return "the rollout is not paused"
    draft.enter(resumed(phase, draft.instant))
    return None


def _retry(draft: Draft, command: Command, wanted: Wanted) -> str | None:
    revision = wanted.revision if command.argument == "-" else command.argument
    lifted = [r for r in draft.status.rejected if revision in (r.revision, r.version)]
    waiting = draft.status.back_off
    stopped = is_flapping(draft.status.history, draft.now)
    if not lifted and waiting is None and not stopped:
        return f"{revision} is not quarantined"
    keep = [r for r in draft.status.rejected if r not in lifted]
    draft.set(rejected=keep, back_off=None)
    stable = draft.status.stable
    if stable is not None and (stopped or (lifted and draft.status.candidate is None)):
        draft.record(stable, "QuarantineLifted", f"{revision}", by=command.by)
    if stable is not None and any(entry.revision == stable.revision for entry in lifted):
        # It failed and serves all the same: from now on it has to be good by itself.
        phase = draft.phase
        if isinstance(phase, Returning) and is_late(draft.spec, phase, draft.instant):
            kept = f"{phase.candidate.version} dropped: {stable.version} is kept by {command.by}"
            supersede(draft, phase.candidate, kept)
        draft.set(guard=guard_over(draft, stable, {}))
    draft.tell(EventReason.QUARANTINE_LIFTED, f"{revision} may be tried again, by {command.by}")
    return None


def _rollback(draft: Draft, command: Command) -> str | None:
    phase = draft.phase
    if isinstance(phase, Returning) and not is_late(draft.spec, phase, draft.instant):
        return _returning(draft, phase)
    if phase is not None and not isinstance(phase, Returning):
        return _return_to_stable(draft, command, phase)
    if draft.status.stable is None:
        return "nothing serves that could be left; name another with spec.version"
    target = _target(draft, command.argument)
    if isinstance(target, str):
        return target
    if isinstance(phase, Returning) and target.revision == phase.candidate.revision:
        return _returning(draft, phase)
    message = f"rolled back by {command.by}"
    if return_to(draft, target, Reason.BY_PERSON, message, by=command.by):
        return None
    return NO_OTHER


def _return_to_stable(draft: Draft, command: Command, phase: Phase) -> str | None:
    """While a candidate is out, the way back leads to the version that serves beside it."""
    stable = draft.status.stable
    named = command.argument
    if named != "-" and (stable is None or named not in (stable.version, stable.revision)):
        serving = "nothing serves beside it" if stable is None else f"{stable.version} serves"
        return (
            f"{phase.candidate.version} is being rolled out and {serving}: abort the rollout first"
        )
    message = f"rolled back by {command.by}"
    roll_back(draft, phase.candidate, Reason.BY_PERSON, message, by=command.by)
    return None


def _target(draft: Draft, version: str) -> Tried | str:
    """Return what to return to, or why not; it is the last good version once it serves."""
    good = draft.status.last_good
    if version == "-":
        return good or NO_OTHER
    if good is not None and version in (good.version, good.revision):
        refusal = _why_quarantined(draft, good.revision, version)
        return refusal or _why_rejected(draft, good) or good
    for candidate in draft.snapshot.versions.values():
        spec = candidate.spec
        if spec.model == draft.spec.model and spec.version == version:
            revision = revision_of(spec.artifact.digest, draft.spec.serving)
            stable = draft.status.stable
            if stable is not None and revision == stable.revision:
                return f"{version} serves already"
            refusal = _why_quarantined(draft, revision, version)
            refusal = refusal or _why_unfit(draft, candidate, revision)
            return refusal or try_of(draft.snapshot, candidate, revision)
    return f"no ModelVersion of the line {draft.spec.model} has version {version}"


def _why_rejected(draft: Draft, good: Tried) -> str | None:
    """Return why what served before cannot be loaded any more.

    What it accepts is no question: it is where the present version came from.
    """
    version = draft.snapshot.versions.get(good.version_object)
    if version is None or version.status.phase != "Rejected":
        return None
    return _why_unfit(draft, version, good.revision)


def _why_unfit(draft: Draft, version: ModelVersion, revision: str) -> str | None:
    """Return what keeps a version from being tried, whoever asks for it."""
    refusal = first_refusal(draft.snapshot, version, revision)
    return None if refusal is None else refusal.message


def _why_quarantined(draft: Draft, revision: str, version: str) -> str | None:
    if is_rejected(draft.status.rejected, revision):
        name = draft.snapshot.deployment.metadata.name
        return f"{version} is quarantined; trimtab retry mdep/{name} {version} lifts that"
    return None
