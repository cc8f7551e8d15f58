"""The list of quarantined revisions: what is in it, and what goes when it is full.

And who is out of the rollout, quarantined or not, and whose pods are Ready still.
"""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.api.deployment import QUARANTINED_AT_MOST as MOST
from trimtab.api.deployment import DeploymentStatus, Rejected
from trimtab.decide.rollout.history import is_rejected
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.wanted import age_order, revision_of

IN_FULL = 10
"""Of the newest so many the whole evidence is kept; status has no room for that of all."""
BRIEFLY = 60


def with_rejected(rejected: Sequence[Rejected], entry: Rejected, seen: Snapshot) -> list[Rejected]:
    """Return the quarantine with one more revision.

    When it is full, one goes that nobody can want: its version is gone, or is served in another
    way by now; or else one older than what serves and what would be returned to; or else the
    oldest.
    """
    entries = [*(r for r in rejected if r.revision != entry.revision), entry]
    if len(entries) > MOST:
        wish = _wishes(seen)
        entries.remove(min(entries[:-1], key=lambda one: wish.get(one.revision, 0)))
    return [*map(_in_brief, entries[:-IN_FULL]), *entries[-IN_FULL:]]


def _wishes(seen: Snapshot) -> dict[str, int]:
    """Return how likely each revision of the line is wanted again: 1 if it is old, or else 2."""
    spec, status = seen.deployment.spec, seen.deployment.status
    proven = [
        age_order(seen.versions[tried.version_object])
        for tried in (status.stable, status.last_good)
        if tried is not None and tried.version_object in seen.versions
    ]
    oldest = min(proven, default=None)
    return {
        revision_of(version.spec.artifact.digest, spec.serving): 1
        if oldest is not None and age_order(version) < oldest
        else 2
        for version in seen.versions.values()
        if version.spec.model == spec.model
    }


def _in_brief(entry: Rejected) -> Rejected:
    if len(entry.evidence) <= BRIEFLY:
        return entry
    return entry.model_copy(update={"evidence": f"{entry.evidence[: BRIEFLY - 3]}..."})


def still_ready(snapshot: Snapshot, status: DeploymentStatus) -> str | None:
    """Return the pod, and its version, of a revision that is out of the rollout and Ready still.

    Its workload is deleted, and a garbage collector may be late. Where the Service selects all pods
    of the Deployment, such a pod would get requests, and nobody would judge it. A pod of no known
    revision is somebody's own.
    """
    at_work = {
        tried.revision
        for tried in (status.stable, status.candidate, status.last_good)
        if tried is not None
        and (tried is status.stable or not is_rejected(status.rejected, tried.revision))
    }
    known = {entry.revision: entry.version for entry in status.history}
    known |= {entry.revision: entry.version for entry in status.rejected}
    for pod in snapshot.pods:
        is_out = pod.revision in known and pod.revision not in at_work
        if is_out and pod.ready and not pod.terminating:
            return f"pod {pod.name} of {known[pod.revision]}, which was taken away,"
    return None
