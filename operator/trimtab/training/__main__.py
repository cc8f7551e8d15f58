"""`python -m trimtab.training`: one run, one termination message, one exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence

from trimtab.contract.location import LocationError, open_location
from trimtab.training.errors import CodeBroken
from trimtab.training.report import Report, write_report, write_termination_message
from trimtab.training.run import fail, run
from trimtab.training.settings import Settings, read_settings, termination_log_of

log = logging.getLogger("trimtab.training")


def main(environment: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Return one of the exit codes of `contract.training`."""
    report = Report()
    try:
        settings = read_settings(environment, arguments)
    except CodeBroken as error:
        exit_code = fail(report, error.exit_code, error)
        termination_log = termination_log_of(environment)
    else:
        exit_code = run(settings, report)
        termination_log = settings.termination_log
        _keep(settings, report)
    log.info("100 %% done: %s, %s: %s", report.verdict, report.reason, report.message)
    write_termination_message(report, termination_log)
    return exit_code


def _keep(settings: Settings, report: Report) -> None:
    """Keep the whole report in the store; a verdict does not depend on it."""
    try:
        write_report(report, open_location(settings.output_uri, settings.credentials))
    except LocationError as error:
        log.warning("the report could not be kept: %s", error)


if __name__ == "__main__":
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    sys.exit(main(os.environ, sys.argv[1:]))
