"""The API server refuses every bad object by schema or CEL, and names the field."""

import pytest
from tests.e2e.api.server import Refused, Server
from tests.unit.api.cases import (
    BAD,
    GOOD,
    LATER,
    UPDATES_ACCEPTED,
    UPDATES_REFUSED,
    Case,
    Update,
)
from tests.unit.api.objects import DEPLOYMENT, MODEL_VERSION, changed

from trimtab.api.kinds import KINDS

pytestmark = pytest.mark.cluster
MODELS = {info.kind: info.model for info in KINDS}


def _submit(server: Server, case: Case) -> None:
    server.create(server.path(case.obj["kind"]), server.ours(case.obj), dry_run=True)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_accepts(server: Server, case: Case) -> None:
    _submit(server, case)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_refuses_and_names_the_field(server: Server, case: Case) -> None:
    with pytest.raises(Refused) as refused:
        _submit(server, case)
    assert refused.value.status == 422
    assert case.field in refused.value.message


@pytest.mark.parametrize("case", LATER, ids=lambda case: case.name)
def test_refuses_fields_that_would_be_ignored(server: Server, case: Case) -> None:
    with pytest.raises(Refused, match="unknown field") as refused:
        _submit(server, case)
    assert refused.value.status == 400
    assert case.field in refused.value.message


def _update(server: Server, update: Update) -> None:
    kind, name = update.before["kind"], update.before["metadata"]["name"]
    stored = server.create(server.path(kind), server.ours(update.before))
    try:
        after = server.ours(update.after)
        after["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        server.replace(server.path(kind, name), after, dry_run=True)
    finally:
        server.delete(server.path(kind, name))


@pytest.mark.parametrize("update", UPDATES_REFUSED, ids=lambda update: update.name)
def test_refuses_to_change_what_is_immutable(server: Server, update: Update) -> None:
    with pytest.raises(Refused, match="immutable") as refused:
        _update(server, update)
    assert refused.value.status == 422
    assert f"{update.field}:" in refused.value.message


@pytest.mark.parametrize("update", UPDATES_ACCEPTED, ids=lambda update: update.name)
def test_lets_change_what_may_change(server: Server, update: Update) -> None:
    _update(server, update)


def test_defaults_are_filled_in_where_a_part_is_given(server: Server) -> None:
    obj = changed(DEPLOYMENT, {"spec.rollout": {"minSamples": 10}})
    stored = server.create(server.path("Deployment"), server.ours(obj), dry_run=True)
    rollout = stored["spec"]["rollout"]
    assert rollout["strategy"] == "canary"
    assert rollout["confidence"] == "99%"
    assert rollout["deadline"] == "15m"
    assert "gates" not in rollout


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_stores_what_pydantic_writes(server: Server, case: Case) -> None:
    kind = case.obj["kind"]
    read = MODELS[kind].model_validate(case.obj)
    spec = read.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    server.create(server.path(kind), server.ours({**case.obj, "spec": spec}), dry_run=True)


def test_status_is_written_apart_from_spec(server: Server) -> None:
    path = server.path("ModelVersion", "digits-v2")
    server.create(server.path("ModelVersion"), server.ours(MODEL_VERSION))
    try:
        status = {"status": {"phase": "Verified", "usedBy": ["digits"], "observedGeneration": 1}}
        stored = server.merge(f"{path}/status", status)
        assert stored["status"]["usedBy"] == ["digits"]
        assert stored["metadata"]["generation"] == 1
        ignored = server.merge(path, {"status": {"usedBy": ["letters"]}})
        assert ignored["status"]["usedBy"] == ["digits"]
        with pytest.raises(Refused, match=r"status\.phase"):
            server.merge(f"{path}/status", {"status": {"phase": "Splendid"}})
    finally:
        server.delete(path)
