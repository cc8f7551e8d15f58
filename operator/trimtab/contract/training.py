"""What the operator and a training program tell each other: environment, exit code, report.

The operator sets the variables. The program ends with one of the exit codes and leaves a report as
its termination message (`/dev/termination-log`). Any image that keeps to this can train.
"""

from __future__ import annotations

import json
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trimtab.contract.artifact import Digest

TERMINATION_LOG: Final = "/dev/termination-log"
MESSAGE_LIMIT_BYTES: Final = 4096
"""What the kubelet keeps of a termination message."""


class Variable(StrEnum):
    """Environment variables that the operator sets, all of them in every run."""

    MODEL = "TRIMTAB_MODEL"
    VERSION = "TRIMTAB_VERSION"
    """Name of the version to make."""
    DATA_URI = "TRIMTAB_DATA_URI"
    DATA_SINCE = "TRIMTAB_DATA_SINCE"
    """RFC 3339: only rows from then on; empty: all."""
    OUTPUT_URI = "TRIMTAB_OUTPUT_URI"
    """Folder to write below."""
    CHAMPION_URI = "TRIMTAB_CHAMPION_URI"
    CHAMPION_DIGEST = "TRIMTAB_CHAMPION_DIGEST"
    GATE = "TRIMTAB_GATE"
    """JSON of `Gate`."""
    CAUSE = "TRIMTAB_CAUSE"
    """JSON of the RetrainJob's `spec.cause`."""
    CREDENTIALS = "TRIMTAB_ARTIFACT_CREDENTIALS"
    """Folder with the store's credentials, a file a key."""


class OptionalVariable(StrEnum):
    """Environment variables that an image or a person sets, or nobody."""

    TERMINATION_LOG = "TRIMTAB_TERMINATION_LOG"
    """Where the report goes, for a run outside of a pod."""
    CODE_REPOSITORY = "TRIMTAB_CODE_REPOSITORY"
    """Which code trains."""
    CODE_REVISION = "TRIMTAB_CODE_REVISION"
    CODE_IMAGE = "TRIMTAB_CODE_IMAGE"


class ExitCode(IntEnum):
    """How a training program ends. Every other code is a fault of the infrastructure."""

    ACCEPTED = 0
    """A new version lies in the store."""
    UNAVAILABLE = 1
    """A store did not answer: worth another try."""
    DATA_BROKEN = 10
    """The rows break the contract of the serving version."""
    REJECTED = 11
    """The challenger is worse than allowed, or no better where it had to be."""
    CODE_BROKEN = 12
    """Estimator, parameters or arguments are wrong."""
    TOO_FEW_ROWS = 13
    """Nothing is wrong but the number of rows."""


DECISIVE_EXIT_CODES: Final = (
    ExitCode.DATA_BROKEN,
    ExitCode.REJECTED,
    ExitCode.CODE_BROKEN,
    ExitCode.TOO_FEW_ROWS,
)
"""Ends that another try would not change."""

Verdict = Literal["accepted", "rejected", "insufficientData", "failed"]
FailureClass = Literal["data", "code", "infrastructure"]

EXIT_CODE_OF_VERDICT: Final[dict[Verdict, ExitCode]] = {
    "accepted": ExitCode.ACCEPTED,
    "rejected": ExitCode.REJECTED,
    "insufficientData": ExitCode.TOO_FEW_ROWS,
}
"""Ends with a judgement; exit code and report say the same."""

FAILURE_OF_EXIT_CODE: Final[dict[ExitCode, FailureClass]] = {
    ExitCode.DATA_BROKEN: "data",
    ExitCode.CODE_BROKEN: "code",
    ExitCode.UNAVAILABLE: "infrastructure",
}
"""Ends without a judgement; the verdict in the report is `failed`."""


class _Part(BaseModel):
    """Frozen, camelCase in JSON; unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class Gate(_Part):
    """When the new version is good enough: the RetrainJob's `gate`, with the floor filled in."""

    metric: str = Field(default="accuracy", pattern="^(accuracy|auc|f1|rmse)$")
    against: str = "serving"
    not_worse_by: float = Field(default=0.02, gt=0, le=1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    must_beat: float | None = None
    slices: list[str] = Field(default_factory=list, max_length=10)


# --- the report ---------------------------------------------------------------------------------

LONGEST_TEXT: Final = 1024
LONGEST_SHORT_TEXT: Final = 256
MOST_ROWS: Final = 10**15


def _cut(value: object) -> object:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _as_short_text(value: object) -> object:
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST_SHORT_TEXT]


def _computed_only(value: object) -> object:
    """Leave out metrics that are null: they could not be computed."""
    if not isinstance(value, list):
        return value
    return [one for one in value if not (isinstance(one, dict) and one.get("value") is None)]


Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
ShortText = Annotated[str, Field(max_length=LONGEST_SHORT_TEXT)]
AnyShortText = Annotated[ShortText, BeforeValidator(_as_short_text)]
"""What is no string is taken as its JSON; what is too long is cut."""
CutText = Annotated[Text, BeforeValidator(_cut)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Rows = Annotated[int, Field(ge=0, le=MOST_ROWS)]
MetricName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z][a-zA-Z0-9_]*$")]


class ReportedMetric(_Part):
    """One metric with its interval, on one slice of one dataset."""

    metric: MetricName
    value: Number
    interval: tuple[Number, Number] | None = None
    n: Rows | None = None
    dataset: ShortText | None = None
    slice: ShortText = "all"


Metrics = Annotated[list[ReportedMetric], BeforeValidator(_computed_only), Field(max_length=64)]


class ReportedChampion(_Part):
    """The version that served, on the same rows; `version` and `digest` are for people."""

    version: AnyShortText = ""
    digest: AnyShortText = ""
    metrics: Metrics = Field(default_factory=list)


class ReportedComparison(_Part):
    """Challenger minus champion on the same rows, in units of the metric."""

    metric: MetricName
    difference: Number | None = None
    interval: tuple[Number, Number] | None = None
    not_worse_by: Number | None = None
    n: Rows | None = None
    needed: Rows | None = None


class ReportedDataset(_Part):
    """Rows that the version was made from or measured on."""

    name: ShortText = Field(min_length=1)
    uri: Text | None = None
    digest: Digest | None = None
    role: Literal["train", "calibrate", "evaluate"]
    rows: Rows | None = None
    transformations: list[ShortText] = Field(default_factory=list, max_length=50)


class ReportedCode(_Part):
    """Which code trained."""

    repository: Text | None = None
    revision: ShortText | None = None
    image: Text | None = None


class TrainingReport(_Part):
    """The termination message: what came out of a run. Only `verdict` must be there."""

    verdict: Verdict
    reason: CutText = ""
    message: CutText = ""
    failure: FailureClass | None = Field(default=None, alias="class")
    needed: Rows | None = None
    """Rows that would have been enough."""
    uri: Text | None = None
    digest: Digest | None = None
    baseline: Digest | None = None
    comparison: ReportedComparison | None = None
    metrics: Metrics = Field(default_factory=list)
    """The metric of the gate first."""
    champion: ReportedChampion | None = None
    datasets: list[ReportedDataset] = Field(default_factory=list, max_length=20)
    parameters: dict[str, AnyShortText] = Field(default_factory=dict, max_length=64)
    code: ReportedCode | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON; what is not known is left out."""
        whole = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {name: value for name, value in whole.items() if value not in ({}, [])}
