"""Conditions, columns and counts of a Deployment: the one writer of each."""

from __future__ import annotations

from datetime import timedelta

from trimtab.api.conditions import ConditionType, EventReason, Reason, set_condition
from trimtab.api.deployment import DeploymentSummary, GateStatus, Tried
from trimtab.api.meta import DEPLOYMENT_LABEL, MANAGED_BY_LABEL, MANAGER, REVISION_LABEL
from trimtab.contract.metrics import INFERENCE_PORT
from trimtab.decide.rollout.children import wanted_replicas
from trimtab.decide.rollout.draft import Draft
from trimtab.decide.rollout.ends import is_flapping
from trimtab.decide.rollout.gates import request_count
from trimtab.decide.rollout.steps import is_share_too_large, step_share
from trimtab.decide.rollout.wanted import Wanted

QUIET_START = timedelta(seconds=10)
_BEGINNING = frozenset({Reason.NO_TRAFFIC, Reason.WAITING})

Finding = tuple[bool | None, Reason, str]


def report(draft: Draft, wanted: Wanted) -> None:
    """Set everything that a person reads."""
    _count_pods(draft)
    findings: dict[ConditionType, Finding] = {
        ConditionType.READY: _ready(draft, wanted),
        ConditionType.PROGRESSING: _progressing(draft, wanted),
        ConditionType.DEGRADED: _degraded(draft),
        ConditionType.PAUSED: _paused(draft),
        ConditionType.QUARANTINED: _quarantined(draft, wanted),
        ConditionType.DATA_AVAILABLE: _data_available(draft),
    }
    deployment = draft.snapshot.deployment
    before: dict[str, str] = {c.type: c.status for c in draft.status.conditions}
    conditions = list(draft.status.conditions)
    for kind, (status, reason, message) in findings.items():
        conditions = set_condition(
            conditions,
            kind,
            status,
            reason,
            message,
            now=draft.now,
            generation=deployment.metadata.generation,
        )
    draft.set(conditions=conditions, observed_generation=deployment.metadata.generation)
    _tell_flips(draft, before, findings)
    _summarise(draft, wanted, findings)


def _tell_flips(
    draft: Draft, before: dict[str, str], findings: dict[ConditionType, Finding]
) -> None:
    quarantined = findings[ConditionType.QUARANTINED]
    if quarantined[0] and before.get(ConditionType.QUARANTINED) != "True":
        draft.tell(EventReason.QUARANTINED, quarantined[2], warning=True)
    degraded = findings[ConditionType.DEGRADED]
    flapping = degraded[0] and degraded[1] is Reason.FLAPPING
    if flapping and before.get(ConditionType.DEGRADED) != "True":
        draft.tell(EventReason.FLAPPING, degraded[2], warning=True)


def _count_pods(draft: Draft) -> None:
    """Fill in ready and desired pods and shares; the numbers of `scale`."""
    for field in ("stable", "candidate", "last_good"):
        tried: Tried | None = getattr(draft.status, field)
        if tried is None:
            continue
        pods = {
            "ready": draft.snapshot.ready_of(tried.revision),
            "desired": wanted_replicas(draft.spec, draft.status, tried, draft.now),
            **_shares(draft, tried, field),
        }
        draft.set(**{field: tried.model_copy(update=pods)})
    name = draft.snapshot.deployment.metadata.name
    namespace = draft.snapshot.deployment.metadata.namespace
    stable = draft.status.stable
    live = draft.snapshot.pods_of(stable.revision) if stable is not None else []
    draft.set(
        replicas=len(live),
        selector=_selector(name, stable),
        url=f"http://{name}.{namespace}.svc:{INFERENCE_PORT}",
    )


def _selector(name: str, stable: Tried | None) -> str:
    """Return the pods that `scale` counts: stable's, since the candidate's size is not HPA's."""
    selector = f"{MANAGED_BY_LABEL}={MANAGER},{DEPLOYMENT_LABEL}={name}"
    return selector if stable is None else f"{selector},{REVISION_LABEL}={stable.revision}"


