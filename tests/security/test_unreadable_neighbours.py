"""An object that this release cannot read stops nobody but itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.reconcile.worlds import Shop, version_object

from trimtab.api.resource import Resource
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.reconcile.kinds.retrain_job import _made_view
from trimtab.reconcile.machine.cache import Cache, Change
from trimtab.reconcile.machine.interest import interested

BROKEN_SPECS: dict[str, Any] = {
    "no_spec": None,
    "a_text": "x",
    "a_list": [1],
    "no_model": {"version": "v9", "artifact": {"uri": "s3://m/x/", "digest": "sha256:1"}},
    "no_artifact": {"model": "digits", "version": "v9"},
    "a_format_of_tomorrow": {
        "model": "digits",
        "version": "v9",
        "artifact": {"uri": "s3://m/x/", "digest": "sha256:" + "0" * 64, "format": "tomorrow"},
    },
    "a_number_for_a_name": {"model": 7, "version": "v9", "artifact": {}},
}


def broken(spec: Any, name: str = "digits-v9") -> Json:
    obj = version_object("v9")
    obj["metadata"]["name"] = name
    obj["spec"] = copy.deepcopy(spec)
    if spec is None:
        del obj["spec"]
    return obj


def break_version(shop: Shop, spec: Any, name: str) -> None:
    """Change what is there, or add it: `user_apply` only knows specs that are given."""
    key = Key(MODEL_VERSIONS, "shop", name)
    if shop.cluster.get(key) is None:
        shop.cluster.user_apply(broken({}, name), validate=False)

    def change(obj: Json) -> None:
        obj.pop("spec", None)
        if spec is not None:
            obj["spec"] = copy.deepcopy(spec)

    shop.cluster.user_change(key, change)


@pytest.mark.parametrize("spec", BROKEN_SPECS.values(), ids=list(BROKEN_SPECS))
async def test_the_line_goes_on_beside_a_broken_version(spec: Any) -> None:
    shop = Shop()
    await shop.serve()
    break_version(shop, spec, "digits-v9")
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.serving == "v2" and shop.is_resting, 300)


@pytest.mark.parametrize("spec", BROKEN_SPECS.values(), ids=list(BROKEN_SPECS))
async def test_a_pinned_version_that_cannot_be_read_is_named_and_stable_serves_on(
    spec: Any,
) -> None:
    shop = Shop()
    await shop.serve()
    break_version(shop, spec, "digits-v2")
    shop.want("v2")
    await shop.harness.advance(20)
    assert shop.serving == "v1"
    assert shop.is_ready
    assert shop.reason("Progressing") == "VersionMissing"
    assert "digits-v2 cannot be read by this release" in shop.message("Progressing")
    assert "upgrade the operator" in shop.message("Progressing")


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"spec": "x"}, "podTemplate: Value error, spec must be an object and not a string"),
        ({"spec": None}, "podTemplate: Value error, spec must be an object and not null"),
        ({"metadata": {"labels": [1]}}, "metadata.labels must be an object and not a list"),
        ({"spec": {"containers": None}}, "spec.containers must be a list and not null"),
        ({"spec": {"containers": [7]}}, "spec.containers[0] must be an object and not a number"),
    ],
    ids=str,
)
async def test_a_template_that_was_stored_before_its_schema_is_named_and_stable_serves_on(
    patch: Any, words: str
) -> None:
    shop = Shop()
    await shop.serve()

    def change(obj: Json) -> None:
        obj["spec"].setdefault("serving", {})["podTemplate"] = copy.deepcopy(patch)

    shop.cluster.user_change(Key(DEPLOYMENTS, "shop", "digits"), change)
    await shop.harness.advance(20)
    assert shop.reason("Stalled") == "InvalidSpec"
    assert words in shop.message("Stalled")
    assert shop.serving == "v1"


async def test_a_follower_goes_to_no_older_version_where_stable_cannot_be_read() -> None:
    shop = Shop()
    shop.publish("v0")
    await shop.harness.advance(5)
    await shop.serve("v1")
    shop.change(lambda spec: (spec.pop("version"), spec.update(follow={})))
    await shop.harness.advance(10)
    break_version(shop, None, "digits-v1")
    await shop.harness.advance(60)
    assert shop.serving == "v1"
    assert shop.status.rollout is None
    assert "digits-v1 cannot be read by this release" in shop.message("Progressing")


@pytest.mark.parametrize("spec", BROKEN_SPECS.values(), ids=list(BROKEN_SPECS))
def test_a_version_made_by_a_retraining_that_cannot_be_read_is_another_s(spec: Any) -> None:
    made = _made_view(broken(spec))
    assert made is not None
    assert made.retrain_job is None
    assert "cannot read" in made.digest


ODD: list[Json] = [
    {},
    {"spec": None, "status": None},
    {"spec": "x", "status": "x"},
    {"spec": [], "status": []},
    {"spec": {"model": [], "cause": "x"}, "status": {"stable": "x", "phase": []}},
    {"spec": {"cause": {"deployment": []}}, "status": {"stable": {"versionObject": []}}},
]


@pytest.mark.parametrize("resource", OWN_KINDS, ids=str)
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_whatever_an_object_holds_its_change_wakes_its_own_pass(
    resource: Resource, odd: Json
) -> None:
    cache = Cache()
    for kind in (DEPLOYMENTS, DRIFT_POLICIES, RETRAIN_JOBS, MODEL_VERSIONS):
        for number, other in enumerate(ODD):
            cache.take_in(kind, {"metadata": {"name": f"n{number}", "namespace": "shop"}} | other)
    obj: Json = {"metadata": {"name": "odd", "namespace": "shop", "uid": "1"}} | odd
    own = Key(resource, "shop", "odd")
    assert own in interested(cache, Change(resource, None, obj))
    assert own in interested(cache, Change(resource, obj, None))
