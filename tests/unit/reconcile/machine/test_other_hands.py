"""What others own in a child, told by entries of managedFields as the API server writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trimtab.reconcile.machine.other_hands import were_applied, without_added

Json = dict[str, Any]
OURS: Json = {"manager": "trimtab", "operation": "Apply", "fieldsV1": {"f:spec": {"f:a": {}}}}
WANTED: Json = {
    "replicas": 2,
    "selector": {"matchLabels": {"app": "m"}},
    "template": {
        "spec": {
            "nodeSelector": {"disk": "hdd"},
            "containers": [
                {
                    "name": "serving",
                    "env": [{"name": "A", "value": "1"}],
                    "ports": [{"name": "http", "containerPort": 8080}],
                }
            ],
        }
    },
}


def as_stored() -> Json:
    """Return what the API server makes of it: with defaults that nobody owns."""
    spec: Json = json.loads(json.dumps(WANTED))
    spec["progressDeadlineSeconds"] = 600
    pod = spec["template"]["spec"]
    pod["restartPolicy"] = "Always"
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    return spec


def live(spec: Json, fields: Json, **entry: str) -> Json:
    entry = {"manager": "kubectl-edit", "operation": "Update"} | entry
    managed = [OURS, entry | {"fieldsV1": {"f:spec": fields}}]
    return {"metadata": {"name": "w", "managedFields": managed}, "spec": spec}


def of_pod(fields: Json) -> Json:
    return {"f:template": {"f:spec": fields}}


def of_container(fields: Json) -> Json:
    return of_pod({"f:containers": {'k:{"name":"serving"}': fields}})


def test_a_field_that_somebody_added_is_taken_out_and_defaults_stay() -> None:
    spec = as_stored() | {"paused": True}
    assert without_added(WANTED, live(spec, {"f:paused": {}})) == as_stored()


def test_what_is_wanted_stays_whoever_owns_it() -> None:
    spec = as_stored() | {"replicas": 3}
    entry = live(spec, {"f:replicas": {}}, subresource="scale")
    assert without_added(WANTED, entry) == spec


def test_a_map_that_is_owned_as_one_keeps_what_is_wanted() -> None:
    spec = as_stored()
    spec["template"]["spec"]["nodeSelector"]["gpu"] = "a"
    assert without_added(WANTED, live(spec, of_pod({"f:nodeSelector": {}}))) == as_stored()


def test_entries_of_lists_are_told_by_their_keys() -> None:
    spec = as_stored()
    pod = spec["template"]["spec"]
    pod["containers"].append({"name": "sidecar", "image": "x"})
    pod["containers"][0]["env"].append({"name": "B", "value": "2"})
    pod["containers"][0]["ports"].append({"containerPort": 9, "protocol": "UDP"})
    fields = of_pod(
        {
            "f:containers": {
                'k:{"name":"serving"}': {
                    "f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}},
                    "f:ports": {'k:{"containerPort":9,"protocol":"UDP"}': {".": {}}},
                },
                'k:{"name":"sidecar"}': {".": {}, "f:image": {}, "f:name": {}},
            }
        }
    )
    assert without_added(WANTED, live(spec, fields)) == as_stored()


def test_an_entry_of_ours_is_found_though_a_key_of_it_is_a_default() -> None:
    spec = as_stored()
    port = spec["template"]["spec"]["containers"][0]["ports"][0]
    port["hostIP"] = "127.0.0.1"
    mark = 'k:{"containerPort":8080,"protocol":"TCP"}'
    fields = of_container({"f:ports": {mark: {"f:hostIP": {}}}})
    assert without_added(WANTED, live(spec, fields)) == as_stored()


def test_a_second_hand_of_our_name_is_another_hand() -> None:
    spec = as_stored() | {"paused": True}
    entry = live(spec, {"f:paused": {}}, manager="trimtab")
    assert without_added(WANTED, entry) == as_stored()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"f:gone": {}},
        {"f:template": {"f:spec": {"f:containers": {"k:{": {}, 'k:["a"]': {}, "i:0": {}}}}},
        {"f:template": None},
    ],
)
def test_fields_that_are_not_there_or_cannot_be_read_change_nothing(fields: Json) -> None:
    assert without_added(WANTED, live(as_stored(), fields)) == as_stored()


def test_without_an_entry_of_ours_nobody_knows_whose_it_is() -> None:
    assert were_applied(live(as_stored(), {}))
    assert not were_applied({"metadata": {"name": "w"}, "spec": {}})
    assert not were_applied({"metadata": {"name": "w", "managedFields": []}, "spec": {}})