def _shares(draft: Draft, tried: Tried, field: str) -> dict[str, str]:
    rollout, stable, candidate = (
        draft.status.rollout,
        draft.status.stable,
        draft.status.candidate,
    )
    if field == "last_good":
        return {"weight": "", "share": ""}
    stepping = rollout is not None and rollout.step is not None and candidate is not None
    if not stepping:
        alone = field == "stable" or stable is None
        return {"weight": "100%" if alone else "0%", "share": ""}
    assert rollout is not None
    assert rollout.step is not None
    share = step_share(draft.spec, draft.status)
    weight = rollout.step.weight if field == "candidate" else 1 - rollout.step.weight
    pods = share.candidate if field == "candidate" else share.total - share.candidate
    wanted = f"{weight * 100:g}% wanted, {pods} of {share.total} pods"
    if rollout.withdrawn:
        wanted = "0% until data is back" if field == "candidate" else "100%"
    return {"weight": wanted, "share": _measured_share(draft, tried)}


def _measured_share(draft: Draft, tried: Tried) -> str:
    rollout, stable, candidate = (
        draft.status.rollout,
        draft.status.stable,
        draft.status.candidate,
    )
    if rollout is None or rollout.step is None or stable is None or candidate is None:
        return ""
    origins, processes = rollout.step.origins, draft.snapshot.processes
    both = sum(
        request_count(r.revision, processes, origins, rollout.started) for r in (stable, candidate)
    )
    own = request_count(tried.revision, processes, origins, rollout.started)
    return f"{own / both * 100:.0f}%" if both else ""


def _ready(draft: Draft, wanted: Wanted) -> Finding:
    status, spec = draft.status, draft.spec
    if spec.replicas == 0:
        return False, Reason.SCALED_TO_ZERO, "replicas is 0; set it to serve again"
    if status.stable is None:
        return _ready_without_stable(draft, wanted)
    if status.guard is not None and status.guard.breached and status.last_good is None:
        return False, Reason.FIRST_VERSION_FAILED, status.guard.breached
    ready = draft.snapshot.ready_of(status.stable.revision)
    if ready == 0:
        return False, Reason.NOT_ENOUGH_READY, f"0/{spec.replicas} pods of {status.stable.version}"
    return True, Reason.SERVING, f"{status.stable.version} serves with {spec.replicas} pods wanted"


def _ready_without_stable(draft: Draft, wanted: Wanted) -> Finding:
    if draft.status.candidate is not None and draft.status.rollout is not None:
        return False, Reason.STARTING, f"{draft.status.candidate.version} is starting"
    failed = next(
        (h for h in reversed(draft.status.history) if h.outcome == Reason.FIRST_VERSION_FAILED),
        None,
    )
    if failed is not None and wanted.revision == failed.revision:
        return False, Reason.FIRST_VERSION_FAILED, failed.message
    if wanted.refusal is not None:
        return False, wanted.refusal.reason, wanted.refusal.message
    return False, Reason.STARTING, "nothing serves yet"


def _progressing(draft: Draft, wanted: Wanted) -> Finding:
    status = draft.status
    rollout, candidate = status.rollout, status.candidate
    if rollout is None or candidate is None:
        return _resting(draft, wanted)
    if rollout.paused_since is not None:
        who = rollout.paused_by or "a person"
        reason = Reason.PAUSED_BY_STEP if who == "step" else Reason.PAUSED_BY_PERSON
        return True, reason, f"{candidate.version} waits for: trimtab resume"
    holding = _holding(draft)
    match rollout.phase:
        case "Starting" if is_share_too_large(draft.spec, status):
            share = step_share(draft.spec, status)
            message = (
                f"one pod would get {share.value * 100:.0f}% of the requests, far above the step; "
                "raise replicas or set rollout.allowCoarse"
            )
            return True, Reason.SHARE_TOO_LARGE, message
        case "Starting":
            return True, Reason.CANDIDATE_STARTING, f"{candidate.version} is starting"
        case "Promoting":
            return True, Reason.PROMOTING, f"{candidate.version} grows to full size"
        case "Returning":
            return True, Reason.ROLLED_BACK, f"returning to {candidate.version}"
        case _:
            pass
    if holding is not None:
        return True, Reason.WAITING_FOR_DATA, f"gate {holding.name}: {holding.reason}"
    step = rollout.step
    place = f"step {step.index + 1}/{step.of}" if step is not None else ""
    return True, Reason.STEP_RUNNING, f"{candidate.version} at {place}"


def _holding(draft: Draft) -> GateStatus | None:
    """Return the first gate without data; what steps and pods begin with is not told at once."""
    rollout = draft.status.rollout
    expected: frozenset[str] = frozenset()
    if rollout is not None and rollout.step is not None:
        if draft.now - rollout.step.started < QUIET_START:
            expected = _BEGINNING
        elif _has_new_pod(draft):
            expected = frozenset({Reason.WAITING})
    return next(
        (g for g in draft.status.gates if g.verdict == "NoData" and g.reason not in expected), None
    )


