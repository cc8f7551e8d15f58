"""Engines: the ways to run a training. One file and one entry here, one field in `spec.engine`."""

from trimtab.api.retrain_job import RetrainJob
from trimtab.build.engines.job import JOB
from trimtab.build.training_engine import TrainingEngine

ENGINES: dict[str, TrainingEngine] = {
    "job": JOB,
}
"""By the name of the field in `spec.engine` that chooses it."""


def engine_of(job: RetrainJob) -> TrainingEngine:
    """Return the engine that a RetrainJob asks for."""
    return ENGINES[job.spec.engine.name]
