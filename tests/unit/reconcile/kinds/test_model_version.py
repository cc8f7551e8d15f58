"""A ModelVersion is looked at once, and told who uses it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.loop_objects import (
    DEPLOYMENT_KEY,
    DIGEST_1,
    DocumentStore,
    deployment,
    documents,
    model_version,
    tried,
    version_key,
)

from trimtab.api.conditions import Reason
from trimtab.cluster.port import MODEL_VERSIONS, Json, Key
from trimtab.contract.artifact import Baseline, Interval
from trimtab.reconcile.kinds.model_version import reconcile_model_version
from trimtab.reconcile.machine.world import Settings
from trimtab.simulation.cluster import SimulatedCluster
from trimtab.simulation.harness import Harness
from trimtab.store.port import ArtifactBroken, Documents, StoreAway

BASELINE = Baseline(
    digest=DIGEST_1,
    n=100,
    features=[],
    score_edges=[],
    score_counts=[100],
    metrics=[Interval(metric="accuracy", value=0.97412, interval=(0.96, 0.98), n=100)],
)


async def look_no_further(world: Any, key: Key) -> None:
    return None


def harness(cluster: SimulatedCluster, store: DocumentStore) -> Harness:
    return Harness(
        cluster,
        {MODEL_VERSIONS: reconcile_model_version, DEPLOYMENT_KEY.resource: look_no_further},
        make_telemetry=lambda: None,  # type: ignore[arg-type, return-value]
        make_store=lambda: store,
        settings=Settings(serving_image="serving:1", training_image="training:1"),
    )


def status_of(cluster: SimulatedCluster, version: str = "v1") -> Json:
    found = cluster.get(version_key(version))
    assert found is not None
    return found["status"]


def good_store() -> DocumentStore:
    return DocumentStore({DIGEST_1: documents(BASELINE)})


async def test_a_matching_artifact_is_verified_with_one_write() -> None:
    cluster, store = SimulatedCluster(), good_store()
    h = harness(cluster, store)
    cluster.user_apply(model_version())
    await h.advance(3600)
    status = status_of(cluster)
    assert status["phase"] == "Verified"
    assert status["summary"] == {"verified": "yes", "score": "accuracy 0.974", "usedBy": ""}
    assert status["conditions"][0]["status"] == "True"
    assert [event.reason for event in cluster.events] == ["VersionVerified"]
    assert len(cluster.writes) == 1
    assert store.reads == 1


async def test_libraries_that_ask_for_another_image_are_kept() -> None:
    cluster = SimulatedCluster()
    read = documents(BASELINE)
    named = {"python": "3.12", "scikit-learn": "1.7", "xgboost": "3.2", "pandas": "3.0"}
    manifest = read.manifest.model_copy(update={"frameworks": named})
    store = DocumentStore({DIGEST_1: Documents(manifest, read.signature, read.baseline)})
    h = harness(cluster, store)
    cluster.user_apply(model_version())
    await h.advance(3600)
    assert status_of(cluster)["frameworks"] == ["pandas", "xgboost"]


@pytest.mark.parametrize(
    ("missing", "phase", "condition", "reason"),
    [
        pytest.param(
            ArtifactBroken("other digest", reason=Reason.DIGEST_MISMATCH),
            "Rejected", "False", "DigestMismatch", id="other_bytes_are_rejected",
        ),
        pytest.param(
            ArtifactBroken("manifest.json is missing"),
            "Rejected", "False", "Unreadable", id="a_missing_artifact_is_rejected",
        ),
        pytest.param(
            StoreAway("no credentials", no_credentials=True),
            "Unknown", "Unknown", "CheckedAtLoad", id="without_credentials_the_pods_check",
        ),
        pytest.param(
            StoreAway("timeout"),
            "Pending", "Unknown", "StoreAway", id="a_store_that_is_away_rejects_nothing",
        ),
    ],
)  # fmt: skip
async def test_outcome(missing: Exception, phase: str, condition: str, reason: str) -> None:
    cluster, store = SimulatedCluster(), DocumentStore(missing=missing)
    h = harness(cluster, store)
    cluster.user_apply(model_version())
    await h.advance(600)
    status = status_of(cluster)
    assert status["phase"] == phase
    assert status["conditions"][0]["status"] == condition
    assert status["conditions"][0]["reason"] == reason
    assert len(cluster.writes) == 1


async def test_a_store_that_comes_back_is_asked_again() -> None:
    cluster, store = SimulatedCluster(), good_store()
    store.missing = StoreAway("timeout")
    h = harness(cluster, store)
    cluster.user_apply(model_version())
    await h.advance(60)
    assert 2 <= store.reads <= 10, "asked with back-off"
    store.missing = None
    await h.run_until(lambda: status_of(cluster)["phase"] == "Verified", 120)


async def test_with_credentials_given_later_an_unknown_version_is_checked() -> None:
    cluster, store = SimulatedCluster(), good_store()
    store.missing = StoreAway("no credentials", no_credentials=True)
    h = harness(cluster, store)
    cluster.user_apply(model_version())
    await h.settle()
    store.missing = None
    h.restart()
    await h.settle()
    assert status_of(cluster)["phase"] == "Verified"


async def test_it_says_who_serves_it_and_forgets_who_does_not() -> None:
    cluster, store = SimulatedCluster(), good_store()
    h = harness(cluster, store)
    cluster.user_apply(model_version())
    cluster.user_apply(deployment())
    cluster.user_change(DEPLOYMENT_KEY, lambda obj: obj.update(status={"stable": tried()}))
    await h.settle()
    assert status_of(cluster)["usedBy"] == ["digits"]
    assert status_of(cluster)["summary"]["usedBy"] == "digits"
    cluster.user_change(DEPLOYMENT_KEY, lambda obj: obj.update(status={}))
    await h.settle()
    assert status_of(cluster).get("usedBy", []) == []
    assert status_of(cluster)["summary"]["score"] == "accuracy 0.974"
    assert store.reads == 1


async def test_the_stated_evaluation_goes_before_the_training_evaluation() -> None:
    cluster = SimulatedCluster()
    h = harness(cluster, good_store())
    cluster.user_apply(model_version(evaluation=[{"metric": "accuracy", "value": 0.9}]))
    await h.settle()
    assert status_of(cluster)["summary"]["score"] == "accuracy 0.900"


class ForgetfulStore(DocumentStore):
    """Knows only what it has read itself, as after a restart."""

    def __init__(self, by_digest: dict[str, Documents]) -> None:
        super().__init__(by_digest)
        self.known: set[str] = set()

    async def documents(self, uri: str, digest: str) -> Documents:
        found = await super().documents(uri, digest)
        self.known.add(digest)
        return found

    def cached(self, digest: str) -> Documents | None:
        return self.by_digest[digest] if digest in self.known else None


async def test_after_a_restart_the_files_of_followed_lines_are_at_hand_again() -> None:
    cluster = SimulatedCluster()
    h = harness(cluster, good_store())
    cluster.user_apply(model_version())
    cluster.user_apply(deployment())
    await h.settle()
    store = ForgetfulStore({DIGEST_1: documents(BASELINE)})
    h.make_store = lambda: store
    h.restart()
    before = h.passes[DEPLOYMENT_KEY]
    await h.advance(60)
    assert store.cached(DIGEST_1) is not None
    assert h.passes[DEPLOYMENT_KEY] > before
    assert len(cluster.writes) == 1


async def test_versions_that_nobody_follows_are_not_read_again() -> None:
    cluster = SimulatedCluster()
    h = harness(cluster, good_store())
    cluster.user_apply(model_version())
    await h.settle()
    store = ForgetfulStore({DIGEST_1: documents(BASELINE)})
    h.make_store = lambda: store
    h.restart()
    await h.advance(60)
    assert store.reads == 0


async def test_a_store_that_is_away_after_a_restart_changes_no_verdict() -> None:
    cluster = SimulatedCluster()
    h = harness(cluster, good_store())
    cluster.user_apply(model_version())
    cluster.user_apply(deployment())
    await h.settle()
    store = ForgetfulStore({DIGEST_1: documents(BASELINE)})
    store.missing = StoreAway("timeout")
    h.make_store = lambda: store
    h.restart()
    await h.advance(600)
    assert status_of(cluster)["phase"] == "Verified"
    assert store.reads <= 4
    assert len(cluster.writes) == 1
