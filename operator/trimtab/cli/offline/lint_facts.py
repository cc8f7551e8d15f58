"""What `lint` knows beside a policy: from its arguments, and from the objects in the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.fields import Kind
from trimtab.api.meta import Metadata
from trimtab.api.model_version import ModelVersion
from trimtab.cli.api import Api, Scope
from trimtab.cli.offline.artifacts import (
    ArtifactAway,
    read_baseline,
    read_documents_at,
    read_signature,
)
from trimtab.cli.offline.manifest_check import read_object
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, MODEL_VERSIONS
from trimtab.contract.artifact import Baseline, Signature
from trimtab.contract.cardinality import hours_told, tells_pairs_by_hour
from trimtab.errors import SpecError
from trimtab.lint.facts import POD_LABEL_DELAY, Facts
from trimtab.lint.remarks import Remark, Severity
from trimtab.reconcile.kinds.drift_policy import selects


@dataclass(frozen=True)
class Stated:
    """What the arguments say. rows: in a window. per_second: requests of a Deployment."""

    baseline: Baseline | None = None
    signature: Signature | None = None
    credentials: Path | None = None
    rows: float | None = None
    per_second: float | None = None
    reads_artifacts: bool = False

    @classmethod
    def read(
        cls,
        baseline: str | None,
        signature: Path | None,
        credentials: Path | None,
        *,
        rows: float | None,
        per_second: float | None,
        reads_artifacts: bool,
    ) -> Stated:
        """Read the files that are named; SpecError says what is wrong with one."""
        found = own = None
        if baseline is not None and ("://" in baseline or Path(baseline).is_dir()):
            documents = read_documents_at(baseline, credentials)
            found, own = documents.baseline, documents.signature
        elif baseline is not None:
            found = read_baseline(baseline)
        if signature is not None:
            own = read_signature(signature)
        return cls(found, own, credentials, rows, per_second, reads_artifacts)


@dataclass(frozen=True)
class Beside:
    """The objects of the files, as far as they can be read.

    has_all: with those of a cluster, so that what is not among them is not there.
    """

    deployments: tuple[Deployment, ...]
    policies: tuple[DriftPolicy, ...]
    versions: tuple[ModelVersion, ...]
    has_all: bool = False

    @classmethod
    def of(cls, objects: Iterable[Kind], around: Iterable[Kind] | None = None) -> Beside:
        """Sort objects by kind; those `around` count where there is none of their name."""
        found = list(objects)
        named = {_name(one) for one in found}
        found += [one for one in around or () if _name(one) not in named]
        return cls(
            tuple(one for one in found if isinstance(one, Deployment)),
            tuple(one for one in found if isinstance(one, DriftPolicy)),
            tuple(one for one in found if isinstance(one, ModelVersion)),
            has_all=around is not None,
        )


def _name(one: Kind) -> tuple[str, str]:
    metadata = getattr(one, "metadata", None)
    return type(one).__name__, metadata.name if isinstance(metadata, Metadata) else ""


async def objects_of(api: Api, namespace: str) -> list[Kind]:
    """Return what a namespace of a cluster has; what cannot be read is left out."""
    found: list[Kind] = []
    for resource in (DEPLOYMENTS, DRIFT_POLICIES, MODEL_VERSIONS):
        for document in (await api.list(resource, Scope(namespace))).items:
            one, _ = read_object(document)
            if one is not None:
                found.append(one)
    return found


def selected(policy: DriftPolicy, deployments: Sequence[Deployment]) -> list[Deployment]:
    """Return the Deployments that a policy watches."""
    return [deployment for deployment in deployments if selects(policy, deployment)]


def facts_of(
    policy: DriftPolicy, beside: Beside, stated: Stated
) -> list[tuple[Facts, list[Remark]]]:
    """Return what is known of each model that a policy watches, and what went wrong on the way.

    Once, from the arguments alone, where the files have none of its Deployments.
    """
    rows = stated.rows
    if rows is None and stated.per_second is not None:
        rows = stated.per_second * policy.spec.window.total_seconds()
    watched: list[Deployment | None] = list(selected(policy, beside.deployments))
    return [_facts(one, rows, beside, stated) for one in watched or [None]]


def facts_of_deployment(
    deployment: Deployment, beside: Beside, stated: Stated
) -> tuple[Facts, list[Remark]]:
    """Return what is known of the model of a Deployment, and what went wrong on the way.

    Of one that a policy watches, the latter is said of the policy.
    """
    facts, remarks = _facts(deployment, None, beside, stated)
    if any(selects(policy, deployment) for policy in beside.policies):
        return facts, []
    return facts, [replace(remark, field="spec.model") for remark in remarks]


def _pod_label_delay(deployment: Deployment | None) -> timedelta:
    known = deployment.spec.serving.label_delay if deployment is not None else None
    return POD_LABEL_DELAY if known is None else known


def _facts(
    deployment: Deployment | None, rows: float | None, beside: Beside, stated: Stated
) -> tuple[Facts, list[Remark]]:
    versions = [] if deployment is None else _versions(deployment, beside)
    baseline, signature, remarks = stated.baseline, stated.signature, []
    if stated.reads_artifacts:
        for version in versions:
            artifact = version.spec.artifact
            try:
                read = read_documents_at(str(artifact.uri), stated.credentials, artifact.digest)
            except ArtifactAway as error:
                remarks.append(_of_artifact("warning", version, error))
            except SpecError as error:
                remarks.append(_of_artifact("error", version, error))
            else:
                baseline, signature = read.baseline, read.signature
    facts = Facts(
        rows=rows,
        baseline=baseline,
        signature=signature,
        scores={
            (stated_score.metric, stated_score.slice): stated_score.value
            for version in versions
            for stated_score in version.spec.evaluation
        },
        pod_label_delay=_pod_label_delay(deployment),
    )
    if facts.classes:
        hours = hours_told(facts.pod_label_delay.total_seconds())
        facts = replace(facts, tells_pairs=tells_pairs_by_hour(len(facts.classes), hours))
    return facts, remarks


def _of_artifact(severity: Severity, version: ModelVersion, error: SpecError) -> Remark:
    text = f"artifact of {version.metadata.name}: {error}"
    return Remark(severity, "artifact", "spec.selector", text)


def _versions(deployment: Deployment, beside: Beside) -> list[ModelVersion]:
    """Return the version that is pinned, or all of the line that is followed."""
    pinned = deployment.spec.version
    return [
        version
        for version in beside.versions
        if version.spec.model == deployment.spec.model
        and (pinned is None or version.spec.version == pinned)
    ]
