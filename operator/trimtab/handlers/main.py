"""`python -m trimtab.handlers.main`: the operator."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping

from prometheus_client import disable_created_metrics

from trimtab.api.resource import Resource
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    RETRAIN_JOBS,
)
from trimtab.errors import TrimtabError
from trimtab.handlers.environment import read_environment
from trimtab.handlers.logs import log_to_stderr
from trimtab.handlers.operator import run_operator
from trimtab.reconcile.kinds.deployment import reconcile_deployment
from trimtab.reconcile.kinds.drift_policy import reconcile_drift_policy
from trimtab.reconcile.kinds.model_version import reconcile_model_version
from trimtab.reconcile.kinds.retrain_job import reconcile_retrain_job
from trimtab.reconcile.machine.engine import Reconciler

logger = logging.getLogger(__name__)

RECONCILERS: Mapping[Resource, Reconciler] = {
    MODEL_VERSIONS: reconcile_model_version,
    DEPLOYMENTS: reconcile_deployment,
    DRIFT_POLICIES: reconcile_drift_policy,
    RETRAIN_JOBS: reconcile_retrain_job,
}


def main() -> int:
    """Run until asked to end; return the exit code."""
    try:
        environment = read_environment()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    log_to_stderr(environment.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        asyncio.run(run_operator(environment, RECONCILERS))
    except TrimtabError as error:
        logger.warning("ending: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
