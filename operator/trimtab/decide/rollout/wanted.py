"""Which version a Deployment wants, and the refusals before any pod starts.

The checks are an ordered list; the first that has something to say wins.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trimtab.api.conditions import Reason
from trimtab.api.deployment import QUARANTINED_AT_MOST, Deployment, DeploymentStatus, Serving
from trimtab.api.model_version import ModelVersion, version_object_name
from trimtab.decide.rollout.snapshot import Snapshot


@dataclass(frozen=True)
class Refusal:
    """Why the wanted version is not tried; the message says what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Wanted:
    """The version that should serve, its revision, and why it may not be tried now."""

    version: ModelVersion | None
    revision: str
    refusal: Refusal | None = None


_LATER: Final[dict[str, Any]] = {"grpc": False}
"""Fields that came after 0.1.0, with what serves without them: an upgrade changes no revision."""


def revision_of(digest: str, serving: Serving) -> str:
    """Return the revision: ten characters of the hash of artifact digest and serving part."""
    told = {
        name: value
        for name, value in serving.to_json().items()
        if name not in _LATER or value != _LATER[name]
    }
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{digest}\n{canonical}".encode()).hexdigest()[:10]


def decide_wanted(snapshot: Snapshot) -> Wanted:
    """Return what the Deployment wants to serve, with the first refusal that applies."""
    deployment = snapshot.deployment
    pin = deployment.spec.version
    version = _newest(snapshot) if pin is None else _pinned(snapshot, pin)
    if version is None:
        return Wanted(None, "", _missing(snapshot))
    revision = revision_of(version.spec.artifact.digest, deployment.spec.serving)
    return Wanted(version, revision, first_refusal(snapshot, version, revision))


def first_refusal(snapshot: Snapshot, version: ModelVersion, revision: str) -> Refusal | None:
    """Return what the first check that has something to say says against trying a version."""
    for check in CHECKS:
        refusal = check(snapshot, version, revision)
        if refusal is not None:
            return refusal
    return None


def _pinned(snapshot: Snapshot, pin: str) -> ModelVersion | None:
    return snapshot.versions.get(version_object_name(snapshot.deployment.spec.model, pin))


def _newest(snapshot: Snapshot) -> ModelVersion | None:
    """Return the newest usable version of the line, never one older than stable.

    None where stable's object cannot be read: nobody can tell what is older. Where it is gone, what
    was made since stable began to serve is newer for sure, and so is what is tried beside it.
    """
    deployment = snapshot.deployment
    rejected = {entry.revision for entry in deployment.status.rejected}
    stable = deployment.status.stable
    if stable is not None and stable.version_object in snapshot.unreadable:
        return None
    serving = snapshot.versions.get(stable.version_object) if stable is not None else None
    usable = [
        version
        for version in snapshot.versions.values()
        if version.spec.model == deployment.spec.model
        and version.metadata.deletion_timestamp is None
        and version.status.phase in ("Verified", "Unknown")
        and revision_of(version.spec.artifact.digest, deployment.spec.serving) not in rejected
        and _is_as_new(version, serving, deployment)
        and not _may_be_forgotten(version, deployment.status)
    ]
    return max(usable, key=age_order, default=serving)


def _is_as_new(version: ModelVersion, serving: ModelVersion | None, deployment: Deployment) -> bool:
    """Return whether a version is not older than stable; serving: the object of stable, if any."""
    stable, tried = deployment.status.stable, deployment.status.candidate
    if stable is None:
        return True
    if serving is not None:
        return age_order(version) >= age_order(serving)
    if tried is not None and version.spec.artifact.digest == tried.digest:
        return True
    created = version.metadata.creation_timestamp
    return created is not None and created >= stable.since.replace(microsecond=0)


def _may_be_forgotten(version: ModelVersion, status: DeploymentStatus) -> bool:
    """Return whether a version may have been quarantined, and pushed out by later ones."""
    created = version.metadata.creation_timestamp
    if len(status.rejected) < QUARANTINED_AT_MOST or created is None:
        return False
    return created < min(entry.at for entry in status.rejected)


def age_order(version: ModelVersion) -> tuple[float, list[tuple[int, str]], str]:
    """Return what orders versions by age; times are whole seconds, so that numbers decide then."""
    created = version.metadata.creation_timestamp
    seconds = created.timestamp() if created is not None else 0.0
    return seconds, _numbers_in(version.spec.version), version.metadata.name


