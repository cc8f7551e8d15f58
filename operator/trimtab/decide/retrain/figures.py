"""What a training report becomes: the figures of a status, the words, and the new ModelVersion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab.api.meta import API_VERSION
from trimtab.api.model_version import (
    Artifact,
    Evaluation,
    ModelVersionSpec,
    version_object_name,
)
from trimtab.api.retrain_job import Measured, RetrainJob
from trimtab.contract.training import ReportedMetric, TrainingReport
from trimtab.decide.retrain.report import Accepted, lineage_of


def version_manifest(job: RetrainJob, accepted: Accepted) -> dict[str, Any]:
    report, champion = accepted.report, job.status.champion_version
    spec = ModelVersionSpec(
        model=job.spec.model,
        version=job.status.new_version,
        artifact=Artifact(
            uri=accepted.uri, digest=accepted.digest, secret_name=job.spec.data.secret_name
        ),
        lineage=lineage_of(report).model_copy(
            update={
                "parent": champion.version_object if champion is not None else None,
                "retrain_job": job.metadata.name,
            }
        ),
        evaluation=[
            Evaluation(
                metric=metric.metric,
                value=metric.value,
                interval=sorted(metric.interval) if metric.interval is not None else None,
                n=metric.n,
                dataset=metric.dataset,
                slice=metric.slice,
            )
            for metric in report.metrics
        ],
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {
            "name": version_object_name(spec.model, spec.version),
            "namespace": job.metadata.namespace,
        },
        "spec": spec.to_json(),
    }


def figures_of(job: RetrainJob, report: TrainingReport) -> dict[str, Any]:
    champion = job.status.champion_version
    challenger = _gate_metric(job, report.metrics)
    return {
        "verdict": report.verdict,
        "challenger": _measured(job.status.new_version, challenger),
        "champion": _measured(
            champion.version_object if champion is not None else "",
            _gate_metric(job, report.champion.metrics) if report.champion is not None else None,
        ),
    }


def _gate_metric(job: RetrainJob, metrics: Sequence[ReportedMetric]) -> ReportedMetric | None:
    named = [m for m in metrics if m.metric == job.spec.gate.metric and m.slice == "all"]
    return next(iter(named or metrics), None)


def _measured(version: str, metric: ReportedMetric | None) -> Measured | None:
    if metric is None:
        return None
    return Measured(
        version=version,
        metric=metric.metric,
        value=metric.value,
        interval=sorted(metric.interval) if metric.interval is not None else [],
    )


def comparison_text(report: TrainingReport) -> str:
    challenger = next(iter(report.metrics), None)
    text = f"{challenger.metric} {challenger.value:.3f}" if challenger is not None else "accepted"
    served = next(iter(report.champion.metrics), None) if report.champion is not None else None
    if challenger is not None and served is not None and served.metric == challenger.metric:
        text += f" against {served.value:.3f} of the serving version"
    comparison = report.comparison
    if comparison is not None and comparison.interval is not None:
        low, high = sorted(comparison.interval)
        text += f" (difference {low:+.3f} to {high:+.3f}, n={comparison.n})"
    return text


def result_column(phase: str, challenger: Measured | None, changes: dict[str, Any]) -> str:
    if phase == "Failed":
        return str(changes.get("failure", ""))
    if phase == "InsufficientData":
        needed = changes.get("needed")
        return f"{needed} rows needed" if needed else "too few rows"
    if challenger is None or challenger.value is None:
        return ""
    champion = changes.get("champion")
    against = f" vs {champion.value:.3f}" if champion is not None and champion.value else ""
    return f"{challenger.metric} {challenger.value:.3f}{against}"


def cause_text(job: RetrainJob) -> str:
    cause = job.spec.cause
    if cause.manual is not None:
        return f"manual by {cause.manual}"[:256]
    return f"{cause.signal} of {cause.deployment}, attempt {cause.attempt}"
