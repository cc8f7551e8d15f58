"""The cluster's own state at one moment, as far as the play asks about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """One decision about an object of ours."""

    uid: str
    at: datetime
    who: str
    reason: str
    note: str

    def line(self) -> str:
        """Return time of day (UTC), object, reason and note."""
        return f"{self.at:%H:%M:%S}  {self.who:<16} {self.reason:<18} {self.note}"


@dataclass(frozen=True)
class View:
    """Objects of the namespace; empty where there is none yet."""

    deployment: Json
    policy: Json
    service: Json
    retrainings: tuple[Json, ...]
    versions: dict[str, Json]
    """ModelVersions by the version they declare."""
    jobs: dict[str, Json]
    decisions: tuple[Told, ...]

    @classmethod
    def of(cls, items: Iterable[Json]) -> View:
        """Sort the items of one `kubectl get`."""
        items = list(items)
        by_kind: dict[str, list[Json]] = {}
        for item in items:
            by_kind.setdefault(item["kind"], []).append(item)
        services = [
            one for one in by_kind.get("Service", []) if one["metadata"]["name"] == "digits"
        ]
        told = [one for item in items if _is_ours(item) for one in _told(item)]
        return cls(
            deployment=_first(by_kind.get("Deployment", [])),
            policy=_first(by_kind.get("DriftPolicy", [])),
            service=_first(services),
            retrainings=tuple(by_kind.get("RetrainJob", [])),
            versions={one["spec"]["version"]: one for one in by_kind.get("ModelVersion", [])},
            jobs={one["metadata"]["name"]: one for one in by_kind.get("Job", [])},
            decisions=tuple(sorted(told, key=lambda one: one.at)),
        )

    @property
    def status(self) -> Json:
        """Status of the Deployment."""
        found: Json = self.deployment.get("status") or {}
        return found

    @property
    def is_current(self) -> bool:
        """Has the operator looked at the newest spec of the Deployment?"""
        seen = self.status.get("observedGeneration")
        return bool(self.deployment) and seen == self.deployment["metadata"]["generation"]

    def serves(self, version: str) -> bool:
        """Is the version stable, at full size, alone in the Service, and no rollout under way?"""
        stable = self.status.get("stable") or {}
        return (
            self.is_current
            and stable.get("version") == version
            and stable.get("ready") == self.deployment["spec"]["replicas"]
            and "rollout" not in self.status
            and self.condition(self.deployment, "Ready")["status"] == "True"
            and self.route() == stable.get("revision")
        )

    def route(self) -> str:
        """Return the revision that the Service sends to; empty for all of them."""
        selector = (self.service.get("spec") or {}).get("selector") or {}
        return str(selector.get("trimtab.dev/revision", ""))

    def ended(self, version: str, outcome: str) -> Json:
        """Return the entry of history that says how the version's rollout ended, or nothing."""
        entries = self.status.get("history") or []
        found = [e for e in entries if e["version"] == version and e["outcome"] == outcome]
        return _first(found[-1:])

    def rejected(self, version: str) -> Json:
        """Return the quarantine of a version, or nothing."""
        return _first([e for e in self.status.get("rejected") or [] if e["version"] == version])

    def signal(self, kind: str) -> Json:
        """Return what the policy found about one kind of signal, or nothing."""
        signals = (self.policy.get("status") or {}).get("signals") or []
        return _first([one for one in signals if one["kind"] == kind])

    def is_complete(self, job: str) -> bool:
        """Has a Job of this name completed?"""
        return self.condition(self.jobs.get(job, {}), "Complete")["status"] == "True"

    def happened(self, reason: str, word: str = "") -> Told | None:
        """Return the first decision of a reason whose note has the word."""
        found = (e for e in self.decisions if e.reason == reason and word in e.note)
        return next(found, None)

    @staticmethod
    def condition(obj: Json, kind: str) -> Json:
        """Return a condition of an object, or an empty one."""
        conditions = (obj.get("status") or {}).get("conditions") or []
        found = _first([one for one in conditions if one["type"] == kind])
        return found or {"status": "", "reason": "", "message": ""}

    def brief(self) -> str:
        """Return in one line how things stand."""
        parts = [f"Deployment {self.status.get('summary')}"]
        if self.policy:
            parts.append(f"DriftPolicy {(self.policy.get('status') or {}).get('summary')}")
        parts += [
            f"RetrainJob {one['metadata']['name']} {(one.get('status') or {}).get('summary')}"
            for one in self.retrainings
        ]
        return "; ".join(parts)


def _first(found: list[Json]) -> Json:
    return found[0] if found else {}


def _is_ours(item: Json) -> bool:
    return str(item["apiVersion"]).startswith("trimtab.dev/")


def _told(item: Json) -> list[Told]:
    """Return the numbered decisions that an object's status keeps."""
    record = (item.get("status") or {}).get("record") or {}
    return [
        Told(
            uid=f"{item['metadata']['uid']}/{one['seq']}",
            at=datetime.fromisoformat(one["at"]),
            who=item["metadata"]["name"],
            reason=one["reason"],
            note=one.get("message", ""),
        )
        for one in record.get("decisions", [])
    ]
