"""The report of a training pod: its exit code and termination message, read strictly.

The message comes from code that the operator did not write. Whatever does not fit is a fault of
that code, said in words, and never a version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from trimtab.api.fields import Digest, MetricName, Model, ShortText, Text
from trimtab.api.model_version import Artifact, Code, Dataset

MESSAGE_LIMIT_BYTES = 4096
"""What the kubelet keeps of a termination message."""

DECISIVE_EXIT_CODES = (10, 11, 12, 13)
"""Ends that another try would not change; the Job does not retry them."""

FailureClass = Literal["data", "code", "infrastructure"]
_VERDICT_OF_EXIT_CODE = {0: "accepted", 11: "rejected", 13: "insufficientData"}
_CLASS_OF_EXIT_CODE: dict[int, FailureClass] = {10: "data", 12: "code"}

Number = Annotated[float, Field(allow_inf_nan=False)]


def _as_text(value: object) -> object:
    return (value if isinstance(value, str) else json.dumps(value))[:256]


def _cut(value: object) -> object:
    return value[:1024] if isinstance(value, str) else value


def _known_figures(value: object) -> object:
    """Leave out metrics that are null: they could not be computed."""
    if not isinstance(value, list):
        return value
    return [one for one in value if not (isinstance(one, dict) and one.get("value") is None)]


Metrics = Annotated[list["ReportedMetric"], BeforeValidator(_known_figures), Field(max_length=64)]


class ReportedMetric(Model):
    """One metric with its interval, on one slice of one dataset."""

    metric: MetricName
    value: Number
    interval: tuple[Number, Number] | None = None
    n: int | None = Field(default=None, ge=0, le=10**15)
    dataset: ShortText | None = None
    slice: ShortText = "all"


class ReportedChampion(Model):
    """The version that served, on the same rows."""

    metrics: Metrics = Field(default_factory=list)


class Comparison(Model):
    """Challenger minus champion on the same rows."""

    metric: MetricName
    difference: Number | None = None
    interval: tuple[Number, Number] | None = None
    not_worse_by: Number | None = None
    n: int | None = Field(default=None, ge=0, le=10**15)
    needed: int | None = Field(default=None, ge=0, le=10**15)


class TrainingReport(Model):
    """The termination message."""

    verdict: Literal["accepted", "rejected", "insufficientData", "failed"]
    uri: Text | None = None
    digest: Digest | None = None
    baseline: Digest | None = None
    metrics: Metrics = Field(default_factory=list)
    champion: ReportedChampion | None = None
    comparison: Comparison | None = None
    needed: int | None = Field(default=None, ge=0, le=10**15)
    datasets: list[Dataset] = Field(default_factory=list, max_length=20)
    parameters: dict[str, Annotated[ShortText, BeforeValidator(_as_text)]] = Field(
        default_factory=dict, max_length=64
    )
    code: Code | None = None
    reason: Annotated[Text, BeforeValidator(_cut)] = ""
    message: Annotated[Text, BeforeValidator(_cut)] = ""
    class_: Literal["data", "code", "infrastructure"] | None = Field(default=None, alias="class")


@dataclass(frozen=True)
class Accepted:
    """A new version, measured and stored in folder `uri` under `digest`."""

    report: TrainingReport
    uri: str
    digest: str


@dataclass(frozen=True)
class TurnedDown:
    """The challenger is worse than allowed, or there are too few rows to say."""

    report: TrainingReport
    is_insufficient: bool


@dataclass(frozen=True)
class Broke:
    """No version and no judgement."""

    failure: FailureClass
    message: str


TrainingResult = Accepted | TurnedDown | Broke


def read_result(exit_code: int, message: str, *, output_uri: str) -> TrainingResult | None:
    """Return what a finished training pod says, or None where the Job may try again.

    `output_uri` is the folder that the pod was told to write to; a version elsewhere is refused;
    its digest may be appended to the name.
    """
    if exit_code != 0 and exit_code not in DECISIVE_EXIT_CODES:
        return None
    report = _parsed(message)
    if (failure := _CLASS_OF_EXIT_CODE.get(exit_code)) is not None:
        text = report.message if isinstance(report, TrainingReport) else ""
        return Broke(failure, text or f"the training ended with exit code {exit_code}, no message")
    if isinstance(report, Broke):
        return report
    wanted = _VERDICT_OF_EXIT_CODE[exit_code]
    if report.verdict != wanted:
        return Broke(
            "code",
            f"exit code {exit_code} means {wanted}, but the termination message says "
            f"{report.verdict}",
        )
    if wanted != "accepted":
        return TurnedDown(report, is_insufficient=wanted == "insufficientData")
    return _accepted(report, output_uri)


def last_words(message: str) -> str:
    """Return what a pod said of its end, as far as it can be read; for people only."""
    report = _parsed(message) if message else None
    return report.message if isinstance(report, TrainingReport) else ""


def _accepted(report: TrainingReport, output_uri: str) -> TrainingResult:
    if report.uri is None or report.digest is None:
        return Broke("code", "the termination message says accepted without uri and digest")
    uri = report.uri.rstrip("/") + "/"
    # The trainer names a folder below it by digest, so that no second attempt overwrites the first.
    if not uri.startswith(output_uri):
        return Broke("code", f"the training wrote to {uri}, not to {output_uri}")
    try:
        artifact = Artifact(uri=uri, digest=report.digest)
    except ValidationError as error:
        return Broke("code", f"the uri in the termination message: {error.errors()[0]['msg']}")
    return Accepted(report, str(artifact.uri), artifact.digest)


def _parsed(message: str) -> TrainingReport | Broke:
    if len(message.encode()) > MESSAGE_LIMIT_BYTES:
        return Broke("code", f"the termination message is longer than {MESSAGE_LIMIT_BYTES} bytes")
    if not message.strip():
        return Broke("code", "the training left no termination message")
    try:
        return TrainingReport.model_validate(json.loads(message, parse_constant=_refuse_constant))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Broke("code", f"the termination message is malformed at {where!r}: {first['msg']}")
    except (ValueError, RecursionError) as error:
        return Broke("code", f"the termination message is not JSON: {error}"[:500])


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
