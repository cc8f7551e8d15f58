"""`python -m trimtab.serving`: serve the artifact that the environment names.

Exit codes: 0 stopped, 2 settings, 3 artifact refused, 4 artifact not to be had, 5 warm-up failed.
The reason is also the termination message, as JSON.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

STARTED: Final = time.time()
LONGEST_MESSAGE_BYTES: Final = 4096


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    # As the first process of a container, none of the defaults would end it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    _limit_threads()
    from trimtab.serving.errors import StartRefused
    from trimtab.serving.settings import read_settings

    _log_as_json()
    termination_log = Path(os.environ.get("TRIMTAB_TERMINATION_LOG", "/dev/termination-log"))
    try:
        settings = read_settings(os.environ)
        import uvloop

        from trimtab.serving.lifecycle import run

        async def serve() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            await run(settings, stop, started=STARTED, environment=os.environ)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    except StartRefused as refused:
        logging.getLogger(__name__).error("%s: %s", refused.reason, refused)  # noqa: TRY400 - said whole
        _tell(termination_log, refused.reason, str(refused))
        return refused.exit_code
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _limit_threads() -> None:
    """Let numeric libraries use as many threads as the container may use cores.

    They count the cores of the machine and would start that many in a container of one.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no limit is known
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(max(cores, 1)))


def _log_as_json() -> None:
    import orjson

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            line = {
                "time": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage(),
            }
            if record.exc_info and record.exc_info[0] is not None:
                line["error"] = self.formatException(record.exc_info)
            return orjson.dumps(line).decode()

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _tell(file: Path, reason: str, message: str) -> None:
    import orjson

    content = orjson.dumps({"reason": reason, "message": message})
    while len(content) > LONGEST_MESSAGE_BYTES:  # Kubernetes would cut it, and no reader read it
        message = message[: len(message) // 2]
        content = orjson.dumps({"reason": reason, "message": message})
    try:
        if file.parent.is_dir():
            file.write_bytes(content)
    except OSError:
        logging.getLogger(__name__).warning("%s cannot be written", file)


if __name__ == "__main__":
    sys.exit(main())
