"""DriftPolicy: what counts as degradation, and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.types import JsonValue

from trimtab.api.conditions import Conditions
from trimtab.api.fields import (
    SET_LIST,
    Digest,
    Duration,
    Kind,
    LabelValue,
    Model,
    Name,
    ObjectName,
    Share,
    ShortText,
    Text,
    Time,
    map_list,
    rule,
    unique,
    with_rules,
)
from trimtab.api.meta import Metadata
from trimtab.api.model_version import DataUri
from trimtab.api.record import Status
from trimtab.api.retrain_job import ChallengerGate, Engine

SignalKind = Literal["inputs", "predictions", "quality", "outcomes", "data"]
MetricName = Literal["accuracy", "precision", "recall", "f1", "auc", "mae", "rmse"]


MOST_WATCHED = 100
"""Deployments that one policy watches: its status has their verdicts, and a limit."""
REMEMBERED_ATTEMPTS = 2 * MOST_WATCHED
MOST_FEATURES = 20
"""Features that a signal names of one Deployment."""
AttemptPhase = Literal[
    "Started", "Succeeded", "Rejected", "InsufficientData", "Failed", "Cancelled"
]


class Selector(Model):
    """Which Deployments of the namespace are watched."""

    model_config = with_rules(
        rule(
            "(has(self.deployments) && size(self.deployments) > 0) != "
            "(has(self.matchLabels) && size(self.matchLabels) > 0)",
            "a selector needs either deployments or matchLabels, and not an empty one",
        ),
    )

    deployments: Annotated[
        list[Name],
        Field(max_length=MOST_WATCHED, json_schema_extra=SET_LIST),
        unique(lambda name: name, "deployments of one name"),
    ] = Field(default_factory=list, description="Names of Deployments.")
    match_labels: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a Deployment must have."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Selector:
        if bool(self.deployments) == bool(self.match_labels):
            raise ValueError(
                "a selector needs either deployments or matchLabels, and not an empty one"
            )
        return self


class FalseAlarms(Model):
    """The budget of false alarms, over all features and looks of one Deployment."""

    per_quarter: float = Field(
        default=1, gt=0, le=1000, description="False alarms that are accepted in three months."
    )


class Floor(Model):
    """The quality below which a model does harm: a drop from a reference, or a number."""

    model_config = with_rules(
        rule(
            "has(self.dropBy) != has(self.limit)", "a floor has either dropBy or limit", ".dropBy"
        ),
        rule("!has(self.from) || has(self.dropBy)", "from needs dropBy", ".from"),
    )

    drop_by: Share | None = Field(
        default=None, description="How far the metric may fall below the reference, such as 3%."
    )
    from_: Literal["best", "stable"] = Field(
        default="best",
        alias="from",
        description="best: the best promoted version of the line. stable: the version that serves.",
    )
    limit: Share | None = Field(
        default=None, description="Value below which the metric must not fall, such as 90%."
    )

    @model_validator(mode="after")
    def _drop_or_limit(self) -> Floor:
        if (self.drop_by is None) == (self.limit is None):
            raise ValueError("a floor has either dropBy or limit")
        if "from_" in self.model_fields_set and self.drop_by is None:
            raise ValueError("from needs dropBy")
        return self


class Ceiling(Model):
    """The error of a regression above which it does harm: a rise over a reference, or a number."""

    model_config = with_rules(
        rule(
            "has(self.riseBy) != has(self.limit)",
            "a ceiling has either riseBy or limit",
            ".riseBy",
        ),
        rule("!has(self.from) || has(self.riseBy)", "from needs riseBy", ".from"),
    )

    rise_by: Share | None = Field(
        default=None,
        description="How far the error may rise, as a share of the reference, such as 10%.",
    )
    from_: Literal["best", "stable"] = Field(
        default="best",
        alias="from",
        description="best: the best promoted version of the line. stable: the version that serves.",
    )
    limit: float | None = Field(
        default=None,
        gt=0,
        le=1e300,
        description="Largest error allowed, in units of the target.",
    )

    @model_validator(mode="after")
    def _rise_or_limit(self) -> Ceiling:
        if (self.rise_by is None) == (self.limit is None):
            raise ValueError("a ceiling has either riseBy or limit")
        if "from_" in self.model_fields_set and self.rise_by is None:
            raise ValueError("from needs riseBy")
        return self


ERROR_METRICS = ("mae", "rmse")
"""Of these less is better: they are held to a ceiling, the others to a floor."""
CLASS_METRICS = ("precision", "recall", "f1")
"""Of one class, or the mean over classes."""

_NEEDS_BOUND = "kind quality and outcomes need a floor, or a ceiling for mae and rmse"
_WRONG_BOUND = "the metric mae or rmse has a ceiling, any other metric a floor"
_CLASS_METRICS_ONLY = "class is for metric precision, recall and f1 only"
_NO_AUC = "metric auc is for kind quality only: scores of labelled rows are not kept"

_KINDS_OF: dict[str, tuple[str, ...]] = {
    "floor": ("quality", "outcomes"),
    "ceiling": ("quality", "outcomes"),
    "metric": ("quality", "outcomes"),
    "class_": ("quality", "outcomes"),
    "tolerance": ("inputs", "predictions"),
    "label_delay": ("outcomes",),
    "missing": ("data",),
    "unseen": ("data",),
    "out_of_range": ("data",),
}
"""Fields of a signal, and the kinds of signal that have them."""


def _name(field: str) -> str:
    return to_camel(field.rstrip("_"))


def _only_for(field: str) -> str:
    return f"{_name(field)} is for kind {' and '.join(_KINDS_OF[field])} only"


def _kind_rule(field: str) -> dict[str, JsonValue]:
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS_OF[field])
    name = _name(field)
    return rule(f"!has(self.{name}) || self.kind in [{kinds}]", _only_for(field), f".{name}")


class Signal(Model):
    """One thing that is watched."""

    model_config = with_rules(
        rule(
            "!(self.kind in ['quality', 'outcomes']) || has(self.floor) || has(self.ceiling)",
            _NEEDS_BOUND,
            ".floor",
        ),
        rule(
            "has(self.metric) && self.metric in ['mae', 'rmse'] "
            "? !has(self.floor) : !has(self.ceiling)",
            _WRONG_BOUND,
            ".metric",
        ),
        rule(
            "!has(self.class) || (has(self.metric) "
            "&& self.metric in ['precision', 'recall', 'f1'])",
            _CLASS_METRICS_ONLY,
            ".class",
        ),
        rule(
            "self.kind != 'outcomes' || !has(self.metric) || self.metric != 'auc'",
            _NO_AUC,
            ".metric",
        ),
        rule(
            "self.kind != 'data' || has(self.missing) || has(self.unseen) || has(self.outOfRange)",
            "kind data needs missing, unseen or outOfRange",
            ".missing",
        ),
        *(_kind_rule(field) for field in _KINDS_OF),
    )

    kind: SignalKind = Field(
        description="inputs, predictions: their distribution moved. quality: estimated, without "
        "labels. outcomes: measured on labels. data: broken values."
    )
    tolerance: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="For inputs and predictions: a shift of at most this PSI is ignored; "
        "default 0.02.",
    )
    metric: MetricName | None = Field(
        default=None,
        description="Metric of quality and outcomes; default accuracy. mae and rmse are for "
        "regressions, auc for two classes and kind quality.",
    )
    class_: ShortText | None = Field(
        default=None,
        alias="class",
        min_length=1,
        description="Class for precision, recall or f1; default: the mean over classes.",
    )
    floor: Floor | None = Field(
        default=None,
        description="For quality and outcomes: the metric must not fall below it.",
    )
    ceiling: Ceiling | None = Field(
        default=None,
        description="For quality and outcomes with mae or rmse: the error must not rise above it.",
    )
    label_delay: Duration | None = Field(
        default=None,
        description="For outcomes: how long labels take; a window is judged that much later. "
        "Default 0.",
    )
    missing: Share | None = Field(
        default=None, description="For data: accepted share of missing values."
    )
    unseen: Share | None = Field(
        default=None,
        description="For data: accepted share of categories that the training never saw.",
    )
    out_of_range: Share | None = Field(
        default=None,
        description="For data: accepted share of values outside the range of the signature.",
    )

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> Signal:
        given = [field for field in _KINDS_OF if getattr(self, field) is not None]
        for field in given:
            if self.kind not in _KINDS_OF[field]:
                raise ValueError(_only_for(field))
        if self.kind in ("quality", "outcomes"):
            self._bound_fits_the_metric()
        if self.kind == "data" and not given:
            raise ValueError("kind data needs missing, unseen or outOfRange")
        return self

    def _bound_fits_the_metric(self) -> None:
        if self.floor is None and self.ceiling is None:
            raise ValueError(_NEEDS_BOUND)
        if (self.floor if self.metric in ERROR_METRICS else self.ceiling) is not None:
            raise ValueError(_WRONG_BOUND)
        if self.class_ is not None and self.metric not in CLASS_METRICS:
            raise ValueError(_CLASS_METRICS_ONLY)
        if self.kind == "outcomes" and self.metric == "auc":
            raise ValueError(_NO_AUC)


class Action(Model):
    """What follows when a signal fires."""

    model_config = with_rules(
        rule(
            "self.signal != 'data' || !self.do.exists(d, d == 'retrain')",
            "never retrain on broken data",
            ".do",
        ),
    )

    signal: SignalKind = Field(
        description="Kind of signal that it answers. Of several, the first match wins."
    )
    do: Annotated[
        list[Literal["notify", "retrain", "rollback", "pause"]],
        Field(min_length=1, max_length=4, json_schema_extra=SET_LIST),
        unique(lambda word: word, "actions of one name"),
    ] = Field(description="What is done: notify, retrain, rollback, pause.")

    @model_validator(mode="after")
    def _never_retrain_on_broken_data(self) -> Action:
        if self.signal == "data" and "retrain" in self.do:
            raise ValueError("do: never retrain on broken data")
        return self


def default_actions() -> list[Action]:
    """Return the actions of a policy that names none: act on harm, not on change."""
    return [
        Action(signal="data", do=["notify"]),
        Action(signal="outcomes", do=["retrain"]),
        Action(signal="quality", do=["retrain"]),
        Action(signal="inputs", do=["notify"]),
        Action(signal="predictions", do=["notify"]),
    ]


class RetrainData(Model):
    """Where the rows for retraining lie."""

    uri: DataUri = Field(description="Folder or file of the rows: s3, gs, az, https or pvc.")
    since: Literal["window", "all"] = Field(
        default="window",
        description="window: rows from the start of the window that fired. all: every row.",
    )
    secret_name: ObjectName = Field(
        default="trimtab-artifacts",
        description="Secret with the store's credentials, in this namespace.",
    )


class RetrainTemplate(Model):
    """The RetrainJob that is made for a cause."""

    engine: Engine = Field(description="What runs the training.")
    data: RetrainData = Field(description="The rows for retraining.")
    gate: ChallengerGate = Field(
        default_factory=ChallengerGate,
        description="When the new version is good enough to be tried.",
    )
    active_deadline: Duration = Field(
        default=timedelta(hours=2), description="The training is stopped after it, such as 2h."
    )


class Retrain(Model):
    """How often, and how."""

    cooldown: Duration = Field(
        default=timedelta(hours=24), description="Time between two retrainings of a Deployment."
    )
    max_per_week: int = Field(
        default=2, ge=1, le=1000, description="Retrainings of a Deployment in seven days, at most."
    )
    give_up_after: int = Field(
        default=2,
        ge=1,
        le=100,
        description="After so many rejected or cancelled attempts for one baseline and signal no "
        "more are made.",
    )
    job: RetrainTemplate = Field(description="The RetrainJob that is made for a cause.")


class DriftPolicySpec(Model):
    """What is watched and what follows."""

    model_config = with_rules(
        rule(
            "!has(self.actions) || has(self.retrain) || "
            "!self.actions.exists(a, a.do.exists(d, d == 'retrain'))",
            "an action retrains, so retrain is needed",
            ".retrain",
        ),
    )

    selector: Selector = Field(description="Which Deployments of the namespace are watched.")
    window: Duration = Field(
        default=timedelta(hours=24),
        description="Time that is judged at once: one season or several. Days are written 24h.",
    )
    season: Duration = Field(
        default=timedelta(hours=24),
        description="Period after which traffic repeats itself. The condition Watching warns about "
        "a window that is not a whole multiple of it.",
    )
    reference: Literal["training"] = Field(
        default="training", description="What is compared with. training: the rows of the training."
    )
    false_alarms: FalseAlarms = Field(
        default_factory=FalseAlarms, description="How many false alarms are accepted."
    )
    signals: Annotated[
        list[Signal],
        Field(min_length=1, max_length=5, json_schema_extra=map_list("kind")),
        unique(lambda signal: signal.kind, "signals of one kind"),
    ] = Field(description="What is watched; each kind at most once.")
    actions: list[Action] = Field(
        default_factory=default_actions,
        max_length=10,
        description="What to do when a signal fires; the first match wins. Default: quality and "
        "outcomes retrain, the others notify.",
    )
    retrain: Retrain | None = Field(
        default=None, description="How retraining is done; without it nothing is retrained."
    )

    @model_validator(mode="after")
    def _can_retrain(self) -> DriftPolicySpec:
        explicit = "actions" in self.model_fields_set
        if explicit and self.retrain is None and any("retrain" in a.do for a in self.actions):
            raise ValueError("an action retrains, so retrain is needed")
        return self


class FeatureFinding(Model):
    """One feature of a signal."""

    name: ShortText = Field(description="Name of the feature.")
    value: float = Field(description="How far it moved.")


class SignalStatus(Model):
    """The last judgement of one signal on one Deployment."""

    kind: SignalKind = Field(description="Kind of the signal.")
    deployment: Name = Field(description="Deployment that was judged.")
    verdict: Literal["Stable", "Drifting", "InsufficientData", "NoData"] = Field(
        description="What the signal says."
    )
    value: float | None = Field(default=None, description="What was measured or estimated.")
    threshold: float | None = Field(default=None, description="Where it would have fired.")
    n: int = Field(default=0, description="Requests that it rests on.")
    needed: int | None = Field(default=None, description="Requests that would have been enough.")
    window_start: Time | None = Field(default=None, description="Start of the window.")
    window_end: Time | None = Field(default=None, description="End of the window.")
    lower: float | None = Field(
        default=None,
        description="Lower bound of the value, of quality and outcomes: one-sided, at the level of "
        "one look.",
    )
    upper: float | None = Field(default=None, description="Upper bound of the value, likewise.")
    labelled: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the window's rows whose truth has come in, of outcomes.",
    )
    top: list[FeatureFinding] = Field(
        default_factory=list,
        max_length=MOST_FEATURES,
        description="Features that moved most: of signal inputs 20, or fewer where many "
        "Deployments are watched.",
    )
    message: Text = Field(default="", description="What was found, with the figures.")


class BudgetStatus(Model):
    """What the budget of false alarms allows a look, and what was used of it in 90 days."""

    per_quarter: float = Field(description="False alarms that are accepted in three months.")
    level_per_look: float = Field(
        description="Chance of a false alarm that one signal has in one window, over its features."
    )
    looks: int = Field(default=0, description="Windows that were judged, each signal by itself.")
    alarms: list[Time] = Field(
        default_factory=list,
        max_length=50,
        description="When a signal fired, true or false, in the last 90 days.",
    )


class LastAction(Model):
    """The last thing that was done, and why."""

    do: ShortText = Field(description="What was done.")
    signal: SignalKind = Field(description="Signal that fired.")
    deployment: Name = Field(description="Deployment that it was about.")
    cause: Text = Field(default="", description="Why, with the figures.")
    at: Time = Field(description="When it was done.")


class Skipped(Model):
    """A retraining that was not started; each reason is said once per cause."""

    key: ShortText = Field(description="Cause of the retraining.")
    reason: ShortText = Field(description="Why it was not started.")


class Attempt(Model):
    """A RetrainJob that a policy made, and how it ended; it counts also when it is deleted."""

    name: ObjectName = Field(description="RetrainJob; its name is that of its cause.")
    deployment: Name = Field(description="Deployment whose model is retrained.")
    attempt: int = Field(default=1, ge=1, le=1000, description="Which attempt for its cause.")
    phase: AttemptPhase = Field(
        default="Started",
        description="Started, or how it ended. Cancelled: somebody deleted it before its end.",
    )
    created: Time | None = Field(default=None, description="When it was made.")
    finished: Time | None = Field(default=None, description="When it ended.")


class DriftPolicySummary(Model):
    """Strings for the columns."""

    target: ShortText = Field(default="", description="Deployments that are watched.")
    verdict: ShortText = Field(default="", description="Worst verdict.")
    signal: ShortText = Field(default="", description="Signal with the worst verdict.")
    value: ShortText = Field(default="", description="Its value and threshold.")
    n: ShortText = Field(default="", description="Requests that it rests on.")
    action: ShortText = Field(default="", description="What was done last.")


class DriftPolicyStatus(Status):
    """What was found and done."""

    conditions: Conditions = Field(
        default_factory=list, description="Watching, DriftDetected, Harm and DataBroken."
    )
    summary: DriftPolicySummary = Field(
        default_factory=DriftPolicySummary, description="Strings for the columns."
    )
    signals: Annotated[
        list[SignalStatus],
        Field(max_length=5 * MOST_WATCHED, json_schema_extra=map_list("deployment", "kind")),
    ] = Field(default_factory=list, description="Last judgement of each signal.")
    budget: BudgetStatus | None = Field(
        default=None, description="The budget of false alarms, and what was used of it."
    )
    baselines: dict[str, Digest] = Field(
        default_factory=dict,
        max_length=MOST_WATCHED,
        description="Baseline judged against, by Deployment.",
    )
    last_action: LastAction | None = Field(
        default=None, description="The last thing that was done, and why."
    )
    started: list[Annotated[str, Field(max_length=253)]] = Field(
        default_factory=list,
        max_length=2 * MOST_WATCHED,
        description="RetrainJobs whose start was told, newest last.",
    )
    ended: list[Annotated[str, Field(max_length=253)]] = Field(
        default_factory=list,
        max_length=2 * MOST_WATCHED,
        description="RetrainJobs that came to an end, newest last; no name is used again.",
    )
    attempts: Annotated[
        list[Attempt],
        Field(max_length=REMEMBERED_ATTEMPTS, json_schema_extra=map_list("name")),
    ] = Field(
        default_factory=list,
        description="RetrainJobs that were made, oldest first: what cooldown, maxPerWeek and "
        "giveUpAfter count, whether the objects are still there or not.",
    )
    skipped: list[Skipped] = Field(
        default_factory=list,
        max_length=100,
        description="Retrainings that were not started; each reason once per cause.",
    )


class DriftPolicy(Kind):
    """What counts as degradation of the watched Deployments, and what follows."""

    metadata: Metadata
    spec: DriftPolicySpec = Field(description="What is watched and what follows.")
    status: DriftPolicyStatus = Field(
        default_factory=DriftPolicyStatus, description="What was found and done."
    )
