"""From status to children: which workloads at which size, and which pods get the traffic.

Derived from spec and status alone, so that a restart continues where the status says, and what
somebody changed by hand is put back. The order of actions is the order of effects: on the way
back traffic moves first; on the way forward pods come first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trimtab.api.deployment import DeploymentSpec, DeploymentStatus, Tried
from trimtab.decide.led_time import is_to_come
from trimtab.decide.rollout.control import wanted_control
from trimtab.decide.rollout.phases import Starting, Stepping, phase_of, progress_in
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.steps import step_share
from trimtab.decide.rollout.traffic import way_of
from trimtab.decide.rollout.traffic.plan import plan_traffic
from trimtab.decide.rollout.traffic.replicas import Route


@dataclass(frozen=True)
class Size:
    """Run a revision at a size."""

    tried: Tried
    replicas: int


@dataclass(frozen=True)
class Remove:
    """Delete a workload that nothing needs any more."""

    workload: str
    uid: str


ChildAction = Size | Route | Remove


@dataclass(frozen=True)
class Plan:
    """The wanted children: sizes by revision, and the route."""

    sizes: tuple[Size, ...]
    route: Route | None


def plan_children(spec: DeploymentSpec, status: DeploymentStatus, now: datetime) -> Plan:
    """Return the children that a status means at `now`."""
    sizes: dict[str, Size] = {}
    for tried in (status.last_good, status.candidate, status.stable):
        if tried is not None:
            sizes[tried.revision] = Size(tried, wanted_replicas(spec, status, tried, now))
    return Plan(tuple(sizes.values()), way_of(spec).route(plan_traffic(spec, status)))


def wanted_replicas(
    spec: DeploymentSpec, status: DeploymentStatus, tried: Tried, now: datetime
) -> int:
    """Return the size of one revision at `now`."""
    if spec.replicas == 0:
        return 0
    if status.stable is not None and tried.revision == status.stable.revision:
        return spec.replicas
    if status.candidate is not None and tried.revision == status.candidate.revision:
        return _candidate_replicas(spec, status)
    if is_kept(spec, status, tried, now):
        return spec.replicas
    control = wanted_control(spec, status, now)
    return 1 if control is not None and control.revision == tried.revision else 0


def is_kept(spec: DeploymentSpec, status: DeploymentStatus, tried: Tried, now: datetime) -> bool:
    """Return whether all pods of the old stable are kept for a quick way back.

    No longer than `scaleDownDelay`, also where the clock was set back.
    """
    retiring = status.retiring
    if retiring is None or retiring.revision != tried.revision:
        return False
    return is_to_come(retiring.until, now, spec.rollout.scale_down_delay)


def _candidate_replicas(spec: DeploymentSpec, status: DeploymentStatus) -> int:
    phase = phase_of(status)
    if phase is None:
        return 1  # undecided: one pod stays, out of traffic
    if status.stable is not None and isinstance(phase, Starting | Stepping):
        progress = progress_in(phase)
        return step_share(spec, progress.step if progress is not None else None).candidate
    return spec.replicas


def order_actions(snapshot: Snapshot, plan: Plan) -> list[ChildAction]:
    """Return the actions in the order of their effects.

    Growing comes first, then the route, then shrinking and removing: at no time is traffic sent
    to pods that are being taken away, and a way back moves the traffic before anything else.
    """
    growing: list[ChildAction] = []
    shrinking: list[ChildAction] = []
    for size in plan.sizes:
        live = snapshot.workloads.get(size.tried.revision)
        if live is None and size.replicas == 0:
            continue
        grows = live is None or size.replicas >= live.replicas
        (growing if grows else shrinking).append(size)
    wanted = {size.tried.revision for size in plan.sizes}
    shrinking += [
        Remove(live.name, live.uid)
        for revision, live in sorted(snapshot.workloads.items())
        if revision not in wanted and not live.terminating
    ]
    route: list[ChildAction] = [plan.route] if plan.route is not None else []
    if shrinking:
        return [*route, *shrinking, *growing]
    return [*growing, *route]
