"""What the operator's first writes rest on, as a real API server does it."""

import re
from collections.abc import AsyncIterator

import pytest
from tests.e2e.api.server import Server

from trimtab.build.workload import merge_patch
from trimtab.cluster.kubernetes_api import KubernetesCluster
from trimtab.cluster.port import SERVICES, WORKLOADS, Json, Key
from trimtab.errors import Conflict, Refused

pytestmark = pytest.mark.cluster
ELSEWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def cluster(server: Server) -> AsyncIterator[KubernetesCluster]:
    made = await KubernetesCluster.connect(
        written=(SERVICES, WORKLOADS),
        namespaces=(),
        lease_namespace=server.namespace,
        instance="test",
    )
    yield made
    await made.close()


def service(namespace: str, **selector: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "first", "namespace": namespace},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 80}]},
    }


def workload(namespace: str, replicas: int) -> Json:
    labels = {"app": "first"}
    container = {"name": "model", "image": "registry.invalid/nothing:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "first", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def test_a_service_is_made_once_and_owned_by_one_entry(
    server: Server, cluster: KubernetesCluster
) -> None:
    made = await cluster.apply_new(service(server.namespace, a="1", b="2"))
    assert made is not None
    managers = [(e["manager"], e["operation"]) for e in made["metadata"]["managedFields"]]
    assert managers == [("trimtab", "Apply")]
    assert await cluster.apply_new(service(server.namespace, a="3")) is None
    key = Key(SERVICES, server.namespace, "first")
    kept = await cluster.read(key)
    assert kept is not None
    assert kept["spec"]["selector"] == {"a": "1", "b": "2"}
    # What a later apply leaves out goes.
    uid = made["metadata"]["uid"]
    changed = await cluster.apply(service(server.namespace, a="1"), uid=uid)
    assert changed["spec"]["selector"] == {"a": "1"}
    with pytest.raises(Conflict):
        await cluster.apply(service(server.namespace, a="4"), uid=ELSEWHERE)
    await cluster.delete(key, uid=uid)
    with pytest.raises(Conflict):
        await cluster.apply(service(server.namespace, a="4"), uid=uid)
    assert await cluster.read(key) is None


async def test_a_workload_is_made_once(server: Server, cluster: KubernetesCluster) -> None:
    made = await cluster.apply_new(workload(server.namespace, 0))
    assert made is not None
    assert await cluster.apply_new(workload(server.namespace, 1)) is None
    kept = await cluster.read(Key(WORKLOADS, server.namespace, "first"))
    assert kept is not None
    assert kept["spec"]["replicas"] == 0


TEXTS = {
    "first_plane": "".join(chr(c) for c in range(0x10000) if not 0xD800 <= c <= 0xDFFF),
    "beyond_it": "\U0001f600 \U0001ffff \U0010ffff",
    "spaces_and_lines": " a \n   \n\t b  ",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
async def test_every_character_that_can_be_stored_can_be_applied(
    server: Server, cluster: KubernetesCluster, text: str
) -> None:
    manifest = workload(server.namespace, 0)
    manifest["spec"]["template"]["metadata"]["annotations"] = {"example.com/note": text}
    stored = await cluster.apply(manifest)
    assert stored["spec"]["template"]["metadata"]["annotations"] == {"example.com/note": text}


async def test_a_long_key_can_be_applied(server: Server, cluster: KubernetesCluster) -> None:
    attributes = {"k" * 3000: "1", "\U0001f600" * 500: "2", "é" * 500: "3"}
    manifest = workload(server.namespace, 0)
    volume = {"name": "v", "csi": {"driver": "d.example.com", "volumeAttributes": attributes}}
    manifest["spec"]["template"]["spec"]["volumes"] = [volume]
    stored = await cluster.apply(manifest)
    (made,) = stored["spec"]["template"]["spec"]["volumes"]
    assert made["csi"]["volumeAttributes"] == attributes


WRONG = {
    "a_field_that_is_none": ({"foo": {"bar": []}}, ".spec.template.foo: field not declared"),
    "another_type": ({"spec": {"priority": "x"}}, ".spec.template.spec.priority: expected numeric"),
    "a_uid_that_is_none": ({"metadata": {"uid": 1}}, ".spec.template.metadata.uid: expected"),
    "a_fraction": ({"spec": {"priority": 1.5}}, "cannot convert float64 to int32"),
    "another_rule": ({"spec": {"restartPolicy": "Never"}}, "spec.template.spec.restartPolicy"),
}


@pytest.mark.parametrize(("patch", "words"), WRONG.values(), ids=list(WRONG))
async def test_a_template_that_is_none_is_refused(
    server: Server, cluster: KubernetesCluster, patch: Json, words: str
) -> None:
    manifest = workload(server.namespace, 0)
    made = await cluster.apply(manifest)
    manifest["spec"]["template"] = merge_patch(manifest["spec"]["template"], patch)
    with pytest.raises(Refused, match=re.escape(words)):
        await cluster.apply(manifest, uid=made["metadata"]["uid"])
    manifest["metadata"]["name"] = "another"
    with pytest.raises(Refused, match=re.escape(words)):
        await cluster.apply_new(manifest)
