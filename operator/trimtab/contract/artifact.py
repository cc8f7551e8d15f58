"""The artifact: a directory with a manifest, a model, a signature and a baseline.

`manifest.json` lists every other file with sha256 and size; the version's digest is the sha256 of
`manifest.json` as it lies in the store. Nothing is loaded before its hash matched.
"""

from __future__ import annotations

import hashlib
from math import prod
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError
from pydantic.alias_generators import to_camel

from trimtab.contract.json_bounds import JsonBounds

DOCUMENT_BOUNDS = JsonBounds(containers=50_000, values=1_000_000, texts=200_000)
"""Of a manifest, a signature or a baseline."""

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
BASELINE = "baseline.json"

TABLE_FRAMEWORKS = frozenset({"lightgbm", "pandas", "xgboost"})
"""Packages that the plain serving image does not have, and the one for tables and boosters has."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]

_Item = TypeVar("_Item")
MOST_NAMES = 20_000


def _few_names(named: Any) -> Any:
    if isinstance(named, dict) and len(named) > MOST_NAMES:
        raise ValueError(f"more than {MOST_NAMES} names")
    return named


class _OneError(FailFast):
    """A list of a million wrong items is one error, not a million of them."""

    __hash__ = object.__hash__  # `Many[str] | None` asks for it


Many = Annotated[list[_Item], _OneError()]
Named = Annotated[dict[str, _Item], BeforeValidator(_few_names)]


class Part(BaseModel):
    """Frozen, camelCase in JSON; unknown fields are ignored so that old readers read new files."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


def broken_field(error: ValidationError) -> str:
    """Return what is wrong first with a document that could not be read, and at which field."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


class File(Part):
    """One file of the artifact, by path relative to the manifest."""

    path: str = Field(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=200)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="Bytes.")


class Manifest(Part):
    """What the artifact consists of and what it was made with."""

    schema_version: Literal[1] = 1
    format: Literal["sklearn", "onnx", "custom"]
    model_file: str = Field(description="Path of the model among `files`.")
    model: str
    version: str
    created: str = Field(description="RFC 3339.")
    frameworks: Named[str] = Field(default_factory=dict, description="Package to version.")
    files: Many[File]


class Tensor(Part):
    """One named input or output.

    `shape` leaves out the leading batch dimension: `[]` is one value a row, `[64]` a vector.
    """

    name: str = Field(min_length=1, max_length=200)
    datatype: Literal["BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES"]
    shape: Many[int] = Field(default_factory=list)
    minimum: float | None = None
    maximum: float | None = None
    categories: Many[str] | None = None
    missing_allowed: bool = Field(default=False, description="NaN or null is a missing value.")
    missing_as: Literal["null", "nan"] | None = Field(
        default=None,
        description="What the model was fitted with for a missing value: None or NaN; by default "
        "None for text and NaN for numbers.",
    )
    unit: Literal["s", "ms", "us", "ns"] | None = Field(
        default=None,
        description="Of BYTES that are times (ISO 8601): the model takes their number of these "
        "units since 1970, UTC.",
    )
    watched: bool = Field(default=True, description="Counted in bins; at most 200 features are.")


def is_text(tensor: Tensor) -> bool:
    """Whether its values reach the model as text; times do as numbers."""
    return tensor.datatype == "BYTES" and tensor.unit is None


def feature_names(tensor: Tensor) -> list[str]:
    """Return `x` for a scalar input, `x[0]`, `x[1]`, ... for a longer one, row-major."""
    if not tensor.shape:
        return [tensor.name]
    return [f"{tensor.name}[{index}]" for index in range(prod(tensor.shape))]


class Calibration(Part):
    """Isotonic map from raw score to probability, one per class, piecewise linear.

    `x` and `y` ascend, `y` in 0..1, and `x` too unless the score is a decision value; a binary
    model has one map, for the second class. Of decision values of several classes the map of the
    predicted class is exact, and the others share what it leaves. Sources: Zadrozny and Elkan 2002;
    Gupta and Ramdas 2022 (top-label calibration).
    """

    x: Many[float]
    y: Many[float]


class Adjustment(Part):
    """What recalibration sets right behind a model's answers, whose file stays as it is.

    `calibration`: maps of the raw probabilities; the class is that of the largest mapped one, or of
    two classes the second from `threshold` on. `offsets`: added to the values of a regression, one
    for each target.
    """

    calibration: Many[Calibration] = Field(default_factory=list)
    threshold: float | None = None
    offsets: Many[float] = Field(default_factory=list)


class TableColumn(Part):
    """One column of the table that a model was fitted on, as pandas has it."""

    name: str | int
    dtype: str = Field(max_length=100)
    categories: Many[str | float | bool] | None = Field(
        default=None, description="All, in their order, where the dtype is `category`."
    )
    ordered: bool = False


class Target(Part):
    """One of several classifications of a row: which outputs are its class and its probabilities.

    `classes` are in the order of its probabilities.
    """

    output: str
    classes: Many[str]
    probabilities: str | None = None


class Signature(Part):
    """Inputs and outputs of a model.

    A model with one input of shape `[k]` takes a matrix; one with several inputs takes a table
    whose columns are the inputs in this order. Features are named `x` for a scalar input `x` and
    `x[3]` for the fourth element of a vector input.
    """

    task: Literal["classification", "regression"]
    inputs: Many[Tensor] = Field(min_length=1)
    outputs: Many[Tensor] = Field(min_length=1)
    classes: Many[str] = Field(default_factory=list, description="In the order of the scores.")
    takes: Literal["matrix", "texts", "table"] = Field(
        default="matrix",
        description="What the model is given: the matrix, its only column as a list of texts, or "
        "a table of pandas with `columns`.",
    )
    columns: Many[TableColumn] | None = Field(
        default=None, description="Of a model that takes a table: one an input, in their order."
    )
    targets: Many[Target] = Field(
        default_factory=list,
        description="Where a model classifies a row several times, in the order of its columns.",
    )
    counted: int = Field(
        default=0,
        ge=0,
        description="Of several targets the place of the one that is counted, compared and told by "
        "tokens; `classes` are its.",
    )
    adjustment: Adjustment | None = None


class NumericFeature(Part):
    """Bins of a number: `counts[i]` rows lie in (edges[i-1], edges[i]], open at both ends.

    `len(counts) == len(edges) + 1`. `minimum` and `maximum` bound what training has seen.
    """

    kind: Literal["numeric"] = "numeric"
    name: str
    edges: Many[float]
    counts: Many[int]
    minimum: float
    maximum: float
    missing: int = 0


class CategoricalFeature(Part):
    """Bins of a category: one a known category; others are `unseen` and never named."""

    kind: Literal["categorical"] = "categorical"
    name: str
    categories: Many[str]
    counts: Many[int]
    missing: int = 0


ScoreKind = Literal["probability", "decision", "none"]
"""What the score of a classifier is.

