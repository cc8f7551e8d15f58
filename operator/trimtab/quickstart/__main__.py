"""`python -m trimtab.quickstart publish | load | label`; each prints JSON lines."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trimtab.contract.location import LocationError
from trimtab.quickstart.digits import POOL_SIZES, Angles, load_pools

_ALL_SOURCES = 2 * (sum(POOL_SIZES.values()) - POOL_SIZES["traffic"])


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 when the store cannot be used."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except LocationError as error:
        print(json.dumps({"error": str(error)}), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trimtab.quickstart", description=__doc__)
    parser.add_argument(
        "--credentials",
        type=Path,
        default=os.environ.get("TRIMTAB_ARTIFACT_CREDENTIALS"),
        help="folder with one file a setting of the store",
    )
    commands = parser.add_subparsers(required=True)

    publish = commands.add_parser("publish", help="train v1, v2, v3 and write them to the store")
    publish.add_argument("--uri", required=True, help="such as s3://models/digits")
    publish.add_argument("--version", action="append", choices=["v1", "v2", "v3"])
    publish.add_argument(
        "--manifests", action="store_true", help="print ModelVersions, for kubectl apply -f -"
    )
    publish.set_defaults(run=_publish)

    load = commands.add_parser("load", help="send requests, and the truths after them")
    load.add_argument("--url", required=True, help="Service of the model")
    load.add_argument("--metrics-url", help="Service of the metrics port; without: no labels")
    load.add_argument("--model", default="digits")
    load.add_argument("--rate", type=float, default=50.0, help="requests a second")
    load.add_argument("--labels", type=float, default=1.0, help="share of answers labelled")
    load.add_argument("--label-delay", type=float, default=0.0, metavar="SECONDS")
    load.add_argument("--rotate", type=Angles.parse, default=Angles(), metavar="ANGLE|LOW:HIGH")
    load.add_argument("--connections", type=int, default=16)
    load.add_argument("--stay", type=float, metavar="SECONDS", help="life of a connection, about")
    load.add_argument("--duration", type=float, metavar="SECONDS", help="default: until stopped")
    load.add_argument("--control", default="0.0.0.0:7070", metavar="HOST:PORT", help="'' for none")
    load.add_argument("--quiet", action="store_true", help="print the totals only, at the end")
    load.set_defaults(run=lambda given: asyncio.run(_load(given)))

    label = commands.add_parser("label", help="write newly labelled rows for retraining")
    label.add_argument("--uri", required=True, help="folder, such as s3://data/digits/")
    label.add_argument("--rotate", type=Angles.parse, default=Angles(10, 15))
    label.add_argument("--rows", type=int, default=_ALL_SOURCES)
    label.add_argument(
        "--spread", type=float, default=10.0, metavar="SECONDS", help="of the rows' times, to now"
    )
    label.set_defaults(run=_label)
    return parser


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _publish(given: argparse.Namespace) -> None:
    from trimtab.quickstart.versions import announcement, manifest_of, publish_versions

    for name, published in publish_versions(given.uri, given.credentials, given.version):
        _say((manifest_of if given.manifests else announcement)(name, published))


def _label(given: argparse.Namespace) -> None:
    from trimtab.quickstart.labelling import labelled_frame, write_labels

    spread = timedelta(seconds=given.spread)
    frame = labelled_frame(given.rows, given.rotate, datetime.now(UTC), spread)
    uri = write_labels(frame, given.uri, given.credentials)
    first, last = frame["time"].iloc[0], frame["time"].iloc[-1]
    _say(
        {
            "uri": uri,
            "rows": len(frame),
            "rotate": str(given.rotate),
            "from": str(first),
            "to": str(last),
        }
    )


async def _load(given: argparse.Namespace) -> None:
    from trimtab.quickstart.connections import Connections
    from trimtab.quickstart.control import serve_control
    from trimtab.quickstart.load import Dials, Load

    dials = Dials(given.rate, given.labels, given.rotate)
    service = Connections(given.url, given.connections, stay_seconds=given.stay)
    outcomes = Connections(given.metrics_url, given.connections) if given.metrics_url else None
    load = Load(
        load_pools()["traffic"],
        service,
        outcomes,
        dials,
        model=given.model,
        label_delay_seconds=given.label_delay,
    )
    server = None
    if given.control:
        host, _, port = given.control.rpartition(":")
        server = await serve_control(load, host or "0.0.0.0", int(port))
    running = asyncio.ensure_future(load.run(given.duration, _nothing if given.quiet else _say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    if server is not None:
        server.close()
    await load.close()
    _say({"total": load.record.total.to_json()})


def _nothing(_line: dict[str, Any]) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