def _has_new_pod(draft: Draft) -> bool:
    """Return whether a pod has just become Ready: its first scrape may be still to come."""
    tried = (draft.status.stable, draft.status.candidate)
    return any(
        pod.ready and pod.ready_seconds < QUIET_START.total_seconds()
        for one in tried
        if one is not None
        for pod in draft.snapshot.pods_of(one.revision)
    )


def _resting(draft: Draft, wanted: Wanted) -> Finding:
    waiting = draft.status.back_off
    if waiting is not None:
        message = f"undecided; tried again at {waiting.not_before:%Y-%m-%d %H:%M:%S}Z"
        return False, Reason.BACKING_OFF, message
    if wanted.refusal is not None:
        return False, wanted.refusal.reason, wanted.refusal.message
    return False, Reason.UP_TO_DATE, "nothing else is wanted"


def _degraded(draft: Draft) -> Finding:
    status = draft.status
    if is_flapping(draft):
        return (
            True,
            Reason.FLAPPING,
            "three rollbacks within an hour: nothing automatic is done until: trimtab retry",
        )
    guard = status.guard
    if guard is not None and guard.breached is not None:
        no_way_back = guard.breached.startswith(Reason.NO_WAY_BACK)
        return True, Reason.NO_WAY_BACK if no_way_back else Reason.GUARD_BREACHED, guard.breached
    if status.stable is not None and draft.spec.replicas > 0:
        ready = draft.snapshot.ready_of(status.stable.revision)
        old = (draft.now - status.stable.since).total_seconds() > 60
        if old and ready < draft.spec.replicas:
            return (
                True,
                Reason.NOT_ENOUGH_READY,
                f"{ready}/{draft.spec.replicas} pods of {status.stable.version} are Ready",
            )
    return False, Reason.AS_WANTED, ""


def _paused(draft: Draft) -> Finding:
    rollout = draft.status.rollout
    if rollout is None or rollout.paused_since is None:
        return False, Reason.AS_WANTED, ""
    who = rollout.paused_by or "a person"
    reason = Reason.PAUSED_BY_STEP if who == "step" else Reason.PAUSED_BY_PERSON
    return True, reason, f"by {who} since {rollout.paused_since:%H:%M:%S}Z; trimtab resume"


def _quarantined(draft: Draft, wanted: Wanted) -> Finding:
    if wanted.refusal is not None and wanted.refusal.reason is Reason.QUARANTINED:
        return True, Reason.QUARANTINED, wanted.refusal.message
    return False, Reason.AS_WANTED, ""


def _data_available(draft: Draft) -> Finding:
    rollout = draft.status.rollout
    if rollout is None or rollout.step is None:
        return None, Reason.NO_ROLLOUT, "judged while a rollout runs"
    blind = _holding(draft)
    if blind is None:
        return True, Reason.DATA_COMPLETE, ""
    return False, Reason(blind.reason), f"gate {blind.name}: {blind.message}"


def _summarise(draft: Draft, wanted: Wanted, findings: dict[ConditionType, Finding]) -> None:
    status, spec = draft.status, draft.spec
    want = spec.version or (wanted.version.spec.version if wanted.version else "")
    rollout = status.rollout
    step = ""
    if rollout is not None and rollout.step is not None:
        step = f"{rollout.step.index + 1}/{rollout.step.of} {rollout.step.weight * 100:g}%"
    ready = draft.snapshot.ready_of(status.stable.revision) if status.stable is not None else 0
    order = (
        ConditionType.QUARANTINED,
        ConditionType.DEGRADED,
        ConditionType.PAUSED,
        ConditionType.PROGRESSING,
        ConditionType.READY,
    )
    reason = findings[ConditionType.READY][1]
    for kind in order:
        if findings[kind][0]:
            reason = findings[kind][1]
            break
    not_ready = findings[ConditionType.READY]
    if not not_ready[0] and rollout is None:
        reason = not_ready[1]
    summary = DeploymentSummary(
        want=want,
        serving=status.stable.version if status.stable is not None else "",
        candidate=status.candidate.version if status.candidate is not None else "",
        step=step,
        ready=f"{ready}/{spec.replicas}",
        reason=reason,
    )
    draft.set(summary=summary)
