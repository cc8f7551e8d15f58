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
    """Deployment: something good serves, or no pods are wanted."""
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
    UP_TO_DATE = "UpToDate"
    """Deployment: the version that is wanted serves; it was not refused or rolled back."""
    RECONCILING = "Reconciling"
    """All kinds: it is on the way to what its spec wants, or waits for what comes by itself."""
    STALLED = "Stalled"
    """All kinds: nothing goes on until somebody changes something."""


class Reason(StrEnum):
    """Why a condition has its status, a gate its verdict or a rollout its end.

    Each member says where it is said (condition types, or `gate`, `history`, `rejected` in the
    status of a Deployment), what it means and, in a second paragraph, what a person can do. The
    reference page of conditions and the runbook are generated from these texts.
    """

    # Ready
    SERVING = "Serving"
    """Ready: the stable version serves."""
    STARTING = "Starting"
    """Ready, Progressing: the first version starts, or the ModelVersion is still being verified.

    Wait. If it lasts, look at the pods and at `kubectl get mv`.
    """
    SCALED_TO_ZERO = "ScaledToZero"
    """Ready, Progressing: `spec.replicas` is 0.

    Set `spec.replicas` to serve again.
    """
    FIRST_VERSION_FAILED = "FirstVersionFailed"
    """Ready, history: the first version failed, and there is no earlier one to return to.

    The message says what failed. Look at the pods, then name another version, or insist with
    `trimtab retry mdep/NAME`.
    """
    NOT_ENOUGH_READY = "NotEnoughReady"
    """Ready, Degraded, history: fewer pods of a version are Ready than wanted.

    Look at the pods: crashed, unschedulable, or without the artifact. Kubernetes restarts them;
    Trimtab changes nothing because of it. A candidate of which some pods came in time is not
    blamed for the others, and is tried again.
    """
    # refusals before any pod starts
    VERSION_MISSING = "VersionMissing"
    """Ready, Progressing: the ModelVersion that `spec.version` names does not exist here.

    Create it in the namespace of the Deployment, or correct `spec.version`.
    """
    VERSION_REJECTED = "VersionRejected"
    """Ready, Progressing, rejected: the ModelVersion failed its verification.

    See its `Verified` condition, publish the artifact again and make a new version.
    """
    INCOMPATIBLE = "IncompatibleSchema"
    """Ready, Progressing: the version does not accept the inputs that stable accepts.

    Publish a version with the old inputs. If all clients are ready for the new ones, set
    `spec.rollout.allowIncompatible: true`.
    """
    QUARANTINED = "Quarantined"
    """Ready, Progressing, Quarantined: this revision failed before and is not tried again.

    The message has the figures. Fix the model and publish a new version, or insist with
    `trimtab retry mdep/NAME`.
    """
    FLAPPING = "Flapping"
    """Progressing, Degraded: three automatic rollbacks within an hour; nothing automatic happens
    any more.

    Find out why versions keep failing, then run `trimtab retry mdep/NAME`.
    """
    NOTHING_TO_FOLLOW = "NothingToFollow"
    """Ready, Progressing: `spec.follow` is set, and the model has no version that may be tried.

    Create a ModelVersion of the model in this namespace. Where that of stable was deleted, only one
    that was made since it began to serve is followed.
    """
    IMAGE_MISSING = "ImageMissing"
    """Ready, Progressing: a version of format `custom` needs a container image.

    Set `spec.serving.image`.
    """
    NAME_TAKEN = "NameTaken"
    """Ready, Progressing, Stalled: an object of somebody else has the name of one that is needed.

    The message names it. Rename the Deployment or the RetrainJob, or remove the object. Nothing is
    written to it, and it is looked at again each 30 s.
    """
    # progress of a rollout
    UP_TO_DATE = "UpToDate"
    """Progressing: the wanted version serves."""
    CANDIDATE_STARTING = "CandidateStarting"
    """Progressing: the candidate's first pods start."""
    STEP_RUNNING = "StepRunning"
    """Progressing: the candidate gets the share of its step and is judged."""
    PROMOTING = "Promoting"
    """Progressing: the candidate grows to full size and then takes all requests."""
    WAITING_FOR_DATA = "WaitingForData"
    """Progressing: a gate has nothing to judge by, so the rollout waits where it is.

    See the reason of `DataAvailable`.
    """
    STABLE_NOT_READY = "StableNotReady"
    """Progressing: no pod of stable is Ready, so the candidate keeps all requests although its
    step would end.

    The message says what waits. Look at the pods of stable: once one is Ready the rollout goes on
    or ends. A candidate that gives bad answers is taken out all the same.
    """
    SHARE_TOO_LARGE = "ShareTooLarge"
    """Progressing: one pod of the candidate would get far more requests than the step allows.

    Raise `spec.replicas`, or accept the larger share with `spec.rollout.allowCoarse: true`.
    """
    SHARE_NOT_REACHED = "ShareNotReached"
    """Progressing: the time of the step is over, but the candidate gets far too few requests.

    The message has both shares. Clients that keep their connections, or a mesh of its own routing,
    are usual causes.
    """
    WAITING_FOR_SAMPLES = "WaitingForSamples"
    """Progressing: the last step's time is over, but the candidate answered too few requests.

    The message has both numbers; `spec.rollout.minSamples` is the one to reach.
    """
    PODS_DIFFER = "PodsDiffer"
    """Progressing, gate: pods of stable differ by so much that no fault would be found yet.

    It is what they showed in the last 30 minutes, an outage of one pod for example. The step goes
    on until there are enough requests, or the deadline. Mend the pod that differs, or set
    `onNoData: ignore` to go on without the gate.
    """
    PARTLY_SEEN = "PartlySeen"
    """Progressing, gate: many requests came while metrics were not seen, and with them the
    candidate is worse than allowed.

    The message has the numbers. What came then is no evidence, since nobody knows when it was
    counted; the step goes on until it is seen well enough, or the deadline. Find out why the
    metrics port of the candidate does not answer; `onNoData: ignore` goes on without the gate.
    """
    WORSE_SO_FAR = "WorseSoFar"
    """Progressing, gate: the candidate is worse than allowed, but that may still be chance.

    The message has the counts and the evidence. The step goes on until it is proven, or is so no
    more, or the deadline. More requests, also of stable, decide sooner.
    """
    PAUSED_BY_STEP = "PausedByStep"
    """Progressing, Paused: the step says `pause` and waits for a person.

    Go on with `trimtab resume mdep/NAME`, or end it with `trimtab abort mdep/NAME`.
    """
    PAUSED_BY_PERSON = "PausedByPerson"
    """Progressing, Paused: a person paused the rollout.

    Go on with `trimtab resume mdep/NAME`, or end it with `trimtab abort mdep/NAME`.
    """
    PAUSED_BY_POLICY = "PausedByPolicy"
    """Progressing: a DriftPolicy asks to try no other version for the time being.

    The message has what it found. It ends by itself when that is over. To go on before, take
    `pause` out of `spec.actions` of the policy.
    """
    BACKING_OFF = "BackingOff"
    """Progressing: nobody could judge the candidate in time; it is tried again later by itself.

    The last entry of `status.history` says what was missing. Mend that, and wait for the next try
    or start it now with `trimtab retry mdep/NAME`.
    """
    # ends of a rollout
    PROMOTED = "Promoted"
    """History: the candidate became stable."""
    ROLLED_BACK = "RolledBack"
    """Progressing, history: the version failed, or the guard or a person sent it back."""
    ABORTED = "Aborted"
    """History: a person ended the rollout; the revision is quarantined."""
    SUPERSEDED = "Superseded"
    """History: something else was wanted before the rollout ended; nothing is quarantined."""
    UNDECIDED = "Undecided"
    """History: nobody could judge by the deadline; nothing is quarantined."""
    # causes of a roll back
    GATE_FAILED = "GateFailed"
    """Gate, rejected: the evidence against the candidate passed the threshold."""
    CANDIDATE_DOWN = "CandidateDown"
    """Rejected: pods of the candidate crashed, or fell silent and were not Ready for 10 s while
    their nodes answered and the pods of stable were Ready."""
    NEVER_READY = "NeverReady"
    """Rejected: no pod of the candidate was Ready by the deadline."""
    UNSCHEDULABLE = "Unschedulable"
    """History: the cluster had no room for the candidate's pods, or may not place them yet; the
    version is not blamed."""
    REPLICA_FAILURE = "ReplicaFailure"
    """Progressing, Degraded, history: Kubernetes makes no pods of a version, for a quota is full
    or an admission policy refuses them; the version is not blamed.

    The message is that of Kubernetes. Raise the quota, or mend what refuses the pods; they are
    made by themselves then. A candidate is tried again.
    """
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """History: an image of the candidate could not be pulled; the version is not blamed."""
    GUARD_BREACHED = "GuardBreached"
    """Degraded, rejected: a promoted version became worse than what was measured before.

    Long after a promotion the cause is often a dependency or the load: look there first. If it is
    the model, run `trimtab rollback mdep/NAME`.
    """
    BY_PERSON = "ByPerson"
    """Rejected: a person aborted the rollout or rolled the version back."""
    NO_WAY_BACK = "NoWayBack"
    """Degraded: the guard saw a fault, and there is no good version to return to.

    Publish a good version again and name it in `spec.version`; the bad one serves until then.
    """
    RETURN_DELAYED = "ReturnDelayed"
    """Degraded: the last good version finds no place to start, and the bad one serves until then.

    The message says what is missing: room on nodes, a quota, an image, a permission. Mend it, and
    the way back goes on by itself; or name another version, in `spec.version` or with
    `trimtab rollback mdep/NAME --to VERSION`.
    """
    DEADLINE_PASSED = "DeadlinePassed"
    """History, rejected: the steps were not finished by `spec.rollout.deadline`."""
    # missing data
    BACKEND_DOWN = "BackendDown"
    """DataAvailable, gate: the metrics of the pods, or the Prometheus, do not answer.

    Check that the operator reaches port 9090 of the pods (NetworkPolicies, mTLS of a mesh), or the
    URL and the Secret of `spec.metrics.prometheus`.
    """
    NO_SERIES = "NoSeries"
    """DataAvailable, gate: the pods answer, but export no `trimtab_requests_total`, or none whose
    digest `trimtab_model_info` says.

    With an image of your own run `trimtab conform` against it. With Prometheus, check that it
    scrapes the pods, and keeps the labels and `trimtab_model_info`.
    """
    STALE = "Stale"
    """DataAvailable, gate: the newest sample is too old to judge by.

    Look at the operator's log and load, or at what scrapes the pods.
    """
    NOT_A_NUMBER = "NotANumber"
    """DataAvailable, gate: a counter is NaN, infinite or too large, or fell without a restart.

    It is a fault of what exports it: run `trimtab conform` against the image.
    """
    NO_TRAFFIC = "NoTraffic"
    """DataAvailable, gate: no request, or no label, has come since the step began.

    Wait or send requests. Gate `slow` sets the first requests of each pod aside
    (`rollout.warmUp`), and those that were asked of two versions. For a gate on `outcomes`, post
    labels or set `onNoData: ignore`.
    """
    WAITING = "Waiting"
    """DataAvailable, gate, Verified: nothing has been read yet.

    Wait. If it lasts, see the operator's log.
    """
    NO_STABLE = "NoStable"
    """DataAvailable, gate: not judged, since there is no stable version to compare with."""
    DATA_COMPLETE = "DataComplete"
    """DataAvailable: every gate has what it needs."""
    NOTHING_SEEN = "NothingSeen"
    """DataAvailable: a promoted version is under guard, and no figures of its pods can be read.

    A fault of it would not be seen. The message has the reason: look at the metrics port of the
    pods, or at the Prometheus. The guard lasts longer by as much, up to as long again as it is.
    """
    NO_ROLLOUT = "NoRollout"
    """DataAvailable: no rollout runs, so there is nothing to judge."""
    AS_WANTED = "AsWanted"
    """Degraded, Paused, Quarantined, Stalled: nothing to report."""
    # ModelVersion
    DIGEST_MATCHED = "DigestMatched"
    """Verified: manifest, signature and baseline are what the digest says."""
    DIGEST_MISMATCH = "DigestMismatch"
    """Verified: a stored file is not what the digest says.

    Somebody overwrote the artifact. Publish it again under a new version.
    """
    UNREADABLE = "Unreadable"
    """Verified: a file of the artifact is missing or too large.

    Publish it again under a new version.
    """
    SCHEMA_BROKEN = "SchemaBroken"
    """Verified: a file of the artifact is not what `publish` writes.

    Publish it again under a new version.
    """
    CHECKED_AT_LOAD = "CheckedAtLoad"
    """Verified: the operator may not read this store; the pods check the digest when they load.

    Nothing has to be done. To verify before any pod starts, give the operator credentials for the
    store (`artifacts.*` of the chart).
    """
    STORE_AWAY = "StoreAway"
    """Verified, Progressing, history: the store does not give what it should; it is asked again.

    The message says which error it gave. Check the endpoint, the Secret and the NetworkPolicies,
    and whether the object is still there. No version is blamed for it.
    A Deployment tries no version of which it cannot tell whether it accepts what stable accepts.
    """
    # DriftPolicy
    WATCHING = "Watching"
    """Watching: windows are counted and judged; the message may name a window that does not fit."""
    NO_TARGET = "NoTarget"
    """Watching: no Deployment that the selector names serves a version with a known baseline.

    Correct `spec.selector`, or publish the version with a baseline (`publish` writes one).
    """
    OVERLAP = "Overlap"
    """Watching: an older DriftPolicy watches the same Deployment.

    Delete one of the two, or select other Deployments.
    """
    STABLE = "Stable"
    """DriftDetected, Harm, DataBroken, gate: judged, and within what is allowed."""
    DRIFTING = "Drifting"
    """DriftDetected, Harm, DataBroken: judged, and beyond what is allowed.

    `DriftDetected`: inputs or predictions moved; find out why, nothing is retrained for it unless
    `spec.actions` says so. `Harm`: quality is below its floor; a RetrainJob runs, or an event
    `RetrainSkipped` says why not. `DataBroken`: mend what sends the values; nothing is trained on
    them.
    """
    INSUFFICIENT_DATA = "InsufficientData"
    """DriftDetected, Harm, DataBroken, Complete, gate: too few rows; the message says how many.

    Use a longer `spec.window` or a larger tolerance (`trimtab lint` says which), or give the
    retraining more data. Gate: rows with certain answers get no labels, so that the two versions
    cannot be compared on the same rows; send labels for those too, or set
    `spec.outcomes.dependsOnAnswer: true`.
    """
    NO_DATA = "NoData"
    """DriftDetected, Harm, DataBroken: nothing was counted; the message says why.

    Check that requests come in and that the operator reaches the pods' metrics.
    """
    # RetrainJob
    QUEUED = "Queued"
    """Complete: the training has not started."""
    RUNNING = "Running"
    """Complete: the training runs."""
    SUCCEEDED = "Succeeded"
    """Complete: the new version passed its gate and exists as a ModelVersion."""
    CHALLENGER_WORSE = "ChallengerWorse"
    """Complete: the new version is worse on the same rows than the gate allows.

    Look at the new data. After `giveUpAfter` such ends the policy stops retraining for this cause.
    """
    DATA_FAILED = "DataFailed"
    """Complete: the training data cannot be read or does not fit the signature of the version.

    The message names the column or the file. Mend the data; the policy tries again after its
    cooldown.
    """
    CODE_FAILED = "CodeFailed"
    """Complete: the training code failed, or reported something that is not a report.

    See the log of the training pod.
    """
    INFRASTRUCTURE_FAILED = "InfrastructureFailed"
    """Complete: pods were lost, the deadline passed, or the report is gone.

    Look at the Job and its pods; raise `activeDeadline` if the training needs longer.
    """
    # all kinds
    WRITE_REFUSED = "WriteRefused"
    """Stalled, history: the API server refused an object that the operator has to make.

    The message has the server's words: a quota, an admission policy or a missing permission. It is
    tried again by itself, and is never held against a version.
    """
    READ_REFUSED = "ReadRefused"
    """Stalled, history: the API server refuses what has to be read before a decision.

    The message has the server's words, mostly a missing permission. It is tried again by itself,
    and is never held against a version.
    """
    INVALID_SPEC = "InvalidSpec"
    """Stalled: this release of the operator cannot read the object.

    The message names the field. Correct it, or upgrade the operator if a newer one wrote it.
    """


