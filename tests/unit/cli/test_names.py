"""Names as people write them."""

from __future__ import annotations

import pytest

from trimtab.api.resource import Resource
from trimtab.cli.names import key_of_target
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
)
from trimtab.errors import SpecError


@pytest.mark.parametrize(
    ("text", "resource", "name"),
    [
        ("digits", DEPLOYMENTS, "digits"),
        ("mdep/digits", DEPLOYMENTS, "digits"),
        ("modeldeployments/digits", DEPLOYMENTS, "digits"),
        ("Deployment/digits", DEPLOYMENTS, "digits"),
        ("dp/digits", DRIFT_POLICIES, "digits"),
        ("rj/digits-7f3a", RETRAIN_JOBS, "digits-7f3a"),
        ("mv/digits-v1.2", MODEL_VERSIONS, "digits-v1.2"),
    ],
)
def test_a_target_names_one_object(text: str, resource: Resource, name: str) -> None:
    key = key_of_target(text, "shop", *OWN_KINDS)
    assert key == (resource, "shop", name)


@pytest.mark.parametrize("text", ["dp/digits", "pod/x", "/digits", "mdep/", "Digits", "mdep/a/b"])
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(SpecError, match=r"write it as mdep/NAME|not the name of an object"):
        key_of_target(text, "shop", DEPLOYMENTS)
