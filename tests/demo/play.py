"""Installs the release, plays the acts in order, and tells in one table what was seen."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.demo.acts import (
    better_is_promoted,
    drift_is_cured,
    v1_serves,
    worse_is_rolled_back,
)
from tests.demo.stage import NAMESPACE, NotSeen, Stage
from tests.e2e.kit.release import SYSTEM, helm, kubectl
from tests.e2e.kit.release import install as install_release

from trimtab.cli.tables import columns

Act = Callable[[Stage], str]
ACTS: tuple[tuple[str, Act], ...] = (
    ("(a) v1 serves", v1_serves),
    ("(b) v2, worse, is rolled back", worse_is_rolled_back),
    ("(c) v3, good, is promoted", better_is_promoted),
    ("(d) drift: retrained and replaced", drift_is_cured),
)
MADE_BY = "trimtab.dev/demo"
"""Label of the release's namespace where the demo made it, so that only then it is removed."""
LIMIT_SECONDS = 360.0
_REACHED = "python3 -m tests.cluster run --"
LOOK = f"{_REACHED} .venv/bin/trimtab -n {NAMESPACE} get"
AFTERWARDS = f"""\
The operator and the users go on running. To look at them:
  {LOOK}
  {_REACHED} .venv/bin/trimtab -n {NAMESPACE} why mdep/digits
  {_REACHED} kubectl -n {NAMESPACE} get pods
To remove what the demo made: make demo-clean. The local cluster too: make cluster-down."""


@dataclass(frozen=True)
class Seen:
    """How an act went. `missing`: what was not seen, empty if all was."""

    title: str
    seconds: float
    result: str
    missing: str
    serving: str
    tally: dict[str, Any]


def install(namespace: str = NAMESPACE) -> None:
    """Make an empty namespace, and install or upgrade the release with its store in it.

    Other namespaces that the release gave the store's keys to keep them. A release that a person
    installed in a context of their own is left alone: NotSeen.
    """
    kubectl("delete", "namespace", namespace, "--ignore-not-found", timeout=180)
    was_there = "trimtab" in helm("list", "-n", SYSTEM, "--short").split()
    is_made_here = SYSTEM in _names("namespaces", "-l", MADE_BY)
    if was_there and not is_made_here and os.environ.get("KUBE_CONTEXT"):
        raise NotSeen(f"{SYSTEM} has a release that the demo did not make; take another context")
    namespaces = {namespace}
    if was_there:
        values = json.loads(helm("get", "values", "trimtab", "-n", SYSTEM, "-o", "json")) or {}
        known = set((values.get("artifacts") or {}).get("namespaces") or [])
        namespaces |= known & set(_names("namespaces", "--field-selector=status.phase=Active"))
    install_release(sorted(namespaces))
    if not was_there:
        kubectl("label", "namespace", SYSTEM, f"{MADE_BY}=true", "--overwrite")


def clean(namespace: str = NAMESPACE) -> str:
    """Remove the namespace, and the release, its namespace and the kinds; return what was done.

    Where other namespaces have objects of the kinds, these are all kept: the objects would go with
    their kinds. In a context of a person, release and kinds go only where the demo made them.
    """
    kubectl("delete", "namespace", namespace, "--ignore-not-found", timeout=180)
    if not _names("namespaces", "-l", MADE_BY) and os.environ.get("KUBE_CONTEXT"):
        return f"removed the namespace {namespace}; the release is not the demo's"
    kinds = [name for name in _names("crd") if name.endswith(".trimtab.dev")]
    used = {place for kind in kinds for place in _namespaces_with(kind)} - {namespace}
    if used:
        return _KEPT.format(
            namespace=namespace,
            used=", ".join(sorted(used)),
            reached=_REACHED,
            system=SYSTEM,
            kinds=" ".join(kinds),
        )
    helm("uninstall", "trimtab", "--namespace", SYSTEM, "--wait", "--ignore-not-found")
    if kinds:
        kubectl("delete", "crd", *kinds, timeout=120)
    kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", timeout=180)
    return "removed"


_KEPT = """\
removed the namespace {namespace}
kept the release, its namespace and the kinds: objects of the kinds are in {used}
To remove the rest, with these objects and all that the store holds:
  {reached} helm uninstall trimtab --namespace {system} --wait
  {reached} kubectl delete crd {kinds}
  {reached} kubectl delete namespace {system}"""


def _namespaces_with(kind: str) -> set[str]:
    """Return the namespaces that have an object of the kind."""
    path = "jsonpath={.items[*].metadata.namespace}"
    return set(kubectl("get", kind, "--all-namespaces", "-o", path).split())


def play(stage: Stage) -> list[Seen]:
    """Play all acts; the first that is not seen is the last."""
    seen: list[Seen] = []
    for title, act in ACTS:
        stage.say(f"\n{title}")
        seen.append(perform(stage, title, act))
        if seen[-1].missing:
            break
    return seen


def perform(stage: Stage, title: str, act: Act) -> Seen:
    """Play one act."""
    began, before = time.monotonic(), _tally(stage)
    result = missing = ""
    try:
        result = act(stage)
    except NotSeen as error:
        missing = str(error)
    after = _tally(stage)
    counts = {name: after[name] - before.get(name, 0) for name in after}
    seconds = time.monotonic() - began
    stage.say(f"not seen: {missing}" if missing else f"seen after {seconds:.0f} s: {result}")
    serving = (stage.view().status.get("stable") or {}).get("version", "-")
    return Seen(title, seconds, result, missing, serving, counts)


def _tally(stage: Stage) -> dict[str, int]:
    try:
        total = stage.stats(1)["total"]
    except (NotSeen, RuntimeError):
        return {}  # before the first act there are no users
    return {name: total[name] for name in ("ok", "right", "errors", "rejected", "lost")}


def table(seen: list[Seen]) -> str:
    """Return the acts with what was seen."""
    rows = [("ACT", "SEEN", "SECONDS", "SERVING", "REQUESTS", "WRONG", "FAILED", "RESULT")]
    for one in seen:
        answered, tally = one.tally.get("ok", 0), one.tally
        wrong = f"{1 - tally['right'] / answered:.1%}" if answered else "-"
        failed = sum(tally.get(name, 0) for name in ("errors", "rejected", "lost"))
        rows.append(
            (
                one.title,
                "no" if one.missing else "yes",
                f"{one.seconds:.0f}",
                one.serving,
                str(answered + failed),
                wrong,
                str(failed),
                one.result or f"not seen: {one.missing}",
            )
        )
    return columns(rows)


def _names(*words: str) -> list[str]:
    found = kubectl("get", *words, "-o", "name").split()
    return [name.split("/", 1)[1] for name in found]
