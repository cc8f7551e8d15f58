"""A second engine is one entry in the list: built, watched and viewed without another change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import Field
from tests.unit.loop_objects import NAMESPACE, report, retrain_job, retrain_job_key
from tests.unit.reconcile.kinds.test_retrain_job import harness, serving_cluster

from trimtab.api.kinds import BY_PLURAL
from trimtab.api.resource import Resource
from trimtab.api.retrain_job import Engine, JobEngine, RetrainJob, RetrainJobSpec
from trimtab.api.run import RunEnd, RunView
from trimtab.build.engines import ENGINES
from trimtab.build.training_engine import TrainingEngine, watch_and_create
from trimtab.build.training_pod import (
    RunRequest,
    build_training_pod,
    is_live_child,
    pod_views,
    run_metadata,
)
from trimtab.cluster.port import MODEL_VERSIONS, PODS, Json, Key
from trimtab.contract.training import Variable
from trimtab.generate.__main__ import ENGINE_RULES, generated_files
from trimtab.handlers.events import kopf_settings
from trimtab.reconcile.kinds import retrain_job as reconciler
from trimtab.reconcile.machine.watched import watched, written
from trimtab.simulation.cluster import SimulatedCluster
from trimtab.simulation.harness import Harness

ROOT = Path(__file__).parents[4]

# --- what a new engine brings: its field, its builder, its view ---------------------------------


class EngineWithRocket(Engine):
    """The field in the API."""

    job: JobEngine | None = None  # type: ignore[assignment]
    rocket: JobEngine | None = None


class SpecWithRocket(RetrainJobSpec):
    """The spec with that field."""

    engine: EngineWithRocket = Field()


class RetrainJobWithRocket(RetrainJob):
    """The kind with that field."""

    spec: SpecWithRocket


ROCKETS = Resource("space.example", "v2", "rockets", "Rocket")


def build_rocket(request: RunRequest) -> Json:
    asked = request.job.spec.engine.rocket  # type: ignore[attr-defined]
    metadata = run_metadata(request.job)
    stage = {"metadata": {"labels": metadata["labels"]}, "spec": build_training_pod(request, asked)}
    return {
        "apiVersion": ROCKETS.api_version,
        "kind": ROCKETS.kind,
        "metadata": metadata,
        "spec": {"stages": [stage]},
    }


def view_rocket(job: RetrainJob, rocket: Json | None, pods: Sequence[Json]) -> RunView:
    if rocket is None or not is_live_child(rocket, job):
        return RunView()
    lost = (rocket.get("status") or {}).get("lost")
    end = RunEnd("failed", job.status.started, lost) if lost else None
    return RunView(True, end, pod_views(pods))


ROCKET = TrainingEngine(ROCKETS, build_rocket, view_rocket, (watch_and_create(ROCKETS),))
ROCKET_KEY = Key(ROCKETS, NAMESPACE, "digits-7f3a")


@pytest.fixture(autouse=True)
def _rocket_is_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "rocket", ROCKET)
    kind = replace(BY_PLURAL["retrainjobs"], model=RetrainJobWithRocket)
    monkeypatch.setitem(BY_PLURAL, "retrainjobs", kind)
    monkeypatch.setattr(reconciler, "RetrainJob", RetrainJobWithRocket)


# --- what follows from it -----------------------------------------------------------------------


def launched() -> tuple[SimulatedCluster, Harness]:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job(engine={"rocket": {"image": "own/rocket:1"}}))
    return cluster, h


def status_of(cluster: SimulatedCluster) -> Json:
    status: Json = (cluster.get(retrain_job_key()) or {}).get("status", {})
    return status


def fly(cluster: SimulatedCluster, state: Json) -> None:
    """Make the pod of the rocket, as its controller does, and put its container into a state."""
    rocket = cluster.get(ROCKET_KEY)
    assert rocket is not None
    template = rocket["spec"]["stages"][0]
    metadata = {"name": "stage-1", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
    cluster.user_apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    )
    containers = [{"name": "train", "state": state}]
    cluster.user_change(
        Key(PODS, NAMESPACE, "stage-1"),
        lambda pod: pod.update(status={"containerStatuses": containers}),
    )


def environment_of(rocket: Json) -> dict[str, str]:
    (container,) = rocket["spec"]["stages"][0]["spec"]["containers"]
    assert container["image"] == "own/rocket:1"
    return {one["name"]: one["value"] for one in container["env"]}


async def test_it_is_built_and_its_report_becomes_a_version() -> None:
    cluster, h = launched()
    await h.settle()
    assert [(w.verb, w.key.resource.plural) for w in cluster.writes] == [
        ("apply_status", "retrainjobs"),
        ("create", "rockets"),
    ]
    fly(cluster, {"running": {}})
    await h.settle()
    assert status_of(cluster)["phase"] == "Running"
    output = environment_of(cluster.get(ROCKET_KEY) or {})[Variable.OUTPUT_URI]
    fly(cluster, {"terminated": {"exitCode": 0, "message": report(output)}})
    await h.advance(30)
    status = status_of(cluster)
    assert status["phase"] == "Succeeded"
    assert cluster.get(Key(MODEL_VERSIONS, NAMESPACE, status["modelVersion"])) is not None


async def test_why_its_pod_waits_is_said() -> None:
    cluster, h = launched()
    await h.settle()
    fly(cluster, {"waiting": {"reason": "ImagePullBackOff"}})
    await h.settle()
    assert status_of(cluster)["message"] == "the training image cannot be pulled"


async def test_its_end_in_its_own_words_fails_the_attempt() -> None:
    cluster, h = launched()
    await h.settle()
    cluster.user_change(ROCKET_KEY, lambda obj: obj.update(status={"lost": "no contact"}))
    await h.advance(60)
    assert status_of(cluster)["message"] == "infrastructure: no contact"


async def test_its_deletion_is_seen_and_made_good() -> None:
    cluster, h = launched()
    await h.settle()
    fly(cluster, {"running": {}})
    await h.settle()
    cluster.user_delete(ROCKET_KEY)
    await h.settle()
    assert cluster.get(ROCKET_KEY) is not None


async def test_one_of_somebody_else_is_left_alone() -> None:
    cluster, h = launched()
    cluster.user_apply(
        {
            "apiVersion": ROCKETS.api_version,
            "kind": ROCKETS.kind,
            "metadata": {"name": "digits-7f3a", "namespace": NAMESPACE},
            "spec": {},
        }
    )
    await h.settle()
    (told,) = [event for event in cluster.events if event.reason == "NameTaken"]
    assert "Rocket digits-7f3a exists and is not ours" in told.message


async def test_the_first_engine_still_runs_beside_it() -> None:
    cluster = serving_cluster()
    h = harness(cluster)
    cluster.user_apply(retrain_job())
    await h.settle()
    assert [w.key.resource.plural for w in cluster.writes if w.verb == "create"] == ["jobs"]


def test_it_is_watched_where_it_is_labelled_as_ours() -> None:
    assert ROCKETS in watched()
    assert ROCKETS in written()
    selectors = kopf_settings().watching.label_selectors
    assert selectors["space.example", "v2", "rockets"] == "app.kubernetes.io/managed-by=trimtab"


def test_the_chart_grants_what_it_needs() -> None:
    header, *rules = generated_files(ROOT)[ENGINE_RULES].splitlines()
    assert "Do not edit." in header
    assert rules == [
        '{{- define "trimtab.engineRules" -}}',
        "- apiGroups: [batch]",
        "  resources: [jobs]",
        "  verbs: [get, list, watch, create]",
        "- apiGroups: [space.example]",
        "  resources: [rockets]",
        "  verbs: [get, list, watch, create]",
        "{{- end -}}",
    ]
