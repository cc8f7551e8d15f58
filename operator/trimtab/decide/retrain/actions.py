"""What a decision about an attempt may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trimtab.api.retrain_job import Champion, RetrainJobStatus
from trimtab.decide.outcome import Outcome


@dataclass(frozen=True)
class StartRun:
    """Make what runs the training; its name is that of the RetrainJob."""

    champion: Champion
    new_version: str
    output_uri: str


@dataclass(frozen=True)
class CreateVersion:
    """Make the ModelVersion; exists already is success if it is the same."""

    manifest: dict[str, Any]


RetrainAction = StartRun | CreateVersion

RetrainOutcome = Outcome[RetrainJobStatus, RetrainAction]
