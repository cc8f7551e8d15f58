"""The report of a training pod: its exit code and termination message, read strictly.

The message comes from code that the operator did not write. Whatever does not fit is a fault of
that code, said in words, and never a version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trimtab.api.model_version import Artifact, Lineage
from trimtab.contract.training import (
    DECISIVE_EXIT_CODES,
    EXIT_CODE_OF_VERDICT,
    FAILURE_OF_EXIT_CODE,
    MESSAGE_LIMIT_BYTES,
    ExitCode,
    FailureClass,
    TrainingReport,
    Verdict,
)

_VERDICT_OF_EXIT_CODE: dict[int, Verdict] = {
    code: verdict for verdict, code in EXIT_CODE_OF_VERDICT.items()
}


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
    if exit_code not in (ExitCode.ACCEPTED, *DECISIVE_EXIT_CODES):
        return None
    report = _parsed(message)
    if (failure := FAILURE_OF_EXIT_CODE.get(ExitCode(exit_code))) is not None:
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


def lineage_of(report: TrainingReport) -> Lineage:
    """Return where the version came from, as far as the report says; raise ValidationError."""
    told = report.model_dump(
        mode="json", by_alias=True, exclude_none=True, include={"code", "datasets", "parameters"}
    )
    return Lineage.model_validate(told)


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
        report = TrainingReport.model_validate(json.loads(message, parse_constant=_refuse_constant))
        lineage_of(report)  # What a ModelVersion could not hold is malformed too.
        return report
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Broke("code", f"the termination message is malformed at {where!r}: {first['msg']}")
    except (ValueError, RecursionError) as error:
        return Broke("code", f"the termination message is not JSON: {error}"[:500])


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
