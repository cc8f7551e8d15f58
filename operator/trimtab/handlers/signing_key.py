"""`python -m trimtab.handlers.signing_key`: makes the release's key, once.

Run before the operator by a Job of the chart. The Secret that exists already is neither read nor
changed, whatever it holds: a render can be repeated, and an upgrade keeps the key. All that the Job
may do is to create Secrets in the operator's namespace.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import sys
from collections.abc import Mapping

from trimtab.cluster.kubernetes_api import KubernetesCluster
from trimtab.cluster.port import SECRETS, Cluster, Json
from trimtab.errors import TrimtabError
from trimtab.handlers.logs import log_to_stderr
from trimtab.store.sealed import SEED_BYTES

logger = logging.getLogger(__name__)

KEY_OF_SEED = "seed"


def build_secret(namespace: str, name: str, seed: bytes) -> Json:
    """Return the Secret with a seed. It is never changed: a new key is a new Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "trimtab"},
        },
        "type": "Opaque",
        "immutable": True,
        "data": {KEY_OF_SEED: base64.b64encode(seed).decode()},
    }


async def make_key(cluster: Cluster, namespace: str, name: str) -> bool:
    """Create the Secret with a seed of this moment; False if one of that name exists."""
    seed = secrets.token_bytes(SEED_BYTES)
    return await cluster.create(build_secret(namespace, name, seed)) is not None


async def _run(namespace: str, name: str) -> None:
    cluster = await KubernetesCluster.connect(
        written=(SECRETS,),
        namespaces=(namespace,),
        lease_namespace=namespace,
        instance="signing-key",
    )
    try:
        made = await make_key(cluster, namespace, name)
    finally:
        await cluster.close()
    logger.info("Secret %s/%s %s", namespace, name, "is made" if made else "exists, and stays")


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Return the exit code; the Job tries again after a failure."""
    log_to_stderr("INFO")
    namespace = environ.get("TRIMTAB_NAMESPACE", "")
    name = environ.get("TRIMTAB_SIGNING_KEY_SECRET", "")
    if not namespace or not name:
        print("TRIMTAB_NAMESPACE and TRIMTAB_SIGNING_KEY_SECRET must be set", file=sys.stderr)
        return 2
    try:
        asyncio.run(_run(namespace, name))
    except TrimtabError as error:
        logger.error("%s", error)  # noqa: TRY400 - says what failed; a trace would say no more
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
