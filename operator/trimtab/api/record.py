"""The numbered decisions that every kind keeps in status until they have been told everywhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trimtab.api.conditions import Conditions
from trimtab.api.fields import AnyObject, Model, ShortText, Text, Time, map_list


class Decision(Model):
    """One decision, with what it rests on. `seq` ascends by one per object and is never reused."""

    seq: Annotated[int, Field(ge=1)] = Field(description="Number of the decision.")
    at: Time = Field(description="When it was made.")
    led: float | None = Field(
        default=None, ge=0, description="Seconds on the clock of the Lease then."
    )
    reason: ShortText = Field(description="What was decided, in one word.")
    message: Text = Field(default="", description="What was decided, with the figures.")
    warning: bool = Field(default=False, description="Whether a person should look.")
    inputs: AnyObject = Field(
        default_factory=dict,
        description="What it rests on: counts, times of samples, digests; at most 2 KiB.",
    )


class Record(Model):
    """The last decisions about an object, and which of them have been told."""

    seq: Annotated[int, Field(ge=0)] = Field(default=0, description="Number of the last decision.")
    told: dict[str, int] = Field(
        default_factory=dict,
        max_length=16,
        description="By sink: the number up to which all decisions were told.",
    )
    decisions: Annotated[
        list[Decision], Field(max_length=100, json_schema_extra=map_list("seq"))
    ] = Field(default_factory=list, description="The last decisions, oldest first.")


class Status(Model):
    """What the status of every kind has."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status speaks of."
    )
    conditions: Conditions = Field(default_factory=list, description="What holds, and why.")
    record: Record = Field(
        default_factory=Record, description="The last decisions, with what they rest on."
    )
