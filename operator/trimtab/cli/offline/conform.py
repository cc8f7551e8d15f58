"""`trimtab conform`: does a running container keep the serving contract?"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trimtab.cli.arguments import number_of
from trimtab.cli.tables import columns
from trimtab.conform.container import Asked, NotUsable
from trimtab.conform.rows import Row, Verdict, is_conformant
from trimtab.conform.run import conform
from trimtab.conform.tensors import readable
from trimtab.contract.metrics import INFERENCE_PORT, METRICS_PORT
from trimtab.errors import plain

CONFORMANT, BROKEN, NOT_USABLE = 0, 1, 2


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument(
        "url",
        type=_url,
        metavar="URL",
        help=f"URL of the inference port, such as http://localhost:{INFERENCE_PORT}",
    )
    one.add_argument(
        "--metrics-url",
        type=_url,
        metavar="URL",
        help=f"URL of the metrics port (default: port {METRICS_PORT} of the same host)",
    )
    one.add_argument(
        "--model", metavar="NAME", help="name of the model (default: the one that is served)"
    )
    one.add_argument(
        "--version",
        metavar="VERSION",
        help="version of the model (default: the first in its metadata)",
    )
    one.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help="JSON body of a good request (default: one made from the metadata)",
    )
    one.add_argument(
        "--bearer-file",
        type=Path,
        metavar="FILE",
        help="file with the bearer token of POST /outcomes",
    )
    draining = one.add_mutually_exclusive_group()
    draining.add_argument(
        "--drain",
        type=_pid,
        metavar="PID",
        help="at the end, send SIGTERM to this process and watch it drain",
    )
    draining.add_argument(
        "--drain-command",
        type=_command,
        default=(),
        metavar="CMD",
        help="at the end, run this command instead, such as 'kubectl delete pod NAME' (no shell)",
    )
    one.add_argument(
        "--grace",
        type=number_of("seconds", 3600),
        default=30.0,
        metavar="SECONDS",
        help="time in which it has to end (default %(default)g)",
    )
    one.add_argument(
        "--timeout",
        type=number_of("seconds", 3600),
        default=10.0,
        metavar="SECONDS",
        help="time limit of one check (default %(default)g)",
    )
    one.add_argument(
        "--output", choices=("text", "json"), default="text", help="form of the result"
    )
    one.set_defaults(run=run_conform)


async def run_conform(options: argparse.Namespace) -> int:
    """Print the table; 0 all required checks passed, 1 one failed, 2 nothing to check."""
    try:
        rows = await conform(_asked(options))
    except NotUsable as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_USABLE
    print(_as_json(rows) if options.output == "json" else _as_text(rows))
    return CONFORMANT if is_conformant(rows) else BROKEN


def _asked(options: argparse.Namespace) -> Asked:
    return Asked(
        url=options.url,
        metrics_url=options.metrics_url or _second_port(options.url),
        model=options.model,
        version=options.version,
        request=_request(options.request),
        bearer=_bearer(options.bearer_file),
        drain_pid=options.drain,
        drain_command=options.drain_command,
        grace_seconds=options.grace,
        check_seconds=options.timeout,
        settle_seconds=min(3.0, options.timeout / 2),
    )


def _request(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        body: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise NotUsable(f"--request {file}: {plain(error)}") from error
    wrong = readable(body)
    if wrong:
        raise NotUsable(f"--request {file}: {wrong}")
    return dict(body)


def _bearer(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        bearer = file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise NotUsable(f"--bearer-file {file}: {plain(error)}") from error
    if not bearer or not bearer.isprintable():
        raise NotUsable(f"--bearer-file {file}: one line of text is wanted")
    return bearer


# --- output -------------------------------------------------------------------------------------


def _as_text(rows: Sequence[Row]) -> str:
    table = [("CHECK", "NEED", "VERDICT", "SEEN")]
    for row in rows:
        seen = f"{row.seen}; {row.do}" if row.do else row.seen
        table.append((row.check, _need(row), row.verdict, seen))
    counted = Counter(row.verdict for row in rows)
    numbers = ", ".join(f"{counted[verdict]} {verdict}" for verdict in Verdict)
    needed = Counter(row.verdict for row in rows if row.is_required)
    end = f"{needed[Verdict.FAIL] or 'no'} required checks failed"
    if needed[Verdict.SKIP]:
        end += f", {needed[Verdict.SKIP]} skipped"
    return "\n".join([columns(table), "", f"{len(rows)} checks: {numbers}; {end}"])


def _as_json(rows: Sequence[Row]) -> str:
    checks = [
        {
            "check": row.check,
            "required": row.is_required,
            "verdict": row.verdict,
            "seen": row.seen,
            "do": row.do,
        }
        for row in rows
    ]
    return json.dumps({"conformant": is_conformant(rows), "checks": checks}, indent=2)


def _need(row: Row) -> str:
    return "required" if row.is_required else "optional"


# --- arguments ----------------------------------------------------------------------------------


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and (parts.port is None or parts.port > 0)
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or parts.username:
        raise argparse.ArgumentTypeError(f"{text!r} is not http://HOST:PORT")
    return text.rstrip("/")


def _second_port(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}:{METRICS_PORT}"


def _pid(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 < value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a process")
    return value


def _command(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    if not words:
        raise argparse.ArgumentTypeError("a command is wanted")
    return words
