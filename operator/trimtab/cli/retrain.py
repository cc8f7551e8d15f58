"""`trimtab retrain`: a RetrainJob from the policy's template, with a person as its cause."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from trimtab.api.group import API_VERSION
from trimtab.api.resource import DRIFT_POLICIES, RETRAIN_JOBS, Json, Key
from trimtab.cli.api import Scope
from trimtab.cli.command import read_deployment
from trimtab.cli.seen import Seen, at
from trimtab.cli.session import Session
from trimtab.errors import SpecError

LONGEST_NAME_OF_PERSON = 256


async def retrain(session: Session, key: Key, since: timedelta | None) -> int:
    """Create one RetrainJob; refuses where no policy says how."""
    deployment = await read_deployment(session, key)
    listing = await session.api.list(DRIFT_POLICIES, Scope(key.namespace))
    policy = policy_for(deployment, [Seen(item) for item in listing.items])
    start = session.now() - since if since is not None else window_start(policy, key.name)
    who = await session.api.whoami()
    manifest = retrain_manifest(deployment, policy, who, start, secrets.token_hex(4))
    new = Key(RETRAIN_JOBS, key.namespace, str(manifest["metadata"]["name"]))
    await session.api.create(new, manifest)
    rows = f"rows since {at(start)}" if start is not None else "all rows"
    uri = Seen(manifest).text("spec", "data", "uri")
    session.say(f"RetrainJob {new.name} is created: {rows} of {uri}")
    session.say(f"follow it: trimtab why rj/{new.name} -n {key.namespace}")
    return 0


def selects(policy: Seen, deployment: Seen) -> bool:
    """Whether a policy's selector names a Deployment, as the operator decides it."""
    selector = policy.at("spec", "selector")
    names = selector.texts("deployments")
    if names:
        return deployment.name in names
    labels = dict(deployment.items("metadata", "labels"))
    wanted = dict(selector.items("matchLabels"))
    return bool(wanted) and wanted.items() <= labels.items()


def policy_for(deployment: Seen, policies: Sequence[Seen]) -> Seen:
    """Return the oldest policy that watches the Deployment; SpecError if none says how."""
    name = deployment.name
    watching = [policy for policy in policies if selects(policy, deployment)]
    if not watching:
        raise SpecError(
            f"no DriftPolicy selects {name}, so nothing says how to retrain it; write one with "
            "spec.retrain"
        )
    able = [policy for policy in watching if policy.at("spec", "retrain", "job")]
    if not able:
        raise SpecError(
            f"DriftPolicy {watching[0].name} has no spec.retrain, which says how {name} is "
            "retrained"
        )
    return min(able, key=lambda one: (one.text("metadata", "creationTimestamp"), one.name))


def window_start(policy: Seen, deployment: str) -> datetime | None:
    """Return the start of the window that fired, where the policy learns from that; else None."""
    if policy.text("spec", "retrain", "job", "data", "since") == "all":
        return None
    starts = [
        signal.time("windowStart")
        for signal in policy.all("status", "signals")
        if signal.text("deployment") == deployment and signal.text("verdict") == "Drifting"
    ]
    return min((start for start in starts if start is not None), default=None)


def retrain_manifest(
    deployment: Seen, policy: Seen, who: str, since: datetime | None, suffix: str
) -> Json:
    """Return the RetrainJob of a person.

    What the policy leaves out the API server fills in, as it does for the operator's own.
    """
    template = policy.at("spec", "retrain", "job")
    data = {
        field: value
        for field, value in template.items("data")
        if field in ("uri", "secretName") and value is not None
    }
    if since is not None:
        data["since"] = since.astimezone(UTC).isoformat().replace("+00:00", "Z")
    spec = {
        "model": deployment.at("spec", "model").value,
        "cause": {"deployment": deployment.name, "manual": who[:LONGEST_NAME_OF_PERSON]},
        "data": data,
    }
    for field in ("engine", "gate", "activeDeadline"):
        if template.at(field).value is not None:
            spec[field] = template.at(field).value
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {
            "name": f"{deployment.name}-{suffix}",
            "namespace": deployment.namespace,
        },
        "spec": spec,
    }
