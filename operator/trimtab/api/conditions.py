"""Condition types, reasons and event reasons: a closed vocabulary, one sentence each."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from trimtab.api.fields import Model, Time, map_list, unique


class ConditionType(StrEnum):
    """What a condition of ours can be about."""

    READY = "Ready"
    """Deployment: something good serves."""
    PROGRESSING = "Progressing"
    """Deployment: a rollout is under way."""
    DEGRADED = "Degraded"
    """Deployment: serving, but a person should look."""
    PAUSED = "Paused"
    """Deployment: a person or a step stopped the rollout."""
    QUARANTINED = "Quarantined"
    """Deployment: the wanted revision failed before and is not tried again."""
    DATA_AVAILABLE = "DataAvailable"
    """Deployment: the gates have what they need to judge."""
    VERIFIED = "Verified"
    """ModelVersion: the stored artifact is what the digest says."""
    WATCHING = "Watching"
    """DriftPolicy: its signals are being judged."""
    DRIFT_DETECTED = "DriftDetected"
    """DriftPolicy: inputs or predictions moved by more than the tolerance."""
    HARM = "Harm"
    """DriftPolicy: estimated or realised quality is below its floor."""
    DATA_BROKEN = "DataBroken"
    """DriftPolicy: missing, unseen or out-of-range values above their limit."""
    COMPLETE = "Complete"
    """RetrainJob: finished, in whatever way."""


class Reason(StrEnum):
    """Why a condition has its status, or why something was done."""

    # Ready
    SERVING = "Serving"
    STARTING = "Starting"
    SCALED_TO_ZERO = "ScaledToZero"
    FIRST_VERSION_FAILED = "FirstVersionFailed"
    NOT_ENOUGH_READY = "NotEnoughReady"
    NO_VERSION = "NoVersion"
    # refusals before any pod starts
    VERSION_MISSING = "VersionMissing"
    VERSION_REJECTED = "VersionRejected"
    INCOMPATIBLE = "IncompatibleSchema"
    QUARANTINED = "Quarantined"
    FLAPPING = "Flapping"
    INVALID_SPEC = "InvalidSpec"
    NOTHING_TO_FOLLOW = "NothingToFollow"
    IMAGE_MISSING = "ImageMissing"
    NAME_TAKEN = "NameTaken"
    # progress of a rollout
    UP_TO_DATE = "UpToDate"
    CANDIDATE_STARTING = "CandidateStarting"
    STEP_RUNNING = "StepRunning"
    PROMOTING = "Promoting"
    WAITING_FOR_SAMPLES = "WaitingForSamples"
    WAITING_FOR_DATA = "WaitingForData"
    SHARE_TOO_LARGE = "ShareTooLarge"
    SHARE_NOT_REACHED = "ShareNotReached"
    PAUSED_BY_STEP = "PausedByStep"
    PAUSED_BY_PERSON = "PausedByPerson"
    BACKING_OFF = "BackingOff"
    # ends of a rollout
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    UNDECIDED = "Undecided"
    # causes of a roll back
    GATE_FAILED = "GateFailed"
    CANDIDATE_DOWN = "CandidateDown"
    NEVER_READY = "NeverReady"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    GUARD_BREACHED = "GuardBreached"
    BY_PERSON = "ByPerson"
    NO_WAY_BACK = "NoWayBack"
    DEADLINE_PASSED = "DeadlinePassed"
    # missing data
    BACKEND_DOWN = "BackendDown"
    NO_SERIES = "NoSeries"
    STALE = "Stale"
    NOT_A_NUMBER = "NotANumber"
    NO_TRAFFIC = "NoTraffic"
    WAITING = "Waiting"
    NO_STABLE = "NoStable"
    DATA_COMPLETE = "DataComplete"
    NO_ROLLOUT = "NoRollout"
    AS_WANTED = "AsWanted"
    # ModelVersion
    DIGEST_MATCHED = "DigestMatched"
    DIGEST_MISMATCH = "DigestMismatch"
    UNREADABLE = "Unreadable"
    SCHEMA_BROKEN = "SchemaBroken"
    CHECKED_AT_LOAD = "CheckedAtLoad"
    STORE_AWAY = "StoreAway"
    # DriftPolicy
    WATCHING = "Watching"
    NO_TARGET = "NoTarget"
    OVERLAP = "Overlap"
    STABLE = "Stable"
    DRIFTING = "Drifting"
    INSUFFICIENT_DATA = "InsufficientData"
    NO_DATA = "NoData"
    # RetrainJob
    QUEUED = "Queued"
    RUNNING = "Running"
    EVALUATING = "Evaluating"
    SUCCEEDED = "Succeeded"
    CHALLENGER_WORSE = "ChallengerWorse"
    DATA_FAILED = "DataFailed"
    CODE_FAILED = "CodeFailed"
    INFRASTRUCTURE_FAILED = "InfrastructureFailed"


class EventReason(StrEnum):
    """Reasons of events; each event repeats a decision after it was written."""

    ROLLOUT_STARTED = "RolloutStarted"
    STEP_REACHED = "StepReached"
    GATE_FAILED = "GateFailed"
    ROLLED_BACK = "RolledBack"
    PROMOTED = "Promoted"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    UNDECIDED = "Undecided"
    QUARANTINED = "Quarantined"
    QUARANTINE_LIFTED = "QuarantineLifted"
    FLAPPING = "Flapping"
    GUARD_BREACHED = "GuardBreached"
    GUARD_PASSED = "GuardPassed"
    DATA_UNAVAILABLE = "DataUnavailable"
    DATA_BACK = "DataBack"
    FIRST_VERSION_FAILED = "FirstVersionFailed"
    DRIFT_DETECTED = "DriftDetected"
    DRIFT_CLEARED = "DriftCleared"
    HARM_DETECTED = "HarmDetected"
    DATA_BROKEN = "DataBroken"
    RETRAIN_STARTED = "RetrainStarted"
    RETRAIN_SKIPPED = "RetrainSkipped"
    RETRAIN_SUCCEEDED = "RetrainSucceeded"
    RETRAIN_REJECTED = "RetrainRejected"
    RETRAIN_FAILED = "RetrainFailed"
    VERSION_CREATED = "VersionCreated"
    VERSION_VERIFIED = "VersionVerified"
    VERSION_REJECTED = "VersionRejected"
    CONFIGURATION_REPAIRED = "ConfigurationRepaired"
    COMMAND_CARRIED_OUT = "CommandCarriedOut"
    COMMAND_REFUSED = "CommandRefused"
    WRITE_REFUSED = "WriteRefused"


class Condition(Model):
    """A condition in the sense of the Kubernetes API conventions."""

    type: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="What the condition is about."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9]*$")] = Field(
        description="Why, in one word."
    )
    message: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="Why, with the figures and what a person can do."
    )
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that it was judged on."
    )


Conditions = Annotated[
    list[Condition],
    Field(max_length=16, json_schema_extra=map_list("type")),
    unique(lambda condition: condition.type, "conditions of one type"),
]


def set_condition(
    conditions: Sequence[Condition],
    kind: ConditionType,
    status: bool | None,
    reason: Reason,
    message: str,
    *,
    now: datetime,
    generation: int,
) -> list[Condition]:
    """Return `conditions` with one set; the transition time moves only when the status flips.

    `status` None means `Unknown`.
    """
    text: Literal["True", "False", "Unknown"] = (
        "Unknown" if status is None else "True" if status else "False"
    )
    since = now.replace(microsecond=0)
    kept: list[Condition] = []
    for condition in conditions:
        if condition.type == kind:
            since = condition.last_transition_time if condition.status == text else since
        else:
            kept.append(condition)
    kept.append(
        Condition(
            type=kind.value,
            status=text,
            reason=reason.value,
            message=message[:2048],
            last_transition_time=since,
            observed_generation=generation,
        )
    )
    order = {kind.value: index for index, kind in enumerate(ConditionType)}
    return sorted(kept, key=lambda condition: order.get(condition.type, len(order)))


def find_condition(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)
