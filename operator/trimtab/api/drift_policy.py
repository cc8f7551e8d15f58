"""DriftPolicy: what counts as degradation, and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.conditions import Condition
from trimtab.api.fields import (
    Digest,
    Duration,
    Model,
    Name,
    ObjectName,
    Share,
    ShortText,
    Text,
    Time,
    rule,
    with_rules,
)
from trimtab.api.meta import Metadata
from trimtab.api.model_version import DataUri
from trimtab.api.retrain_job import ChallengerGate, Engine

SignalKind = Literal["inputs", "predictions", "quality", "outcomes", "data"]
LabelValue = Annotated[str, Field(max_length=63)]


class Selector(Model):
    """Which Deployments of the namespace are watched."""

    model_config = with_rules(
        rule(
            "(has(self.deployments) && size(self.deployments) > 0) != "
            "(has(self.matchLabels) && size(self.matchLabels) > 0)",
            "a selector needs either deployments or matchLabels, and not an empty one",
        ),
    )

    deployments: list[Name] = Field(default_factory=list, max_length=100)
    match_labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=16)

    @model_validator(mode="after")
    def _not_empty(self) -> Selector:
        if bool(self.deployments) == bool(self.match_labels):
            raise ValueError("a selector needs either deployments or matchLabels")
        return self


class FalseAlarms(Model):
    """The budget of false alarms, over all features and looks of one Deployment."""

    per_quarter: float = Field(default=1, gt=0, le=1000)


class Floor(Model):
    """The quality below which harm is done: a drop from a reference, or a number."""

    model_config = with_rules(
        rule("has(self.dropBy) != has(self.limit)", "a floor has either dropBy or limit"),
        rule("!has(self.from) || has(self.dropBy)", "from needs dropBy", ".from"),
    )

    drop_by: Share | None = None
    from_: Literal["best", "stable"] = Field(
        default="best",
        alias="from",
        description="best: the best promoted version of the line. stable: the one serving.",
    )
    limit: Share | None = None

    @model_validator(mode="after")
    def _drop_or_limit(self) -> Floor:
        if (self.drop_by is None) == (self.limit is None):
            raise ValueError("a floor has either dropBy or limit")
        return self


class Signal(Model):
    """One thing that is watched."""

    model_config = with_rules(
        rule(
            "!(self.kind in ['quality', 'outcomes']) || has(self.floor)",
            "quality and outcomes need a floor",
            ".floor",
        ),
        rule(
            "self.kind in ['quality', 'outcomes'] || (!has(self.floor) && !has(self.metric))",
            "floor and metric are for quality and outcomes",
            ".floor",
        ),
        rule(
            "self.kind in ['inputs', 'predictions'] || !has(self.tolerance)",
            "tolerance is for inputs and predictions",
            ".tolerance",
        ),
        rule(
            "self.kind == 'outcomes' || !has(self.labelDelay)",
            "labelDelay is for outcomes",
            ".labelDelay",
        ),
        rule(
            "self.kind == 'data' || (!has(self.missing) && !has(self.unseen)"
            " && !has(self.outOfRange))",
            "missing, unseen and outOfRange are for data",
        ),
        rule(
            "self.kind != 'data' || has(self.missing) || has(self.unseen) || has(self.outOfRange)",
            "data needs missing, unseen or outOfRange",
        ),
    )

    kind: SignalKind
    tolerance: float | None = Field(
        default=None, ge=0, le=10, description="PSI below this is nobody's business; default 0.02."
    )
    metric: Literal["accuracy"] | None = Field(default=None, description="Default accuracy.")
    floor: Floor | None = None
    label_delay: Duration | None = Field(
        default=None, description="A window of outcomes is judged after it; default 0."
    )
    missing: Share | None = None
    unseen: Share | None = None
    out_of_range: Share | None = None

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> Signal:
        judged = self.kind in ("quality", "outcomes")
        if judged != (self.floor is not None) or (self.metric is not None and not judged):
            raise ValueError("floor and metric go with quality and outcomes, which need a floor")
        if self.tolerance is not None and self.kind not in ("inputs", "predictions"):
            raise ValueError("tolerance is for inputs and predictions")
        if self.label_delay is not None and self.kind != "outcomes":
            raise ValueError("labelDelay is for outcomes")
        limits = (self.missing, self.unseen, self.out_of_range)
        if any(limit is not None for limit in limits) != (self.kind == "data"):
            raise ValueError("data needs missing, unseen or outOfRange, which are for data")
        return self


class Action(Model):
    """What follows when a signal fires."""

    model_config = with_rules(
        rule(
            "self.on != 'data' || !self.do.exists(d, d == 'retrain')",
            "never retrain on broken data",
            ".do",
        ),
    )

    on: SignalKind
    do: list[Literal["notify", "retrain", "rollback", "pause"]] = Field(min_length=1, max_length=4)

    @model_validator(mode="after")
    def _never_retrain_on_broken_data(self) -> Action:
        if self.on == "data" and "retrain" in self.do:
            raise ValueError("never retrain on broken data")
        return self


def default_actions() -> list[Action]:
    """Return the actions of a policy that names none: act on harm, not on change."""
    return [
        Action(on="data", do=["notify"]),
        Action(on="outcomes", do=["retrain"]),
        Action(on="quality", do=["retrain"]),
        Action(on="inputs", do=["notify"]),
        Action(on="predictions", do=["notify"]),
    ]


class RetrainData(Model):
    """Where the rows for retraining lie."""

    uri: DataUri  # type: ignore[valid-type]
    since: Literal["window", "all"] = Field(
        default="window", description="window: rows from the start of the window that fired."
    )
    secret_name: ObjectName = "trimtab-artifacts"


class RetrainTemplate(Model):
    """The RetrainJob that is made for a cause."""

    engine: Engine
    data: RetrainData
    gate: ChallengerGate = Field(default_factory=ChallengerGate)
    active_deadline: Duration = timedelta(hours=2)


class Retrain(Model):
    """How often, and how."""

    cooldown: Duration = timedelta(hours=24)
    max_per_week: int = Field(default=2, ge=1, le=1000)
    give_up_after: int = Field(
        default=2, ge=1, le=100, description="Rejected attempts for one baseline and signal."
    )
    job: RetrainTemplate


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

    selector: Selector
    window: Duration = Field(default=timedelta(hours=24), description="Of whole seasons.")
    reference: Literal["training"] = "training"
    false_alarms: FalseAlarms = Field(default_factory=FalseAlarms)
    signals: Annotated[
        list[Signal],
        Field(
            min_length=1,
            max_length=5,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["kind"],
            },
        ),
    ]
    actions: list[Action] = Field(default_factory=default_actions, max_length=10)
    retrain: Retrain | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DriftPolicySpec:
        kinds = [signal.kind for signal in self.signals]
        if len(kinds) != len(set(kinds)):
            raise ValueError("signals: two signals of one kind")
        explicit = "actions" in self.model_fields_set
        if explicit and self.retrain is None and any("retrain" in a.do for a in self.actions):
            raise ValueError("an action retrains, so retrain is needed")
        return self


class FeatureFinding(Model):
    """One feature of a signal."""

    name: ShortText
    value: float


class SignalStatus(Model):
    """The last judgement of one signal on one Deployment."""

    kind: SignalKind
    deployment: Name
    verdict: Literal["Stable", "Drifting", "InsufficientData", "NoData"]
    value: float | None = None
    threshold: float | None = None
    n: int = 0
    needed: int | None = None
    window_start: Time | None = None
    window_end: Time | None = None
    top: list[FeatureFinding] = Field(default_factory=list, max_length=5)
    message: Text = ""


class LastAction(Model):
    """The last thing that was done, and why."""

    do: ShortText
    signal: SignalKind
    deployment: Name
    cause: Text = ""
    at: Time


class Skipped(Model):
    """A retraining that was not started; each reason is said once per cause."""

    key: ShortText
    reason: ShortText


class DriftPolicySummary(Model):
    """Strings for the columns."""

    target: ShortText = ""
    verdict: ShortText = ""
    signal: ShortText = ""
    value: ShortText = ""
    n: ShortText = ""
    action: ShortText = ""


class DriftPolicyStatus(Model):
    """What was found and done."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    summary: DriftPolicySummary = Field(default_factory=DriftPolicySummary)
    signals: list[SignalStatus] = Field(default_factory=list, max_length=500)
    baselines: dict[str, Digest] = Field(
        default_factory=dict, max_length=100, description="Baseline judged against, by Deployment."
    )
    last_action: LastAction | None = None
    skipped: list[Skipped] = Field(default_factory=list, max_length=100)


class DriftPolicy(Model):
    """What counts as degradation, and what follows."""

    metadata: Metadata
    spec: DriftPolicySpec
    status: DriftPolicyStatus = Field(default_factory=DriftPolicyStatus)
