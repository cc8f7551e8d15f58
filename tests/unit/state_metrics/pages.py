"""A page of metrics as Prometheus reads it, and objects to be shown on one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from trimtab.api.conditions import Condition
from trimtab.api.deployment import DeploymentStatus
from trimtab.api.fields import format_time
from trimtab.api.meta import API_VERSION
from trimtab.api.record import Decision, Record
from trimtab.cluster.port import Json
from trimtab.state_metrics.families import FAMILIES
from trimtab.state_metrics.kinds import SHOWN

Series: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(page: bytes) -> Series:
    """Return the series; AssertionError for one given twice, or a metric in two places."""
    text = page.decode()
    heads = Counter(line for line in text.split("\n") if line.startswith("# TYPE "))
    assert set(heads.values()) <= {1}
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            one = sample.name, frozenset(sample.labels.items())
            assert one not in found, one
            found[one] = sample.value
    return found


def of(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def shown(kind: str, obj: Json, now: datetime = NOW) -> Series:
    """Return the series of one object."""
    text = SHOWN[kind](obj, now).text
    return read(b"".join(family.head + text[family] for family in FAMILIES if family in text))


def condition(type: str, status: Any = "True", reason: str = "Serving") -> Condition:
    return Condition(type=type, status=status, reason=reason, last_transition_time=NOW)


def record(*reasons: str, first: int = 1) -> Record:
    """Return one decision a second from NOW on."""
    decisions = [
        Decision(seq=first + n, at=NOW + timedelta(seconds=n), reason=reason)
        for n, reason in enumerate(reasons)
    ]
    return Record(seq=first + len(reasons) - 1, decisions=decisions)


def obj_of(kind: str, status: Any = None, spec: Any = None, **metadata: Any) -> Json:
    metadata = {
        "name": "digits",
        "namespace": "shop",
        "uid": "u1",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": format_time(NOW),
    } | metadata
    obj = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec or {}}
    return obj if status is None else obj | {"status": status}


def tried(version: str = "v1", **more: Any) -> Json:
    digest = f"sha256:{'0' * 64}"
    return {
        "version": version,
        "version_object": f"digits-{version}",
        "digest": digest,
        "revision": f"r-{version}",
        "workload": f"digits-{version}",
        "artifact": {"uri": "s3://models/digits/", "digest": digest},
        "since": NOW,
        **more,
    }


def deployment_status(**changes: Any) -> Json:
    return DeploymentStatus.model_validate(changes).to_json()
