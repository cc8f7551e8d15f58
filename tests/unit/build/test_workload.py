"""What the pods are told by their environment."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.loop_objects import model_version
from tests.unit.reconcile.worlds import deployment_object

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import Artifact, ModelVersion
from trimtab.build.service import build_service
from trimtab.build.workload import Other, build_pod_template


def environment(**serving: Any) -> dict[str, str]:
    deployment = Deployment.model_validate(deployment_object(serving=serving))
    version = ModelVersion.model_validate(model_version("v1"))
    template = build_pod_template(deployment, version, "rev", "serving:1", "IfNotPresent")
    (container,) = template["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


@pytest.mark.parametrize(
    ("serving", "name", "value"),
    [
        ({}, "TRIMTAB_LABEL_DELAY_SECONDS", None),
        ({"labelDelay": "48h"}, "TRIMTAB_LABEL_DELAY_SECONDS", "172800"),
        ({"labelDelay": "90m"}, "TRIMTAB_LABEL_DELAY_SECONDS", "5400"),
        ({}, "TRIMTAB_TRUST_PICKLE", None),
        ({"trustPickle": True}, "TRIMTAB_TRUST_PICKLE", "true"),
        ({}, "TRIMTAB_GRPC_PORT", None),
        ({"grpc": True}, "TRIMTAB_GRPC_PORT", "8081"),
        ({"env": [{"name": "A", "value": "b"}]}, "A", "b"),
    ],
)
def test_the_environment_follows_the_spec(
    serving: dict[str, Any], name: str, value: str | None
) -> None:
    assert environment(**serving).get(name) == value


def test_the_port_of_grpc_is_there_where_it_is_asked_for() -> None:
    for serving, wanted in (({}, []), ({"grpc": True}, [8081])):
        deployment = Deployment.model_validate(deployment_object(serving=serving))
        version = ModelVersion.model_validate(model_version("v1"))
        template = build_pod_template(deployment, version, "rev", "serving:1", "IfNotPresent")
        ports = template["spec"]["containers"][0]["ports"]
        assert [one["containerPort"] for one in ports if one["name"] == "grpc"] == wanted
        service = build_service(deployment, "rev")["spec"]["ports"]
        assert [one["port"] for one in service if one["targetPort"] == "grpc"] == wanted


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": None},
        {"metadata": {"labels": None}},
        {"spec": {"volumes": None, "containers": [{"name": "model", "env": None}, {}]}},
        {"spec": {"volumes": [{"name": "v", "env": 1}, {"name": "v", "env": [{"name": "a"}]}]}},
        {"env": [1, None], "containers": [[]], "foo": {"volumeMounts": ["x", {"mountPath": []}]}},
    ],
    ids=str,
)
def test_whatever_else_a_patch_holds_a_template_is_built_with_the_labels(patch: Any) -> None:
    deployment = Deployment.model_validate(deployment_object(serving={"podTemplate": patch}))
    version = ModelVersion.model_validate(model_version("v1"))
    template = build_pod_template(deployment, version, "rev", "serving:1", "IfNotPresent")
    assert template["metadata"]["labels"]["trimtab.dev/revision"] == "rev"
    assert template["spec"]["containers"][0]["name"] == "model"


OTHER = Artifact(uri="pvc://models/v0/", digest="sha256:" + "0" * 64, secret_name="others")


def compared(other: Artifact | None, **spec: Any) -> Any:
    deployment = Deployment.model_validate(deployment_object(**spec))
    version = ModelVersion.model_validate(model_version("v1"))
    asked = None if other is None else Other(other, 1_800_000_000.0)
    template = build_pod_template(deployment, version, "rev", "serving:1", "IfNotPresent", asked)
    return template["spec"]


def test_pods_that_ask_another_version_are_told_which_and_how() -> None:
    spec = compared(OTHER, compare={"budget": "25%"})
    (container,) = spec["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert {name: value for name, value in told.items() if "COMPARE" in name} == {
        "TRIMTAB_COMPARE_FOR": "outcomes",
        "TRIMTAB_COMPARE_ARTIFACT_URI": "pvc://models/v0/",
        "TRIMTAB_COMPARE_ARTIFACT_DIGEST": OTHER.digest,
        "TRIMTAB_COMPARE_ARTIFACT_CREDENTIALS": "/var/run/trimtab/other-artifacts",
        "TRIMTAB_COMPARE_BUDGET": "0.25",
        "TRIMTAB_COMPARE_UNTIL": "1800000000",
    }
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["other-artifacts"]["secret"] == {"secretName": "others", "optional": True}
    assert volumes["other-claim"]["persistentVolumeClaim"] == {"claimName": "models"}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == volumes.keys()


def test_a_claim_that_both_lie_on_is_mounted_once() -> None:
    deployment = Deployment.model_validate(deployment_object())
    version = ModelVersion.model_validate(model_version("v1"))
    artifact = version.spec.artifact.model_copy(update={"uri": "pvc://models/v1/"})
    version = version.model_copy(
        update={"spec": version.spec.model_copy(update={"artifact": artifact})}
    )
    template = build_pod_template(deployment, version, "r", "i", "Always", Other(OTHER, 1.0))
    assert sum("persistentVolumeClaim" in volume for volume in template["spec"]["volumes"]) == 1


def test_pods_that_ask_nobody_are_told_of_nobody() -> None:
    (container,) = compared(None)["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert not [name for name in told if "COMPARE" in name]
    assert told["TRIMTAB_TOKEN_SEAL_KEY_FILE"] == "/var/run/trimtab/seal/key"


@pytest.mark.parametrize(
    ("warm_up", "requests", "seconds"),
    [({}, "20", "10"), ({"requests": 0, "for": "1m"}, "0", "60")],
)
def test_the_first_requests_are_set_aside(
    warm_up: dict[str, Any], requests: str, seconds: str
) -> None:
    (container,) = compared(None, rollout={"warmUp": warm_up})["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told["TRIMTAB_WARM_UP_REQUESTS"] == requests
    assert told["TRIMTAB_WARM_UP_SECONDS"] == seconds
