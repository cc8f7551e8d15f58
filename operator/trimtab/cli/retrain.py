"""`trimtab retrain`: a RetrainJob from the policy's template, with a person as its cause."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.meta import API_VERSION
from trimtab.api.retrain_job import Cause, Data, RetrainJobSpec
from trimtab.cli.command import read_deployment
from trimtab.cli.session import Session
from trimtab.cluster.port import DRIFT_POLICIES, Json, Key
from trimtab.errors import SpecError
from trimtab.reconcile.kinds.drift_policy import selects
from trimtab.reconcile.kinds.typed import all_typed


async def retrain(session: Session, key: Key, since: timedelta | None) -> int:
    """Create one RetrainJob; refuses where no policy says how."""
    deployment = await read_deployment(session, key)
    policies = all_typed(DriftPolicy, await session.api.list(DRIFT_POLICIES, key.namespace))
    policy = policy_for(deployment, policies)
    start = session.now() - since if since is not None else window_start(policy, key.name)
    who = await session.api.whoami()
    manifest = retrain_manifest(deployment, policy, who, start, secrets.token_hex(4))
    created = await session.api.create(manifest)
    name = created["metadata"]["name"]
    rows = f"rows since {start:%Y-%m-%d %H:%M:%S}Z" if start is not None else "all rows"
    session.say(f"RetrainJob {name} is created: {rows} of {manifest['spec']['data']['uri']}")
    session.say(f"follow it: trimtab why rj/{name} -n {key.namespace}")
    return 0


def policy_for(deployment: Deployment, policies: Sequence[DriftPolicy]) -> DriftPolicy:
    """Return the oldest policy that watches the Deployment; SpecError if none says how."""
    name = deployment.metadata.name
    watching = [policy for policy in policies if selects(policy, deployment)]
    if not watching:
        raise SpecError(
            f"no DriftPolicy selects {name}, so nothing says how to retrain it; write one with "
            "spec.retrain"
        )
    able = [policy for policy in watching if policy.spec.retrain is not None]
    if not able:
        raise SpecError(
            f"DriftPolicy {watching[0].metadata.name} has no spec.retrain, which says how {name} "
            "is retrained"
        )
    return min(
        able, key=lambda policy: (str(policy.metadata.creation_timestamp), policy.metadata.name)
    )


def window_start(policy: DriftPolicy, deployment: str) -> datetime | None:
    """Return the start of the window that fired, where the policy learns from that; else None."""
    if policy.spec.retrain is None or policy.spec.retrain.job.data.since == "all":
        return None
    starts = [
        signal.window_start
        for signal in policy.status.signals
        if signal.deployment == deployment
        and signal.verdict == "Drifting"
        and signal.window_start is not None
    ]
    return min(starts, default=None)


def retrain_manifest(
    deployment: Deployment, policy: DriftPolicy, who: str, since: datetime | None, suffix: str
) -> Json:
    """Return the RetrainJob of a person."""
    assert policy.spec.retrain is not None
    template = policy.spec.retrain.job
    name = f"{deployment.metadata.name}-{suffix}"
    spec = RetrainJobSpec(
        model=deployment.spec.model,
        cause=Cause(deployment=deployment.metadata.name, manual=who[:256]),
        engine=template.engine,
        data=Data(uri=template.data.uri, since=since, secret_name=template.data.secret_name),
        gate=template.gate,
        active_deadline=template.active_deadline,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {"name": name, "namespace": deployment.metadata.namespace},
        "spec": spec.to_json(),
    }
