"""Runs the serving program many times: imports once, then a fork for each start.

Reads one JSON object of environment variables a line; answers each with `{code, log}`. A program
that is ready, or has not ended in time, is killed; its code is null then.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Final

LIMIT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.01
_WARM: Final = (
    "uvloop",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "obstore.store",
    "trimtab.serving.lifecycle",
    "trimtab.serving.__main__",
)


def run(environment: dict[str, str]) -> dict[str, object]:
    """Start the program once; return its exit code and what it logged."""
    with tempfile.NamedTemporaryFile() as file:
        child = os.fork()
        if not child:
            os.dup2(file.fileno(), 2)
            os.environ.update(environment)
            program = importlib.import_module("trimtab.serving.__main__")
            failed = 1
            try:
                failed = program.main()
            finally:
                os._exit(failed)
        return {
            "code": _ended(child, Path(file.name)),
            "log": Path(file.name).read_text(errors="replace"),
        }


def _ended(child: int, log: Path) -> int | None:
    until = monotonic() + LIMIT_SECONDS
    while monotonic() < until and '"message":"ready' not in log.read_text(errors="replace"):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        sleep(POLL_SECONDS)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    for module in _WARM:
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
