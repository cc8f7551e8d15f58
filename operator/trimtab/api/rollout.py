"""How a new revision is tried: strategy, steps, gates, and the guard after promotion."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.fields import (
    Confidence,
    Duration,
    Model,
    Name,
    Share,
    Weight,
    map_list,
    rule,
    unique,
    with_rules,
)


class Pause(Model):
    """Wait for a person."""


class Step(Model):
    """One step of a canary: a weight held for a time, or a pause."""

    model_config = with_rules(
        rule("has(self.weight) != has(self.pause)", "a step has either weight or pause", ".weight"),
        rule("!has(self.__for__) || has(self.weight)", "for needs weight", ".for"),
    )

    weight: Weight | None = Field(default=None, description="Share of the requests, 1% to 100%.")
    for_: Duration | None = Field(
        default=None,
        alias="for",
        description="How long the weight is held, from the first request.",
    )
    pause: Pause | None = Field(
        default=None, description="Wait until a person says: kubectl trimtab resume."
    )

    @model_validator(mode="after")
    def _weight_or_pause(self) -> Step:
        if (self.weight is None) == (self.pause is None):
            raise ValueError("a step has either weight or pause")
        if self.for_ is not None and self.weight is None:
            raise ValueError("for needs weight")
        return self


class Gate(Model):
    """A pair of counters, bad among total, and what they are compared with."""

    model_config = with_rules(
        rule("has(self.against) || has(self.limit)", "a gate needs against or limit", ".against"),
        rule(
            "self.bad != 'slow' || has(self.slowerThan)",
            "bad: slow needs slowerThan",
            ".slowerThan",
        ),
        rule(
            "self.bad == 'slow' || !has(self.slowerThan)",
            "slowerThan is for bad: slow only",
            ".slowerThan",
        ),
        rule("!has(self.margin) || has(self.against)", "margin needs against", ".margin"),
        rule(
            "!has(self.failAfter) || self.onNoData == 'fail'",
            "failAfter needs onNoData: fail",
            ".failAfter",
        ),
    )

    name: Name = Field(description="Name of the gate in status, events and messages.")
    bad: Literal["errors", "rejected", "slow", "outcomes"] = Field(
        description="errors: 5xx or unfinished after 30 s. rejected: 400, 413, 415, 422. "
        "slow: slower than slowerThan. outcomes: wrong among labelled."
    )
    against: Literal["stable"] | None = Field(
        default=None,
        description="stable: compared with what the stable version shows at the same time.",
    )
    margin: Share = Field(
        default=0.0,
        description="How far the candidate's share may lie above that of stable; default 0%.",
    )
    limit: Share | None = Field(
        default=None, description="Share that is allowed, whatever stable shows."
    )
    slower_than: Duration | None = Field(
        default=None, description="For bad: slow. Rounded up to a bucket of the histogram."
    )
    on_no_data: Literal["hold", "ignore", "fail"] = Field(
        default="hold",
        description="When the figures are missing. hold: nothing advances or is undone. "
        "ignore: the other gates decide. fail: roll back after failAfter.",
    )
    fail_after: Duration = Field(
        default=timedelta(minutes=2),
        description="With onNoData: fail, how long to wait for figures; default 2m.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Gate:
        if self.against is None and self.limit is None:
            raise ValueError("a gate needs against or limit")
        if self.bad == "slow" and self.slower_than is None:
            raise ValueError("bad: slow needs slowerThan")
        if self.bad != "slow" and self.slower_than is not None:
            raise ValueError("slowerThan is for bad: slow only")
        if self.against is None and "margin" in self.model_fields_set:
            raise ValueError("margin needs against")
        if "fail_after" in self.model_fields_set and self.on_no_data != "fail":
            raise ValueError("failAfter needs onNoData: fail")
        return self


def default_gates() -> list[Gate]:
    """Return the gates of a rollout that names none: errors, rejected, slow."""
    return [
        Gate(name="errors", bad="errors", against="stable", margin=0.005),
        Gate(name="rejected", bad="rejected", against="stable", margin=0.01),
        Gate(
            name="slow",
            bad="slow",
            slower_than=timedelta(milliseconds=250),
            against="stable",
            margin=0.02,
        ),
    ]


def default_steps() -> list[Step]:
    """Return the steps of a canary that names none."""
    return [
        Step.model_validate({"weight": "25%", "for": "1m"}),
        Step.model_validate({"weight": "50%", "for": "2m"}),
    ]


def _weight_of(step: str) -> str:
    """CEL: the weight of a step as a number."""
    return f"double({step}.weight.substring(0, size({step}.weight) - 1))"


# A list that CEL computes has no known size, and so too high an estimated cost for the API server:
# the steps are compared in place, each with each.
_IN_ORDER = (
    "self.steps.all(s, !has(s.weight) || self.steps.all(t, !has(t.weight)"
    " || self.steps.indexOf(t) <= self.steps.indexOf(s)"
    f" || {_weight_of('t')} > {_weight_of('s')}))"
)
_DISTINCT = (
    "self.steps.all(s, !has(s.weight) || self.steps.exists_one(t, has(t.weight)"
    f" && {_weight_of('t')} == {_weight_of('s')}))"
)


class WarmUp(Model):
    """The first requests of a pod, which are slow for reasons of their own."""

    requests: int = Field(
        default=20, ge=0, le=10**6, description="So many requests are no evidence for slow."
    )
    for_: Duration = Field(
        default=timedelta(seconds=10),
        alias="for",
        description="Nor are those of so long from the first one on, if that ends later.",
    )


class Compare(Model):
    """Pods of a new version predict rows with the version before as well, to compare the two."""

    budget: Share = Field(
        default=0.1,
        description="Share of its prediction time that a pod may spend on it; 0%: not at all.",
    )


class Outcomes(Model):
    """What is known of the labels."""

    depends_on_answer: bool = Field(
        default=False,
        description="Whether a row gets a label depends on what was answered, so that versions are "
        "compared on different rows, as the requests fell to them.",
    )


class Rollout(Model):
    """How a new revision is tried."""

    model_config = with_rules(
        rule(
            "!has(self.steps) || self.strategy == 'canary'",
            "steps are for strategy: canary only",
            ".steps",
        ),
        rule(
            "!has(self.gates) || self.strategy == 'canary'",
            "gates are for strategy: canary only",
            ".gates",
        ),
        rule(f"!has(self.steps) || {_IN_ORDER}", "steps: weights must ascend", ".steps"),
        rule(f"!has(self.steps) || {_DISTINCT}", "steps: weights must ascend", ".steps"),
    )

    strategy: Literal["canary", "rolling"] = Field(
        default="canary",
        description="canary: weights by steps under gates. rolling: one switch without gates.",
    )
    steps: list[Step] = Field(
        default_factory=default_steps,
        min_length=1,
        max_length=20,
        description="Steps of a canary, ascending; 100% follows. Default 25% for 1m, 50% for 2m.",
    )
    deadline: Duration = Field(
        default=timedelta(minutes=15),
        description="Time for the whole rollout; neither pauses count, nor time in which no "
        "operator could act.",
    )
    on_deadline: Literal["undecided", "promote", "rollback"] = Field(
        default="undecided",
        description="When nobody could judge by the deadline. undecided: back to stable, tried "
        "again later. promote and rollback do as they say.",
    )
    confidence: Confidence = Field(
        default=0.99,
        description="99% means that a candidate no worse than allowed is rolled back at most once "
        "in 100 rollouts. At least 50% and below 100%.",
    )
    min_samples: int = Field(
        default=50,
        ge=0,
        le=10**9,
        description="Requests that the candidate must have answered before it is promoted.",
    )
    gates: Annotated[
        list[Gate],
        Field(max_length=16, json_schema_extra=map_list("name")),
        unique(lambda gate: gate.name, "gates of one name"),
    ] = Field(
        default_factory=default_gates,
        description="What the candidate is judged by; default errors, rejected and slow.",
    )
    warm_up: WarmUp = Field(
        default_factory=WarmUp,
        description="Which requests of a new pod are no evidence for slow: the first 20, and those "
        "of the first 10s. To be shorter than the steps.",
    )
    allow_coarse: bool = Field(
        default=False,
        description="Accept a share far above the wanted one if there are too few pods.",
    )
    allow_incompatible: bool = Field(
        default=False, description="Roll out although an input was removed or retyped."
    )
    scale_down_delay: Duration = Field(
        default=timedelta(seconds=60),
        description="How long the old stable is kept ready after promotion.",
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> Rollout:
        weights = [step.weight for step in self.steps if step.weight is not None]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError("steps: weights must ascend")
        for field in ("steps", "gates"):
            if self.strategy != "canary" and field in self.model_fields_set:
                raise ValueError(f"{field} are for strategy: canary only")
        return self


class Guard(Model):
    """The watch that goes on after promotion."""

    for_: Duration = Field(
        default=timedelta(hours=24),
        alias="for",
        description="How long the watch lasts. Days are written 24h, a week 168h.",
    )
    rollback_within: Duration = Field(
        default=timedelta(hours=1),
        description="A breach in this time after promotion goes back to the last good version; "
        "later breaches of errors and slow only notify. Nothing is watched after guard.for.",
    )
    action: Literal["notify", "rollback"] = Field(
        default="notify", description="What a breach after rollbackWithin does."
    )
    control: int | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How many pods of the last good version stay beside the new one, with "
        "requests, until rollbackWithin has passed: what happens to both is not held against the "
        "new one. Default: 1 from four replicas on, else 0.",
    )
