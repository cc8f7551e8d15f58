"""The chart's admission policies: versions in use stay, and a command names who gave it."""

from collections.abc import Iterator

import pytest
from tests.e2e.api.conftest import DOOMED, until
from tests.e2e.api.server import Json, Refused, Server
from tests.unit.api.objects import DEPLOYMENT, MODEL_VERSION, changed

pytestmark = pytest.mark.cluster

COMMAND = "trimtab.dev/command"
COMMAND_BY = "trimtab.dev/command-by"
ALICE = "alice@shop"


def given(command: str | None, by: str | None) -> Json:
    """Return the patch that writes, or with None removes, a command and its author."""
    return {"metadata": {"annotations": {COMMAND: command, COMMAND_BY: by}}}


@pytest.fixture
def version(policies: Server) -> Iterator[str]:
    """Return the path of a ModelVersion that a Deployment uses."""
    path = policies.path("ModelVersion", "digits-v2")
    policies.create(policies.path("ModelVersion"), policies.ours(MODEL_VERSION))
    policies.merge(f"{path}/status", {"status": {"usedBy": ["digits"]}})
    until(lambda: not _may_delete(policies, path), "the policy in force")
    yield path
    if not policies.is_missing(path):
        policies.merge(f"{path}/status", {"status": {"usedBy": []}})
        policies.delete(path)


@pytest.fixture
def deployment(policies: Server) -> Iterator[str]:
    """Return the path of a Deployment without a command."""
    path = policies.path("Deployment", "digits")
    policies.create(policies.path("Deployment"), policies.ours(DEPLOYMENT))
    until(lambda: not _may_command(policies), "the policy in force")
    yield path
    policies.delete(path)


def _may_delete(server: Server, path: str) -> bool:
    """Ask without doing it: a policy takes a moment to come into force."""
    try:
        server.delete(path, dry_run=True)
    except Refused:
        return False
    return True


def _may_command(server: Server) -> bool:
    obj = changed(DEPLOYMENT, {"metadata.name": "probe"})
    obj["metadata"]["annotations"] = {COMMAND: "pause/x/1", COMMAND_BY: "somebody-else"}
    try:
        server.create(server.path("Deployment"), server.ours(obj), dry_run=True)
    except Refused:
        return False
    return True


def test_a_version_in_use_stays_and_the_answer_says_who_uses_it(
    policies: Server, version: str
) -> None:
    with pytest.raises(Refused, match="in use by Deployment digits") as refused:
        policies.delete(version, user=ALICE)
    assert refused.value.status == 403
    assert not policies.is_missing(version)


def test_a_version_that_nobody_uses_goes(policies: Server, version: str) -> None:
    policies.merge(f"{version}/status", {"status": {"usedBy": []}})
    policies.delete(version, user=ALICE)
    assert policies.is_missing(version)


def test_a_namespace_takes_its_versions_along(policies: Server, version: str) -> None:
    """The real controller: the namespace goes, and the version in use goes with it."""
    doomed = Server(policies.group, DOOMED)
    path = doomed.path("ModelVersion", "digits-v2")
    doomed.create("/api/v1/namespaces", {"metadata": {"name": DOOMED}})
    doomed.create(doomed.path("ModelVersion"), doomed.ours(MODEL_VERSION))
    doomed.merge(f"{path}/status", {"status": {"usedBy": ["digits"]}})
    assert not _may_delete(doomed, path)
    doomed.delete(f"/api/v1/namespaces/{DOOMED}")
    until(lambda: doomed.is_missing(f"/api/v1/namespaces/{DOOMED}"), "the namespace gone", 60)


def test_garbage_collection_takes_versions_along(policies: Server, version: str) -> None:
    """The real collector: the owner goes, and the version in use goes with it."""
    owners = f"/api/v1/namespaces/{policies.namespace}/configmaps"
    owner = policies.create(owners, {"metadata": {"name": "owner"}})
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    policies.merge(version, {"metadata": {"ownerReferences": [reference]}})
    policies.delete(f"{owners}/owner")
    until(lambda: policies.is_missing(version), "the version collected", limit=60)


def test_who_gives_a_command_names_themselves(policies: Server, deployment: str) -> None:
    stored = policies.merge(deployment, given("pause/r1/1", ALICE), user=ALICE)
    assert stored["metadata"]["annotations"][COMMAND_BY] == ALICE


@pytest.mark.parametrize(
    ("command", "by"),
    [
        pytest.param("promote/r1/1", "bob@shop", id="in_the_name_of_another"),
        pytest.param("promote/r1/1", None, id="in_nobodys_name"),
        pytest.param(None, "bob@shop", id="a_name_without_a_command"),
    ],
)
def test_nobody_gives_a_command(
    policies: Server, deployment: str, command: str | None, by: str | None
) -> None:
    with pytest.raises(Refused, match="command-by") as refused:
        policies.merge(deployment, given(command, by), user=ALICE)
    assert refused.value.status == 403


def test_nobody_puts_a_name_to_the_command_of_another(policies: Server, deployment: str) -> None:
    policies.merge(deployment, given("pause/r1/1", ALICE), user=ALICE)
    with pytest.raises(Refused, match="command-by"):
        policies.merge(deployment, given("pause/r1/1", "carol@shop"), user="bob@shop")
    with pytest.raises(Refused, match="command-by"):
        policies.merge(deployment, given("promote/r1/2", ALICE), user="bob@shop")


def test_a_command_is_refused_at_creation_too(policies: Server, deployment: str) -> None:
    assert not _may_command(policies)


def test_others_may_change_the_rest_while_a_command_stands(
    policies: Server, deployment: str
) -> None:
    policies.merge(deployment, given("pause/r1/1", ALICE), user=ALICE)
    stored = policies.merge(deployment, {"spec": {"replicas": 4}}, user="bob@shop")
    assert stored["spec"]["replicas"] == 4
    cleared = policies.merge(deployment, given(None, None), user="bob@shop")
    assert COMMAND not in cleared["metadata"].get("annotations", {})