def _numbers_in(version: str) -> list[tuple[int, str]]:
    """Return the parts of a version such that v9 comes before v10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", version)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _missing(snapshot: Snapshot) -> Refusal:
    spec, stable = snapshot.deployment.spec, snapshot.deployment.status.stable
    if spec.version is not None:
        name = version_object_name(spec.model, spec.version)
    else:
        name = stable.version_object if stable is not None else ""
    if name in snapshot.unreadable:
        return Refusal(
            Reason.VERSION_MISSING,
            f"ModelVersion {name} cannot be read by this release ({snapshot.unreadable[name]}); "
            "make it anew, or upgrade the operator",
        )
    if spec.version is None and stable is not None:
        return Refusal(
            Reason.NOTHING_TO_FOLLOW,
            f"ModelVersion {name} of stable is gone, and no verified one of the line {spec.model} "
            f"was made since {stable.version} began to serve; create one",
        )
    if spec.version is None:
        return Refusal(
            Reason.NOTHING_TO_FOLLOW,
            f"no verified ModelVersion of the line {spec.model} in this namespace; create one",
        )
    return Refusal(
        Reason.VERSION_MISSING, f"ModelVersion {name} does not exist in this namespace; create it"
    )


def _check_verified(snapshot: Snapshot, version: ModelVersion, revision: str) -> Refusal | None:
    if version.status.phase == "Rejected":
        why = next((c.message for c in version.status.conditions if c.type == "Verified"), "")
        return Refusal(
            Reason.VERSION_REJECTED,
            f"ModelVersion {version.metadata.name} is rejected: {why}. Make a new version.",
        )
    if version.status.phase == "Pending":
        return Refusal(
            Reason.STARTING, f"waiting until ModelVersion {version.metadata.name} is verified"
        )
    return None


def _check_quarantine(snapshot: Snapshot, version: ModelVersion, revision: str) -> Refusal | None:
    for entry in snapshot.deployment.status.rejected:
        if entry.revision == revision:
            name = snapshot.deployment.metadata.name
            return Refusal(
                Reason.QUARANTINED,
                f"version {entry.version} (revision {revision}) was tried and ended as "
                f"{entry.reason} at {entry.at:%Y-%m-%d %H:%M:%S}Z: {entry.evidence}. It is not "
                f"tried again; lift with: trimtab retry mdep/{name}",
            )
    return None


def _check_compatible(snapshot: Snapshot, version: ModelVersion, revision: str) -> Refusal | None:
    if snapshot.deployment.spec.rollout.allow_incompatible:
        return None
    name = version.metadata.name
    if name in snapshot.unread:
        return Refusal(
            Reason.STORE_AWAY,
            f"whether {name} accepts what stable accepts is not known until their files are read "
            "again; waiting for the store. Set rollout.allowIncompatible to insist.",
        )
    why = snapshot.incompatible.get(name)
    if why is None:
        return None
    return Refusal(
        Reason.INCOMPATIBLE,
        f"{name} does not accept what stable accepts: {why}. "
        "Set rollout.allowIncompatible to insist.",
    )


def _check_image(snapshot: Snapshot, version: ModelVersion, revision: str) -> Refusal | None:
    if version.spec.artifact.format == "custom" and snapshot.deployment.spec.serving.image is None:
        return Refusal(
            Reason.IMAGE_MISSING, "a custom artifact needs spec.serving.image, which is not set"
        )
    return None


def _check_names(snapshot: Snapshot, version: ModelVersion, revision: str) -> Refusal | None:
    """Nothing starts that could not be reached, or has no place to be."""
    for message in snapshot.taken.services.values():
        return Refusal(Reason.NAME_TAKEN, message)
    workloads = snapshot.taken.workloads
    taken = workloads.get(snapshot.freeze(version, revision, None).workload) if workloads else None
    return None if taken is None else Refusal(Reason.NAME_TAKEN, taken)


Check = Callable[[Snapshot, ModelVersion, str], Refusal | None]
CHECKS: tuple[Check, ...] = (
    _check_names,
    _check_quarantine,
    _check_verified,
    _check_image,
    _check_compatible,
)
