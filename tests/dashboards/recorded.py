"""The recording of a demo that the check draws, and how it is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tests.dashboards.boards import Board, names_in
from tests.dashboards.server import Server, record, write_recording

RECORDING = Path(__file__).parent / "data/demo.om.gz"
MOST_BYTES = 3_000_000


def record_from(url: str, seconds: int, boards: Sequence[Board]) -> str:
    """Write the recording from a Prometheus, of its last seconds; return what was written.

    Only what the dashboards ask for is kept. ValueError: there is nothing, or far too much.
    """
    server = Server(url.rstrip("/"))
    now = int(time.time())
    seen = server.query(f"up[{seconds}s]", now)
    if not seen:
        raise ValueError(f"{url} has scraped nothing in the last {seconds} s")
    begin = int(min(series.points[0][0] for series in seen))
    names = names_in((query for board in boards for query in board.queries), server.names())
    recording = record(server, names, begin, now)
    write_recording(recording, RECORDING)
    size = RECORDING.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes are too many to keep: record less than {now - begin} s")
    return f"{len(names)} metrics, {now - begin} s, {size / 1000:.0f} kB: {RECORDING.name}"
