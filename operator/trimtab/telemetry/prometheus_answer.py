"""What an answer of the Prometheus query API says of pods: readings in time order.

Raw samples only: the counter store subtracts them, as it does with scrapes. Labels that a scrape
configuration adds are left out, `exported_x` is the pod's own `x`, and empty labels, which
Prometheus drops, are put back. What a series does not say of its digest and baseline,
`trimtab_model_info` of the same scrape says: both have the same time.

Source: Prometheus HTTP API, instant queries with a range selector (`resultType: matrix`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AllowInfNan, BaseModel, BeforeValidator, FailFast, Field, ValidationError

from trimtab.contract import metrics
from trimtab.contract.identity import ContradictoryIdentity, Identifier, UnknownIdentity
from trimtab.contract.json_bounds import JsonBounds, TooMuchJson
from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.exposition import LATEST, Exposition, is_countable
from trimtab.telemetry.port import NoData, NoDataReason

_BY_FAMILY = {
    metrics.REQUESTS_STARTED: (),
    metrics.REQUESTS: ("code",),
    metrics.FEATURE_BIN: ("feature", "bin"),
    metrics.FEATURE_MISSING: ("feature",),
    metrics.FEATURE_UNSEEN: ("feature",),
    metrics.FEATURE_OUT_OF_RANGE: ("feature",),
    metrics.SCORE_BIN: ("bin",),
    metrics.SCORE_BIN_SUM: ("bin",),
    metrics.PREDICTED: ("class",),
    metrics.PROBABILITY_SUM: ("predicted", "class"),
    metrics.PREDICTED_BY_HOUR: ("hour",),
    metrics.OUTCOMES: ("predicted", "actual"),
    metrics.OUTCOMES_BY_HOUR: ("hour", "correct", "predicted", "actual"),
    metrics.OUTCOME_ERRORS_COUNT: (),
    metrics.OUTCOME_ERRORS_SUM: (),
    metrics.OUTCOME_ERRORS_SQUARES: (),
    metrics.OUTCOME_ERRORS_ABSOLUTE: (),
    metrics.OUTCOME_ERRORS_BY_HOUR_COUNT: ("hour",),
    metrics.OUTCOME_ERRORS_BY_HOUR_SUM: ("hour",),
    metrics.OUTCOME_ERRORS_BY_HOUR_SQUARES: ("hour",),
    metrics.OUTCOME_ERRORS_BY_HOUR_ABSOLUTE: ("hour",),
    metrics.TOKENS_REFUSED: ("reason",),
    metrics.PAIRED_PREDICTED: ("against", "served", "other"),
    metrics.PAIRED_OUTCOMES: ("against", "served", "other", "difference"),
    metrics.PAIRED_REQUESTS: ("against", "difference"),
    metrics.MODEL_INFO: ("deployment", "revision", "task", "tokens"),
    metrics.QUEUE_DEPTH: (),
}
OWN_LABELS: dict[str, tuple[str, ...]] = {
    **_BY_FAMILY,
    **{f"{name}_bucket": ("le",) for name in metrics.HISTOGRAMS},
    **{f"{name}_{end}": () for name in metrics.HISTOGRAMS for end in ("count", "sum")},
}
"""Labels beside the identity of every series that is asked for."""

_OPTIONAL = {
    (metrics.OUTCOMES_BY_HOUR, "predicted"),
    (metrics.OUTCOMES_BY_HOUR, "actual"),
    *((metrics.MODEL_INFO, label) for label in ("deployment", "revision", "task", "tokens")),
}
"""Labels that not every pod, or not every series, has: where they are missing, they are not empty.
"""

_DIGESTS = ("digest", "baseline")
_KEPT = {*metrics.IDENTITY_LABELS, *(label for own in OWN_LABELS.values() for label in own)}

BOUNDS = JsonBounds(containers=400_000, values=2_500_000, texts=1_200_000)
"""Of one answer: a list for each sample, two texts for each label. Worth 300 MiB at most."""

Number: TypeAlias = Annotated[float, AllowInfNan(True)]
Moment: TypeAlias = Annotated[float, AllowInfNan(False), Field(ge=0, le=LATEST)]
"""Unix seconds that can be a time."""


def _texts_only(labels: Any) -> Any:
    """One error for all labels that are no texts: pydantic keeps one for each."""
    if isinstance(labels, dict) and not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("a label that is no text")
    return labels


@dataclass(frozen=True, slots=True)
class Sampled:
    """All series of one pod. at: Unix seconds at which they were read, by the reader's clock."""

    at: float
    sample: Exposition


Readings: TypeAlias = Mapping[str, tuple[Sampled, ...] | NoData]


class RawSeries(BaseModel):
    """One series as Prometheus has it. values: (Unix seconds, value) in order of time."""

    metric: Annotated[dict[str, str], BeforeValidator(_texts_only)]
    values: Annotated[list[tuple[Moment, Number]], FailFast()] = Field(default_factory=list)


class _Matrix(BaseModel):
    type: Literal["matrix"] = Field(alias="resultType")
    result: Annotated[list[RawSeries], FailFast()]


class _Answer(BaseModel):
    status: Literal["success"]
    data: _Matrix
    warnings: Annotated[list[str], FailFast()] = Field(default_factory=list)