class EventReason(StrEnum):
    """Reasons of events; each event repeats a decision after it was written."""

    ROLLOUT_STARTED = "RolloutStarted"
    """Deployment: a revision is tried."""
    STEP_REACHED = "StepReached"
    """Deployment: the candidate gets the share of its next step."""
    GATE_FAILED = "GateFailed"
    """Deployment: a gate has enough evidence against the candidate."""
    ROLLED_BACK = "RolledBack"
    """Deployment: a version was taken out and quarantined; another serves."""
    PROMOTED = "Promoted"
    """Deployment: the candidate is stable now; says how small a fault it would have caught."""
    ABORTED = "Aborted"
    """Deployment: a person ended the rollout."""
    SUPERSEDED = "Superseded"
    """Deployment: the candidate was dropped because something else is wanted."""
    UNDECIDED = "Undecided"
    """Deployment: nobody could judge in time; the candidate gets no requests until the next try."""
    QUARANTINED = "Quarantined"
    """Deployment: the wanted revision failed before and is not tried."""
    QUARANTINE_LIFTED = "QuarantineLifted"
    """Deployment: a person allowed a revision to be tried again."""
    FLAPPING = "Flapping"
    """Deployment: three automatic rollbacks within an hour stopped everything automatic."""
    GUARD_BREACHED = "GuardBreached"
    """Deployment: a promoted version became worse than what was measured before."""
    GUARD_PASSED = "GuardPassed"
    """Deployment: the watch after a promotion ended without a fault."""
    GUARD_UNSEEN = "GuardUnseen"
    """Deployment: the watch after a promotion is over, and saw nothing for half of it or more."""
    DATA_UNAVAILABLE = "DataUnavailable"
    """Deployment: a gate cannot see, so the rollout holds; or a guard is without its control."""
    DATA_BACK = "DataBack"
    """Deployment: the gates can judge again."""
    FIRST_VERSION_FAILED = "FirstVersionFailed"
    """Deployment: the first version failed, and there is none to return to."""
    DRIFT_DETECTED = "DriftDetected"
    """DriftPolicy: inputs or predictions moved by more than the tolerance."""
    DRIFT_CLEARED = "DriftCleared"
    """DriftPolicy: a signal that had fired is within its bounds, or its version serves no more."""
    HARM_DETECTED = "HarmDetected"
    """DriftPolicy: estimated or realised quality is below its floor."""
    DATA_BROKEN = "DataBroken"
    """DriftPolicy: missing, unseen or out-of-range values above their limit."""
    RETRAIN_STARTED = "RetrainStarted"
    """DriftPolicy, RetrainJob: a retraining begins, with its cause and its attempt."""
    RETRAIN_SKIPPED = "RetrainSkipped"
    """DriftPolicy: a rule asks for a retraining, and a guard says why it is not started."""
    RETRAIN_CANCELLED = "RetrainCancelled"
    """DriftPolicy: a RetrainJob was deleted before its end; it counts as an attempt."""
    RETRAIN_SUCCEEDED = "RetrainSucceeded"
    """RetrainJob: the new version passed its gate."""
    RETRAIN_REJECTED = "RetrainRejected"
    """RetrainJob: the new version is worse than the gate allows."""
    RETRAIN_FAILED = "RetrainFailed"
    """RetrainJob: no new version: the data, the code or the infrastructure failed, or rows lack."""
    VERSION_CREATED = "VersionCreated"
    """RetrainJob: the ModelVersion of the new version was made."""
    VERSION_VERIFIED = "VersionVerified"
    """ModelVersion: the artifact is what the digest says."""
    VERSION_REJECTED = "VersionRejected"
    """ModelVersion: the artifact is not what the digest says, or cannot be read."""
    CONFIGURATION_REPAIRED = "ConfigurationRepaired"
    """Deployment: an edited or deleted child was put back; names the fields and the editor."""
    COMMAND_CARRIED_OUT = "CommandCarriedOut"
    """Deployment: a person's command was carried out."""
    COMMAND_REFUSED = "CommandRefused"
    """Deployment: a person's command was refused; says why."""
    WRITE_REFUSED = "WriteRefused"
    """All kinds: the cluster refused an object (quota, admission, permissions)."""
    READ_REFUSED = "ReadRefused"
    """All kinds: the cluster refuses what has to be read before a decision (permissions)."""
    NAME_TAKEN = "NameTaken"
    """RetrainJob: an object of somebody else has the name of its Job; says which."""
    INVALID_SPEC = "InvalidSpec"
    """All kinds: this release of the operator cannot read the object; says which field."""
    DECISIONS_DROPPED = "DecisionsDropped"
    """All kinds: decisions were dropped before they had been told everywhere; says which."""


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


_ORDER = {kind.value: index for index, kind in enumerate(ConditionType)}


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
    return sorted(kept, key=lambda condition: _ORDER.get(condition.type, len(_ORDER)))


def reason_of(text: str, otherwise: Reason) -> Reason:
    """Return the reason that a status has as text; another one where it is none of ours.

    A status may be of another release, or edited by hand.
    """
    return Reason(text) if text in set(Reason) else otherwise


def find_condition(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)
