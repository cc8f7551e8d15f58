"""What the pods are told by their environment."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.loop_objects import model_version
from tests.unit.reconcile.worlds import deployment_object

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import ModelVersion
from trimtab.build.workload import build_pod_template


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
        ({"env": [{"name": "A", "value": "b"}]}, "A", "b"),
    ],
)
def test_the_environment_follows_the_spec(
    serving: dict[str, Any], name: str, value: str | None
) -> None:
    assert environment(**serving).get(name) == value


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
