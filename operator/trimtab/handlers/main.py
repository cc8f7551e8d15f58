"""`python -m trimtab.handlers.main`: the operator."""

from __future__ import annotations

import asyncio
import logging
import sys

from prometheus_client import disable_created_metrics

from trimtab.errors import TrimtabError
from trimtab.handlers.environment import read_environment
from trimtab.handlers.logs import log_to_stderr
from trimtab.handlers.operator import run_operator
from trimtab.reconcile.reconcilers import RECONCILERS

logger = logging.getLogger(__name__)


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