probability: as `predict_proba` gives it. decision: a value that only orders rows, of any size; of
two classes it is positive for the second, such as a distance from the boundary, of more it is how
far a class is ahead of the best other one. none: the model gives its class alone, and each row has
the score 1.
"""


class Interval(Part):
    """A metric with its confidence interval."""

    metric: str
    value: float
    interval: tuple[float, float]
    n: int
    slice: str = "all"


class Residuals(Part):
    """Errors of a regression on held-out rows, by bin of the score: count and sums of |error|,
    of its square and of its fourth power; each as long as `score_counts`.
    """

    rows: Many[int]
    absolute: Many[float]
    squares: Many[float]
    fourth: Many[float]


class Baseline(Part):
    """What the model saw and gave at training, as counts: the reference for every drift signal."""

    schema_version: Literal[1] = 1
    digest: str = Field(description="sha256:... over the canonical JSON of all other fields.")
    n: int = Field(ge=0, description="Rows that the counts rest on.")
    features: Many[Annotated[NumericFeature | CategoricalFeature, Field(discriminator="kind")]]
    score_kind: ScoreKind = Field(
        default="probability", description="Of a classifier; a regression's score is its value."
    )
    score_edges: Many[float] = Field(
        description="Bins of the score: probability or decision value of the second class if "
        "binary, the largest one if multi-class, the value if regression. None without scores."
    )
    score_counts: Many[int]
    predicted_counts: Named[int] = Field(default_factory=dict)
    calibration: Many[Calibration] = Field(default_factory=list)
    metrics: Many[Interval] = Field(default_factory=list)
    residuals: Residuals | None = Field(
        default=None, description="Of a regression: what its error is estimated from."
    )


def class_slice(name: str) -> str:
    """Return the slice that a metric of one class is stated under."""
    return f"class={name}"


def sha256_digest(data: bytes) -> str:
    """Return `sha256:` and the hexadecimal hash of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def baseline_digest(baseline: Baseline) -> str:
    """Return the digest over the canonical JSON of all fields but `digest` itself.

    Residuals that are not there, and a score that is a probability, are left out, as before the
    fields were known.
    """
    absent = {"residuals"} if baseline.residuals is None else set()
    if baseline.score_kind == "probability":
        absent.add("score_kind")
    canonical = baseline.model_copy(update={"digest": ""}).model_dump_json(
        by_alias=True, exclude=absent
    )
    return sha256_digest(canonical.encode())
