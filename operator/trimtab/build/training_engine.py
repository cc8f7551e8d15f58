"""What an engine is: all that differs between the ways to run one training attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.api.resource import Resource
from trimtab.api.retrain_job import RetrainJob
from trimtab.api.run import RunView
from trimtab.build.training_pod import RunRequest

Json = dict[str, Any]


@dataclass(frozen=True)
class AccessRule:
    """Verbs on resources of one API group that the operator must be granted."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class TrainingEngine:
    """One way to run a training attempt.

    What it makes is one object of type `resource`, named like its RetrainJob and owned by it; the
    object and its pods carry `run_labels`, so that their changes reach the RetrainJob.
    """

    resource: Resource
    """What is created and watched."""
    build: Callable[[RunRequest], Json]
    """Return the whole manifest of that object."""
    view: Callable[[RetrainJob, Json | None, Sequence[Json]], RunView]
    """Return how the run stands: from the object of that name, if there is one, and all pods that
    are labelled as the RetrainJob's. An object of somebody else does not exist for it."""
    access: tuple[AccessRule, ...]
    """What the chart grants for it; pods are granted anyway."""


def watch_and_create(resource: Resource) -> AccessRule:
    """Return the rule for what an engine makes: it is never changed and never deleted by us."""
    return AccessRule(resource.group, (resource.plural,), ("get", "list", "watch", "create"))
