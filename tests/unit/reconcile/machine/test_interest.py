"""Who looks again when what changes."""

from typing import Any

from trimtab.api.resource import Resource
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    PODS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.reconcile.machine.cache import Cache, Change
from trimtab.reconcile.machine.interest import interested, interested_in_own_write


def thing(
    name: str, namespace: str = "shop", generation: int = 1, labels: Any = None, **parts: Any
) -> Json:
    metadata = {"name": name, "namespace": namespace, "uid": name, "generation": generation}
    return {"metadata": metadata | {"labels": labels or {}}, **parts}


def cache_of(*objects: tuple[Resource, Json]) -> Cache:
    cache = Cache()
    for resource, obj in objects:
        cache.take_in(resource, obj)
    return cache


def names(keys: set[Key]) -> set[str]:
    return {f"{key.resource.plural}/{key.name}" for key in keys}


LINE = cache_of(
    (DEPLOYMENTS, thing("digits", spec={"model": "digits"})),
    (DEPLOYMENTS, thing("letters", spec={"model": "letters"})),
    (DEPLOYMENTS, thing("digits", "other", spec={"model": "digits"})),
    (DRIFT_POLICIES, thing("watch")),
    (DRIFT_POLICIES, thing("elsewhere", "other")),
)


def test_a_child_wakes_its_parent() -> None:
    pod = thing("pod", labels={"trimtab.dev/deployment": "digits"})
    for change in (Change(PODS, None, pod), Change(PODS, pod, pod), Change(PODS, pod, None)):
        assert names(interested(Cache(), change)) == {"modeldeployments/digits"}


def test_a_child_that_moves_wakes_both_parents() -> None:
    old = thing("pod", labels={"trimtab.dev/deployment": "a"})
    new = thing("pod", labels={"trimtab.dev/deployment": "b"})
    found = names(interested(Cache(), Change(PODS, old, new)))
    assert found == {"modeldeployments/a", "modeldeployments/b"}


def test_a_child_of_nobody_wakes_nobody() -> None:
    assert interested(Cache(), Change(PODS, None, thing("pod"))) == set()


def test_a_version_wakes_the_deployments_of_its_line_in_its_namespace() -> None:
    change = Change(MODEL_VERSIONS, None, thing("digits-v2", spec={"model": "digits"}))
    keys = interested(LINE, change)
    assert names(keys) == {"modelversions/digits-v2", "modeldeployments/digits"}
    assert {key.namespace for key in keys} == {"shop"}


def test_a_deployment_wakes_the_policies_of_its_namespace() -> None:
    change = Change(DEPLOYMENTS, None, thing("digits", spec={"model": "digits"}))
    assert names(interested(LINE, change)) == {"modeldeployments/digits", "driftpolicies/watch"}


def test_a_deployment_wakes_only_the_versions_whose_use_changed() -> None:
    old = thing("d", status={"stable": {"versionObject": "m-v1"}})
    new = thing(
        "d",
        status={"stable": {"versionObject": "m-v1"}, "candidate": {"versionObject": "m-v2"}},
    )
    assert "modelversions/m-v2" in names(interested(Cache(), Change(DEPLOYMENTS, old, new)))
    assert "modelversions/m-v1" not in names(interested(Cache(), Change(DEPLOYMENTS, old, new)))
    assert names(interested(Cache(), Change(DEPLOYMENTS, new, None))) == {
        "modeldeployments/d",
        "modelversions/m-v1",
        "modelversions/m-v2",
    }


def test_a_policy_wakes_the_others_only_when_its_spec_changed() -> None:
    old, same, newer = thing("mine"), thing("mine"), thing("mine", generation=2)
    assert names(interested(LINE, Change(DRIFT_POLICIES, old, same))) == {"driftpolicies/mine"}
    both = {"driftpolicies/mine", "driftpolicies/watch"}
    assert names(interested(LINE, Change(DRIFT_POLICIES, old, newer))) == both
    assert names(interested(LINE, Change(DRIFT_POLICIES, old, None))) == both


def test_a_retrain_job_wakes_policies_and_its_deployment_when_it_finished() -> None:
    spec = {"cause": {"deployment": "digits"}}
    running = thing("rj", spec=spec, status={"phase": "Running"})
    done = thing("rj", spec=spec, status={"phase": "Succeeded"})
    pending = thing("rj", spec=spec, status={"phase": "Queued"})
    assert names(interested(LINE, Change(RETRAIN_JOBS, pending, running))) == {"retrainjobs/rj"}
    assert names(interested(LINE, Change(RETRAIN_JOBS, running, done))) == {
        "retrainjobs/rj",
        "driftpolicies/watch",
        "modeldeployments/digits",
    }


def test_a_new_retrain_job_wakes_policies_which_write_that_it_was_made() -> None:
    made = thing("rj", spec={"cause": {"deployment": "digits"}})
    woken = {"retrainjobs/rj", "driftpolicies/watch"}
    assert names(interested(LINE, Change(RETRAIN_JOBS, None, made))) == woken
    assert names(interested_in_own_write(LINE, Change(RETRAIN_JOBS, None, made))) == woken


def test_an_own_write_does_not_wake_who_wrote() -> None:
    old, new = thing("digits"), thing("digits", generation=2)
    assert names(interested_in_own_write(LINE, Change(DEPLOYMENTS, old, new))) == {
        "driftpolicies/watch"
    }


def test_an_object_that_we_made_is_looked_at() -> None:
    change = Change(MODEL_VERSIONS, None, thing("digits-v3", spec={"model": "digits"}))
    assert "modelversions/digits-v3" in names(interested_in_own_write(LINE, change))
