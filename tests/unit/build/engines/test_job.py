"""The Job of a retraining: whole, restricted, and retried only where that can help."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.loop_objects import BASELINE_1, DIGEST_1, NAMESPACE, retrain_job

from trimtab.api.meta import (
    DEPLOYMENT_LABEL,
    MANAGED_BY_LABEL,
    RETRAIN_JOB_LABEL,
    RETRAIN_JOB_UID_LABEL,
)
from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.build.engines.job import build_job
from trimtab.build.training_pod import RunRequest

CHAMPION = Champion(version_object="digits-v1", uri="s3://models/digits/v1/", digest=DIGEST_1)
OUTPUT = "s3://models/digits/r1a2b3c4d/"


def built(champion: Champion = CHAMPION, output: str = OUTPUT, **spec: Any) -> dict[str, Any]:
    raw = retrain_job(**spec)
    raw["metadata"]["uid"] = "uid-1"
    job = RetrainJob.model_validate(raw)
    return build_job(
        RunRequest(
            job, champion, "r1a2b3c4d", output, image="training:1", pull_policy="IfNotPresent"
        )
    )


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def environment_of(job: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod_of(job)["containers"][0]["env"]}


def test_it_belongs_to_its_retrain_job_and_never_to_a_service() -> None:
    job = built()
    assert job["metadata"]["name"] == "digits-7f3a"
    assert job["metadata"]["namespace"] == NAMESPACE
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("RetrainJob", "uid-1", True)
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert labels[RETRAIN_JOB_LABEL] == "digits-7f3a"
        assert labels[RETRAIN_JOB_UID_LABEL] == "uid-1"
        assert labels[MANAGED_BY_LABEL] == "trimtab"
        assert DEPLOYMENT_LABEL not in labels


def test_only_faults_of_the_infrastructure_are_retried() -> None:
    spec = built()["spec"]
    rules = spec["podFailurePolicy"]["rules"]
    assert spec["backoffLimit"] == 3
    assert pod_of(built())["restartPolicy"] == "Never"
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
    assert rules[1]["onExitCodes"] == {
        "containerName": "train",
        "operator": "In",
        "values": [10, 11, 12, 13],
    }
    assert "ttlSecondsAfterFinished" not in spec


def test_the_deadline_is_passed_on_in_seconds() -> None:
    assert built(activeDeadline="90m")["spec"]["activeDeadlineSeconds"] == 5400
    assert built(activeDeadline="200ms")["spec"]["activeDeadlineSeconds"] == 1


def test_the_pod_is_restricted() -> None:
    pod = pod_of(built())
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/var/run/trimtab/artifacts"]["readOnly"] is True
    assert "/tmp" in mounts
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["scratch"] == {"name": "scratch", "emptyDir": {}}
    assert volumes["artifacts"]["secret"] == {"secretName": "trimtab-artifacts"}


def test_the_environment_says_all_that_the_trainer_must_know() -> None:
    environment = environment_of(
        built(
            data={"uri": "s3://data/scans/", "since": "2026-01-01T00:00:00Z"},
            gate={"notWorseBy": "1%", "mustBeat": 0.944},
        )
    )
    gate, cause = (json.loads(environment.pop(f"TRIMTAB_{n}")) for n in ("GATE", "CAUSE"))
    assert environment == {
        "TRIMTAB_MODEL": "digits",
        "TRIMTAB_VERSION": "r1a2b3c4d",
        "TRIMTAB_DATA_URI": "s3://data/scans/",
        "TRIMTAB_DATA_SINCE": "2026-01-01T00:00:00Z",
        "TRIMTAB_OUTPUT_URI": OUTPUT,
        "TRIMTAB_CHAMPION_URI": CHAMPION.uri,
        "TRIMTAB_CHAMPION_DIGEST": DIGEST_1,
        "TRIMTAB_ARTIFACT_CREDENTIALS": "/var/run/trimtab/artifacts",
        "HOME": "/tmp",
    }
    assert gate == {
        "metric": "accuracy",
        "against": "serving",
        "notWorseBy": 0.01,
        "confidence": 0.95,
        "mustBeat": 0.944,
        "slices": [],
    }
    assert (cause["signal"], cause["baseline"], cause["attempt"]) == ("quality", BASELINE_1, 1)


def test_all_data_is_an_empty_since() -> None:
    assert environment_of(built())["TRIMTAB_DATA_SINCE"] == ""


def test_image_arguments_and_resources_can_be_named() -> None:
    engine = {
        "job": {
            "image": "own/trainer:2",
            "args": ["--fast"],
            "resources": {"requests": {"cpu": "200m"}},
            "serviceAccountName": "trainer",
        }
    }
    pod = pod_of(built(engine=engine))
    (container,) = pod["containers"]
    assert (container["image"], container["args"]) == ("own/trainer:2", ["--fast"])
    assert container["resources"] == {"requests": {"cpu": "200m"}}
    assert pod["serviceAccountName"] == "trainer"
    assert pod_of(built())["containers"][0]["image"] == "training:1"
    assert "resources" not in pod_of(built())["containers"][0]


def test_claims_are_mounted_where_the_contract_says_and_written_only_for_the_output() -> None:
    champion = CHAMPION.model_copy(update={"uri": "pvc://models/digits/v1/"})
    pod = pod_of(built(champion, "pvc://models/digits/r1/", data={"uri": "pvc://scans/all/"}))
    mounts = {
        m["mountPath"]: m.get("readOnly", False) for m in pod["containers"][0]["volumeMounts"]
    }
    assert mounts["/var/run/trimtab/pvc/models"] is False
    assert mounts["/var/run/trimtab/pvc/scans"] is True
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"][2:]]
    assert claims == ["models", "scans"]
