"""What people do in a run. Each story ends at rest, or is stuck where its operator is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.faults.world import Stage
from tests.unit.loop_objects import report
from tests.unit.reconcile.kinds.policies import policy_object
from tests.unit.reconcile.worlds import deployment_object, digest_of, version_object

from trimtab.cluster.port import (
    MODEL_VERSIONS,
    RETRAIN_JOBS,
    SERVICES,
    WORKLOADS,
    Json,
    Key,
)
from trimtab.simulation.jobs import Outcome
from trimtab.simulation.kubelet import PodBehaviour
from trimtab.simulation.traffic import Behaviour

Story = Callable[[Stage], Awaitable[None]]
STEPS = [{"weight": "25%", "for": "10s"}, {"weight": "50%", "for": "10s"}]
BAD = Behaviour(errors=1.0)


def deployment(version: str | None = "v1", **spec: Any) -> Json:
    """Return the Deployment of all stories: quick steps, a short guard."""
    rollout = {"steps": STEPS, "deadline": "5m", "scaleDownDelay": "30s"}
    spec = {"guard": {"for": "2m", "rollbackWithin": "1m"}, "rollout": rollout} | spec
    return deployment_object(version, metrics={"scrape": {"interval": "5s"}}, **spec)


def publish(stage: Stage, *versions: str) -> None:
    """Publish versions of the line."""
    for version in versions:
        made = version_object(version)
        made["spec"]["evaluation"] = [{"metric": "accuracy", "value": 0.974}]
        stage.apply({name: value for name, value in made.items() if name != "status"})


def want(stage: Stage, version: str) -> None:
    """Publish a version and ask for it."""
    publish(stage, version)
    stage.change(version=version)


async def serve_first(stage: Stage, **spec: Any) -> None:
    """Bring the first version up."""
    publish(stage, "v1")
    stage.apply(deployment("v1", **spec))
    await serves(stage, "v1")
    await stage.rest(15)


async def serves(stage: Stage, version: str) -> None:
    """Wait until a version serves and nothing is under way."""
    await stage.until(
        lambda: stage.serving == version and not stage.phase and stage.condition("Ready") == "True",
        f"{version} to serve",
    )


async def ended(stage: Stage, outcome: str) -> None:
    """Wait until a rollout has ended so."""
    await stage.until(lambda: outcome in stage.outcomes, outcome)


async def stepping(stage: Stage, version: str) -> None:
    """Ask for a version and wait until it gets requests."""
    want(stage, version)
    await stage.until(
        lambda: (
            stage.phase == "Stepping"
            and (stage.status.get("candidate") or {}).get("version") == version
        ),
        f"{version} to step",
    )


# --- the stories ---------------------------------------------------------------------------------


async def quick_start(stage: Stage) -> None:
    """A first version, a good one, a bad one that is rolled back."""
    stage.behaviour["bad"] = BAD
    await serve_first(stage)
    want(stage, "v2")
    await ended(stage, "v2 Promoted")
    await stage.rest(10)
    want(stage, "bad")
    await ended(stage, "bad RolledBack")


async def commands(stage: Stage) -> None:
    """Pause, resume, promote, abort, retry, rollback."""
    await serve_first(stage)
    await stepping(stage, "v2")
    stage.command("pause", "1")
    await stage.until(lambda: stage.condition("Paused") == "True", "the pause")
    await stage.rest(20)
    stage.command("resume", "2")
    await stage.until(lambda: stage.condition("Paused") != "True", "the end of the pause")
    stage.command("promote", "3")
    await serves(stage, "v2")
    await stepping(stage, "v3")
    stage.command("abort", "4")
    await ended(stage, "v3 Aborted")
    await stage.rest(10)
    stage.command("retry", "5")
    await serves(stage, "v3")
    await stage.rest(10)
    stage.command("rollback", "6")
    await serves(stage, "v2")


async def deletions(stage: Stage) -> None:
    """A pin that changes on the way, no pods for a while, versions and the Deployment deleted."""
    await serve_first(stage)
    await stepping(stage, "v2")
    want(stage, "v3")
    await serves(stage, "v3")
    stage.cluster.user_delete(Key(MODEL_VERSIONS, "shop", "digits-v2"))
    await stage.rest(10)
    stage.watchman.needs_pods(False)
    stage.change(replicas=0)
    await stage.until(lambda: not pods_of(stage), "no pods")
    await stage.rest(20)
    stage.change(replicas=2)
    await serves(stage, "v3")
    stage.watchman.needs_pods(True)
    await stage.rest(10)
    stage.watchman.needs_pods(False)
    stage.cluster.user_delete(stage.key)
    await stage.rest(10)
    stage.apply(deployment("v3"))
    await serves(stage, "v3")
    stage.watchman.needs_pods(True)


async def way_back(stage: Stage) -> None:
    """A promoted version turns bad under guard, when the one before has no pods any more.

    The guard is longer than a lost event needs to be found.
    """
    await serve_first(stage, guard={"for": "2h", "rollbackWithin": "1h"})
    want(stage, "v2")
    await serves(stage, "v2")
    await stage.until(lambda: set(pods_of(stage)) == {"v2"}, "v1 to have no pods")
    stage.behaviour["v2"] = BAD
    await serves(stage, "v1")


async def rollback(stage: Stage) -> None:
    """A person goes back to the version before, when it has no pods any more."""
    await serve_first(stage)
    want(stage, "v2")
    await serves(stage, "v2")
    await stage.until(lambda: set(pods_of(stage)) == {"v2"}, "v1 to have no pods")
    stage.command("rollback", "1")
    await serves(stage, "v1")


async def outages(stage: Stage) -> None:
    """No room for a candidate until after its deadline, then metrics that are silent."""
    await serve_first(stage)
    stage.kubelet.behave = only("v2", PodBehaviour(schedulable=False))
    want(stage, "v2")
    await ended(stage, "v2 Undecided")
    stage.behave(lambda pod: PodBehaviour())
    await serves(stage, "v2")
    await stepping(stage, "v3")
    silent = replace(stage.good, silent=True)
    stage.behaviour["v2"] = stage.behaviour["v3"] = silent
    await stage.rest(40)
    stage.behaviour.clear()
    await serves(stage, "v3")


async def crashes(stage: Stage) -> None:
    """A candidate that crashes while it starts, and pods of stable that are lost."""
    await serve_first(stage)
    stage.kubelet.behave = only("v2", PodBehaviour(ready_after=None, crash_after=1.0))
    want(stage, "v2")
    await ended(stage, "v2 RolledBack")
    await stage.rest(10)
    want(stage, "v3")
    await serves(stage, "v3")


async def edits(stage: Stage) -> None:
    """Hands in the children: sizes, selectors, fields of pods; some are deleted."""
    await serve_first(stage)
    workload = Key(WORKLOADS, "shop", stage.status["stable"]["workload"])
    service = Key(SERVICES, "shop", "digits")
    stage.cluster.user_change(workload, lambda obj: obj["spec"].update(replicas=2))
    await stage.rest(20)
    stage.cluster.user_change(service, lambda obj: obj["spec"]["selector"].update(app="x"))
    await stage.rest(20)
    stage.cluster.user_change(
        workload,
        lambda obj: obj["spec"]["template"]["spec"].update(nodeSelector={"disk": "ssd"}),
    )
    await stage.rest(20)
    stage.cluster.user_delete(service)
    await stage.rest(20)
    stage.cluster.user_delete(workload)
    await stage.rest(20)
    await serves(stage, "v1")


async def additions(stage: Stage) -> None:
    """Hands add to the children what we never wrote: keys of selectors, fields of pods."""
    await serve_first(stage)
    workload = Key(WORKLOADS, "shop", stage.status["stable"]["workload"])
    service = Key(SERVICES, "shop", "digits")
    stage.cluster.user_change(service, lambda obj: obj["spec"]["selector"].update(app="x"))
    await stage.rest(10)
    stage.cluster.user_change(
        workload, lambda obj: obj["spec"]["template"]["spec"].update(nodeSelector={"disk": "ssd"})
    )
    await stage.rest(10)
    stage.cluster.user_change(
        workload, lambda obj: obj["spec"]["template"]["spec"].update(hostNetwork=True)
    )
    await stage.rest(10)
    stage.cluster.user_change(workload, lambda obj: obj["spec"].update(paused=True))
    await stage.rest(10)
    await serves(stage, "v1")


async def quota(stage: Stage) -> None:
    """New workloads are refused for a minute, for longer than it would take to give up."""
    await serve_first(stage)
    stage.quota_is_full = True
    want(stage, "v2")
    await stage.rest(60)
    stage.quota_is_full = False
    await serves(stage, "v2")


async def retraining(stage: Stage) -> None:
    """A version that drifts is retrained once; its first attempt fails by infrastructure."""
    drifted = Behaviour(estimated=0.8)
    stage.good = Behaviour(estimated=0.97)
    stage.jobs.outcomes = trained
    publish(stage, "v1")
    stage.apply(deployment(None))
    quality = {"kind": "quality", "floor": {"dropBy": "8%"}}
    retrain = {"cooldown": "1m"}
    stage.apply(policy_object(quality, window="20s", retrain=retrain))
    await serves(stage, "v1")
    await stage.rest(60)
    stage.behaviour["v1"] = drifted
    await stage.until(lambda: bool(stage.cluster.views(RETRAIN_JOBS)), "a RetrainJob")
    await stage.until(lambda: stage.serving.startswith("r"), "the retrained version to serve")
    await stage.until(lambda: not stage.phase, "rest")


async def cancelling(stage: Stage) -> None:
    """A person deletes the RetrainJob that runs; after the cooldown the next one succeeds."""
    stage.good = Behaviour(estimated=0.97)
    stage.jobs.outcomes = lambda job, attempt: trained_well(job, 60)
    publish(stage, "v1")
    stage.apply(deployment(None))
    quality = {"kind": "quality", "floor": {"dropBy": "8%"}}
    stage.apply(policy_object(quality, window="20s", retrain={"cooldown": "10m"}))
    await serves(stage, "v1")
    await stage.rest(60)
    stage.behaviour["v1"] = Behaviour(estimated=0.8)
    await stage.until(lambda: bool(stage.cluster.views(RETRAIN_JOBS)), "a RetrainJob")
    await stage.rest(10)
    (job,) = stage.cluster.views(RETRAIN_JOBS)
    stage.cluster.user_delete(Key(RETRAIN_JOBS, "shop", job["metadata"]["name"]))
    await stage.until(lambda: stage.serving.startswith("r"), "the retrained version to serve")
    await stage.until(lambda: not stage.phase, "rest")


def trained(job: Json, attempt: int) -> Outcome:
    """Return how a training ends: the first attempt loses its node."""
    return Outcome(10, exit_code=137) if attempt == 0 else trained_well(job, 20)


def trained_well(job: Json, seconds: float) -> Outcome:
    """Return a training that lasts so long and writes its version."""
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    output = next(e["value"] for e in env if e["name"] == "TRIMTAB_OUTPUT_URI")
    digest = digest_of("retrained")
    return Outcome(seconds, message=report(output, uri=f"{output}retrained/", digest=digest))


def only(version: str, behaviour: PodBehaviour) -> Callable[[Json], PodBehaviour]:
    """Return pods that are good but for one version."""
    return lambda pod: (
        behaviour
        if pod["metadata"]["labels"].get("trimtab.dev/version") == version
        else PodBehaviour()
    )


def pods_of(stage: Stage) -> dict[str, int]:
    """Return how many pods each version has."""
    found: dict[str, int] = {}
    for workload in stage.cluster.views(WORKLOADS):
        version = workload["spec"]["template"]["metadata"]["labels"]["trimtab.dev/version"]
        if count := (workload.get("status") or {}).get("replicas", 0):
            found[version] = found.get(version, 0) + count
    return found


STORIES: Mapping[str, Story] = {
    "quick-start": quick_start,
    "commands": commands,
    "deletions": deletions,
    "way-back": way_back,
    "rollback": rollback,
    "outages": outages,
    "crashes": crashes,
    "edits": edits,
    "additions": additions,
    "quota": quota,
    "retraining": retraining,
    "cancelling": cancelling,
}
