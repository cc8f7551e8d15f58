"""Names that follow from a cause, so that answering a cause twice ends in `AlreadyExists`."""

import hashlib
import json

from trimtab.api.retrain_job import Cause, RetrainJob

_HASH_CHARACTERS = 8


def canonical_cause(cause: Cause) -> str:
    """Return the cause as JSON with sorted keys and no spaces: one spelling per cause."""
    return json.dumps(cause.to_json(), sort_keys=True, separators=(",", ":"))


def retrain_job_name(cause: Cause) -> str:
    """Return the name of the RetrainJob that answers a cause: `<deployment>-<8 hex>`."""
    return f"{cause.deployment}-{_hash_of(canonical_cause(cause))}"


def new_version_name(job: RetrainJob) -> str:
    """Return the version that a RetrainJob makes: `r` and 8 hex.

    The namespace and the job's name take part, for namespaces that share a bucket, and for a
    person who asks twice.
    """
    parts = (job.metadata.namespace, job.metadata.name, canonical_cause(job.spec.cause))
    return f"r{_hash_of('/'.join(parts))}"


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]
