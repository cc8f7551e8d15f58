"""The scenario of a simulation: who asks how much, how each version answers, what happens when.

A file `simulation.yaml` beside the manifests. Shares have a percent sign, durations are Go style.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from trimtab.api.conditions import EventReason
from trimtab.api.fields import Duration, Model, Share
from trimtab.simulation.traffic import Behaviour

RETRAINED = "retrained"
"""Stands for the version that a RetrainJob made, whose name follows from the cause."""
USUAL_ACCURACY = 0.97

Text = Annotated[str, Field(max_length=200)]


class Part(Model):
    """Frozen and camelCase as the kinds are; a field that nobody knows is a mistake."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid"
    )


class Answers(Part):
    """How a version answers; shares of the requests."""

    accuracy: Share = Field(default=USUAL_ACCURACY, description="Right answers, by their labels.")
    estimated: Share | None = Field(
        default=None, description="Mean calibrated confidence; default: as the accuracy."
    )
    errors: Share = Field(default=0.001, description="Answered with a server error.")
    rejected: Share = Field(default=0.0, description="Refused as malformed.")
    slow: Share = Field(default=0.0, description="Answered after a second in place of 10 ms.")
    missing: Share = Field(default=0.0, description="Rows with a missing input.")
    low: Share = Field(
        default=0.5, description="Rows whose input lies in the lower of two bins; 50% in training."
    )

    def behaviour(self, *, labels: bool) -> Behaviour:
        """Return it as the simulated users meet it."""
        return Behaviour(
            errors=self.errors,
            rejected=self.rejected,
            slow=self.slow,
            accuracy=self.accuracy if labels else None,
            estimated=self.accuracy if self.estimated is None else self.estimated,
            missing=self.missing,
            low=self.low,
        )


class Users(Part):
    """The requests."""

    rate: float = Field(default=50.0, gt=0, le=10_000, description="Requests a second.")
    labels: bool = Field(default=True, description="Whether the truth comes back.")
    seed: int = Field(default=1, ge=0, description="Another seed is another day.")


class Training(Part):
    """How every training run ends."""

    takes: Duration = Field(default=timedelta(seconds=30), description="From start to end.")
    result: Literal["accepted", "rejected", "insufficientData", "failed"] = Field(
        default="accepted", description="What the training run reports."
    )
    answers: Answers = Field(default_factory=Answers, description="How the new version answers.")


class Act(Part):
    """One part of the play."""

    title: Text = Field(description="What happens.")
    apply: list[Text] = Field(default_factory=list, description="Files that a person applies.")
    change: dict[str, Answers] = Field(
        default_factory=dict, description="How versions answer from now on."
    )
    until: EventReason | None = Field(default=None, description="It ends with this event.")
    within: Duration = Field(default=timedelta(minutes=5), description="The longest wait for it.")
    after: Duration | None = Field(default=None, alias="for", description="And so long after it.")


class Expected(Part):
    """The state at the end that makes the play a success."""

    serving: dict[str, Text] = Field(
        default_factory=dict, description="Version by Deployment; `retrained` for a new one."
    )
    quarantined: list[Text] = Field(default_factory=list, description="Versions sent back.")
    retrainings: int | None = Field(default=None, description="How many RetrainJobs there are.")


class Scenario(Part):
    """The whole play."""

    users: Users = Field(default_factory=Users, description="The requests.")
    versions: dict[str, Answers] = Field(
        default_factory=dict, description="Versions that are published at the start, in order."
    )
    training: Training = Field(default_factory=Training, description="Training runs.")
    acts: list[Act] = Field(min_length=1, max_length=100, description="The play.")
    expect: Expected = Field(default_factory=Expected, description="How it ends.")
