"""The Secrets with the keys that pods sign and seal tokens with: made, and never looked at.

Nobody of ours may read Secrets, so that one that is missing shows in pods alone, which wait for
what they mount. To make one that is there changes nothing.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from trimtab.api.deployment import Deployment
from trimtab.build.service import build_seal_secret, build_token_secret
from trimtab.cluster.port import PODS, Key
from trimtab.reconcile.kinds.pods import waiting_since
from trimtab.reconcile.machine.world import World

PATIENCE = timedelta(seconds=10)
"""So long the container of a pod takes to begin, without anything being missing."""
KEYS_AGAIN = timedelta(minutes=1)
"""Pods may also wait for an image, for long: the keys are made again this often at most."""


async def make_keys(world: World, deployment: Deployment) -> str | None:
    """Make the Secrets that are missing; return what to tell if there had been one for tokens."""
    await world.create(build_seal_secret(deployment, secrets.token_bytes(32)))
    token = build_token_secret(deployment, secrets.token_bytes(32))
    is_new = await world.create(token) is not None
    if not is_new or deployment.status.stable is None:
        return None
    return (
        f"Secret {token['metadata']['name']} was deleted; it is made again with a new key: labels "
        "of answers that were signed by the old one are refused"
    )


def keys_due(world: World, key: Key, made_at: datetime | None) -> datetime | None:
    """Return when pods of a Deployment have waited so long that keys may be missing.

    made_at: when they were made last. None: no pod waits.
    """
    waits = (waiting_since(pod) for pod in world.cache.children(key, PODS))
    return min((_due(since, made_at) for since in waits if since is not None), default=None)


def _due(since: datetime, made_at: datetime | None) -> datetime:
    first = since + PATIENCE
    return first if made_at is None or made_at < first else made_at + KEYS_AGAIN
