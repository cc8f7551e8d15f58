"""How a run ended, in a form in which two runs can be compared."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from tests.faults.world import Stage

from trimtab.build.engines.job import JOBS
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
    SERVICES,
    WORKLOADS,
    Json,
)

Ending = dict[str, str]
"""What is looked at, and how it is."""

UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
CONDITIONS = (
    *("Ready", "Progressing", "Degraded", "Paused", "Quarantined"),
    *("UpToDate", "Reconciling", "Stalled"),
)
TOLD_ONCE = (
    "RolloutStarted",
    "RolledBack",
    "Promoted",
    "Undecided",
    "GuardBreached",
    "CommandCarriedOut",
    "CommandRefused",
    "RetrainStarted",
    "RetrainCancelled",
    "VersionCreated",
)
"""Decisions that no fault may add or take away."""
FIRST_SAID = ("story", "stable", "quarantine", "history", "lastGood", "numbers", "decisions")


def ending_of(stage: Stage) -> Ending:
    """Return how the cluster is now."""
    found: Ending = {}
    for deployment in stage.cluster.views(DEPLOYMENTS):
        found |= _deployment(deployment)
    for workload in stage.cluster.views(WORKLOADS):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        ready = (workload.get("status") or {}).get("readyReplicas", 0)
        spec = _text(workload["spec"])
        found[f"workload of {labels['trimtab.dev/version']}"] = f"{ready} ready, {spec}"
    for service in stage.cluster.views(SERVICES):
        found[f"service {service['metadata']['name']}"] = _text(service["spec"])
    found["children"] = _children(stage)
    for kind in (MODEL_VERSIONS, RETRAIN_JOBS):
        for obj in stage.cluster.views(kind):
            name = f"{kind.kind} {obj['metadata']['name']}"
            found[name] = str((obj.get("status") or {}).get("phase"))
    found["Jobs"] = ", ".join(obj["metadata"]["name"] for obj in stage.cluster.views(JOBS))
    for policy in stage.cluster.views(DRIFT_POLICIES):
        signals = (policy.get("status") or {}).get("signals") or []
        found["signals"] = ", ".join(f"{s['kind']} {s['verdict']}" for s in signals)
    return found | _decisions(stage)


def _children(stage: Stage) -> str:
    """Return the labels of the children, and whether each has its owner."""
    uids = {obj["metadata"]["uid"] for obj in stage.cluster.views(DEPLOYMENTS)}
    told = []
    for kind in (WORKLOADS, SERVICES):
        for child in stage.cluster.views(kind):
            metadata = child["metadata"]
            owners = {owner["uid"] for owner in metadata.get("ownerReferences") or []}
            owned = "owned" if owners & uids else "without its owner"
            told.append(f"{metadata['name']} {owned}, {_text(metadata.get('labels') or {})}")
    return "; ".join(told)


def _deployment(deployment: Json) -> Ending:
    status = deployment.get("status") or {}
    versions = {
        name: str((status.get(name) or {}).get("version"))
        for name in ("stable", "lastGood", "candidate")
    }
    rejected = [(entry["version"], entry["reason"]) for entry in status.get("rejected") or []]
    history = [(e["version"], e["outcome"], e["by"]) for e in status.get("history") or []]
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
    return versions | {
        "spec": _text(deployment["spec"]),
        "rollout": str((status.get("rollout") or {}).get("phase")),
        "guard": "over" if not status.get("guard") else "watches",
        "quarantine": str(rejected),
        "history": str(history),
        "commands": str(status.get("commands")),
        "conditions": ", ".join(f"{c}={conditions.get(c, 'False')}" for c in CONDITIONS),
    }


def _decisions(stage: Stage) -> Ending:
    """Return what was decided, and whether each number was told once."""
    uids = {obj["metadata"]["uid"]: obj for kind in OWN_KINDS for obj in stage.cluster.views(kind)}
    told = [telling for telling in stage.server.told if telling.uid in uids]
    reasons = Counter(telling.reason for telling in told if telling.reason in TOLD_ONCE)
    numbers = Counter((telling.uid, telling.seq) for telling in told)
    wrong = [
        f"{uids[uid]['kind']} {seq} told {times} times"
        for (uid, seq), times in numbers.items()
        if times > 1
    ]
    for uid, obj in uids.items():
        record = (obj.get("status") or {}).get("record") or {}
        last = int(record.get("seq", 0))
        wrong += [
            f"{obj['kind']} {seq} not told"
            for seq in range(1, last + 1)
            if (uid, seq) not in numbers
        ]
        wrong += [
            f"{obj['kind']} {seq} forgotten" for of, seq in numbers if of == uid and seq > last
        ]
    return {
        "decisions": ", ".join(f"{name} {n}" for name, n in sorted(reasons.items())),
        "numbers": "; ".join(sorted(wrong)) or "each told once",
    }


def differences(undisturbed: Ending, ending: Ending) -> list[str]:
    """Return what is otherwise than in the undisturbed run."""
    found = []
    for name in sorted(undisturbed.keys() | ending.keys(), key=_by_weight):
        wanted, is_so = undisturbed.get(name, "nothing"), ending.get(name, "nothing")
        if wanted != is_so:
            found.append(f"{name}: {_around(is_so, wanted)}, undisturbed: {_around(wanted, is_so)}")
    return found


def _by_weight(name: str) -> tuple[int, str]:
    return FIRST_SAID.index(name) if name in FIRST_SAID else len(FIRST_SAID), name


def _around(text: str, other: str) -> str:
    """Return the part of a long text where it begins to differ from the other."""
    if len(text) < 160:
        return text or "nothing"
    at = next((i for i, pair in enumerate(zip(text, other, strict=False)) if len(set(pair)) > 1), 0)
    return f"...{text[max(0, at - 40) : at + 100]}..."


def _text(value: Any) -> str:
    return UID.sub("UID", json.dumps(value, sort_keys=True))