def readings_of(
    body: bytes, pods: Iterable[str], last: Mapping[str, Sampled] | None = None
) -> Readings | NoData:
    """Readings of each of `pods` that are newer than its `last`, in time order; maybe none.

    A scrape that lacks a series which its process had shown, the start time that others of it show,
    or what says the digest of a series, has not wholly arrived and is left out; where that is so of
    all scrapes, it is no data. A partial answer is no data, never a value.
    """
    series = series_of(body)
    if isinstance(series, NoData):
        return series
    by_pod: dict[str, list[RawSeries]] = {pod: [] for pod in pods}
    for one in series:
        by_pod.get(one.metric.get("pod", ""), []).append(one)
    known = last or {}
    return {pod: readings_of_process(found, known.get(pod)) for pod, found in by_pod.items()}


def series_of(body: bytes) -> list[RawSeries] | NoData:
    """All series of an answer; a partial answer is no data, never a value."""
    try:
        BOUNDS.check(body)
        answer = _Answer.model_validate_json(body)
    except TooMuchJson as error:
        return NoData(NoDataReason.BACKEND_DOWN, str(error))
    except ValidationError as error:
        detail = f"not an answer of Prometheus: {error.errors()[0]['msg']}"
        return NoData(NoDataReason.BACKEND_DOWN, detail[:200])
    if answer.warnings:
        return NoData(NoDataReason.BACKEND_DOWN, f"partial answer: {answer.warnings[0]}"[:200])
    return answer.data.result


def readings_of_process(
    found: Sequence[RawSeries], last: Sampled | None = None
) -> tuple[Sampled, ...] | NoData:
    """Readings of the one process that these series are of, newer than `last`, in time order."""
    ours = [series for series in found if series.metric.get("__name__") in OWN_LABELS]
    sources = {source_of(series) for series in ours}
    if not sources:
        return NoData(NoDataReason.NO_SERIES, "Prometheus has no series of this pod")
    added = {name for series in ours for name in _DIGESTS if f"exported_{name}" in series.metric}
    keys = [_key(series, added) for series in ours]
    if len(sources) > 1 or len(set(keys)) < len(keys):
        return NoData(
            NoDataReason.NOT_A_NUMBER,
            "the pod is scraped more than once: narrow it by metrics.prometheus.labels",
        )
    points: dict[float, dict[SeriesKey, float]] = {}
    for key, series in zip(keys, ours, strict=True):
        for at, value in series.values:
            if not is_countable(key[0], value):
                return NoData(NoDataReason.NOT_A_NUMBER, f"{key[0]} is {value}")
            points.setdefault(at, {})[key] = value
    starts = {
        at: value
        for series in found
        if series.metric.get("__name__") == metrics.PROCESS_START and source_of(series) in sources
        for at, value in series.values
    }
    no_time = next((value for value in starts.values() if not 0 <= value <= LATEST), None)
    if no_time is not None:
        return NoData(NoDataReason.NOT_A_NUMBER, f"{metrics.PROCESS_START} is {no_time}")
    try:
        return _in_order(points, starts, last)
    except UnknownIdentity as error:
        return NoData(NoDataReason.NO_SERIES, str(error))
    except ContradictoryIdentity as error:
        return NoData(NoDataReason.BACKEND_DOWN, str(error))


def _in_order(
    points: Mapping[float, dict[SeriesKey, float]],
    starts: Mapping[float, float],
    last: Sampled | None,
) -> tuple[Sampled, ...]:
    """Raises UnknownIdentity where that is why there is nothing; one scrape may still arrive."""
    taken: list[Sampled] = []
    before = last
    unknown: list[UnknownIdentity] = []
    identifier = Identifier()
    for at in sorted(points):
        if before is not None and at <= before.at:
            continue
        if starts and at not in starts:
            continue
        try:
            values = identifier.of(points[at])
        except UnknownIdentity as error:
            unknown.append(error)
            continue
        new = Sampled(at, Exposition(values, starts.get(at)))
        if before is not None and _lacks_some(before.sample, new.sample):
            continue
        taken.append(new)
        before = new
    if not taken and unknown and (last is None or len(unknown) > 1):
        raise unknown[-1]
    return tuple(taken)


def _lacks_some(old: Exposition, new: Exposition) -> bool:
    """Whether a series of the same process is missing; hours too old for labels go for good."""
    if old.process_start != new.process_start:
        return False
    gone = old.values.keys() - new.values.keys()
    return any("hour" not in OWN_LABELS[name] for name, _ in gone)


def source_of(series: RawSeries) -> frozenset[tuple[str, str]]:
    """What the scrape configuration said of the target: one process at a time."""
    return frozenset(
        (name, value)
        for name, value in series.metric.items()
        if name != "__name__" and name.removeprefix("exported_") not in _KEPT
    )


def _key(series: RawSeries, added: Collection[str]) -> SeriesKey:
    """The series as the pod tells it. added: digests that a scrape configuration adds to all."""
    of = series.metric
    name = of["__name__"]
    told = {
        label: of.get(f"exported_{label}", "" if label in added else of.get(label, ""))
        for label in (*metrics.IDENTITY_LABELS, *OWN_LABELS[name])
        if label in of or (name, label) not in _OPTIONAL
    }
    if not told["digest"] and not told["baseline"]:
        del told["digest"], told["baseline"]
    return name, frozenset(told.items())
