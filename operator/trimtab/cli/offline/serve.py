"""`trimtab serve`: an artifact on this machine, by the runtime that pods have."""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec

from trimtab.cli.interrupts import end_at_once
from trimtab.cli.offline.baseline_arguments import add_credentials
from trimtab.contract.metrics import INFERENCE_PORT, METRICS_PORT
from trimtab.errors import TrimtabError, installing

LOOPBACK = "127.0.0.1"
LARGEST_PORT = 65_535
NEEDED = ("obstore", "pydantic", "sklearn", "skops", "httptools", "orjson")
"""What the extra `serving` installs and this command imports."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument(
        "where",
        metavar="PATH|URI",
        help="folder of an artifact (with a manifest.json), or the folder above, of whose "
        "artifacts the one is taken that was written last; or its s3://, gs://, az://, https:// "
        "or file:// URI",
    )
    one.add_argument(
        "--digest",
        type=_digest,
        metavar="sha256:...",
        help="serve only the artifact of this digest (default: the one that is there)",
    )
    one.add_argument(
        "--port",
        type=_port,
        default=INFERENCE_PORT,
        metavar="PORT",
        help="port of requests (default %(default)s; 0: any that is free)",
    )
    one.add_argument(
        "--metrics-port",
        type=_port,
        default=METRICS_PORT,
        metavar="PORT",
        help="port of /metrics and /outcomes (default %(default)s; 0: any that is free)",
    )
    one.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="address to listen on (default %(default)s, for this machine only)",
    )
    one.add_argument(
        "--reload",
        action="store_true",
        help="go on with a new or changed artifact there, without a failed request",
    )
    add_credentials(one)
    one.add_argument(
        "--trust-pickle",
        action="store_true",
        help="load a model in joblib format, which can run any code on this machine",
    )
    one.set_defaults(run=run_serve)


async def run_serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C (130) or SIGTERM (143); 1 not to be served, 2 nothing there."""
    end_at_once()
    missing = next((name for name in NEEDED if find_spec(name) is None), None)
    if missing is not None:
        raise TrimtabError(
            f"serve needs packages that are not installed ({missing}): " + installing("serving")
        )
    from trimtab.cli.offline.laptop import serve

    return await serve(options)


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not sha256: and 64 hexadecimal digits")
    return text


def _port(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if not 0 <= value <= LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to {LARGEST_PORT}")
    return value
