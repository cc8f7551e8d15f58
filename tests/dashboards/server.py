"""A Prometheus with a recording, asked by its HTTP API; all of it on loopback."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.alerts.loopback import free_port, process
from tests.alerts.promtool import find_promtool
from tests.cluster.shell import wait_until
from tests.patience import stretched

Labels = Mapping[str, str]

SCRAPE_SECONDS = 5
"""Of a recording; a series that was not scraped three times is over."""
LOOKBACK_SECONDS = 3 * SCRAPE_SECONDS
_HEAD = re.compile(r"# recorded from (\d+) to (\d+)\n")


@dataclass(frozen=True)
class Series:
    """One series of an answer: Unix seconds and values, oldest first."""

    labels: Labels
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        return self.points[-1][1]


class Server:
    """The HTTP API of a Prometheus at an address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def is_ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expr: str, at: float) -> list[Series]:
        """Return an instant query's answer; of a range selector all samples as scraped."""
        return self._series("query", query=expr, time=str(at))

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """Return the answer of a query over a range; seconds."""
        asked = {"query": expr, "start": str(start), "end": str(end), "step": str(step)}
        return self._series("query_range", **asked)

    def names(self) -> list[str]:
        """Return the names of all metrics."""
        found: list[str] = self._ask("label/__name__/values")
        return found

    def _series(self, path: str, **asked: str) -> list[Series]:
        data = self._ask(path, **asked)
        if data["resultType"] == "scalar":
            return [Series({}, [_point(data["result"])])]
        return [
            Series(one["metric"], [_point(p) for p in one.get("values") or [one["value"]]])
            for one in data["result"]
        ]

    def _ask(self, path: str, **asked: str) -> Any:
        """Return `data` of an answer. ValueError: the query is refused, with what it says."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=stretched(20)) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            said = json.loads(error.read() or b"{}").get("error", str(error))
            raise ValueError(f"{asked.get('query', path)}: {said}") from error


def _point(pair: tuple[float, str]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


@dataclass(frozen=True)
class Recording:
    """Text in the format of OpenMetrics, and the Unix seconds between which it was recorded."""

    text: str
    begin: int
    end: int

    def without(self, name: str) -> Recording:
        """Return it without the metrics whose name matches from the beginning."""
        pattern = re.compile(name)
        lines = (line for line in self.text.splitlines(True) if not pattern.match(line))
        return Recording("".join(lines), self.begin, self.end)


def read_recording(file: Path) -> Recording:
    """Return a recording. ValueError: its first line does not say when it was made."""
    text = gzip.decompress(file.read_bytes()).decode()
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(f"{file}: the first line does not say when it was recorded")
    return Recording(text[head.end() :], int(head[1]), int(head[2]))


def write_recording(recording: Recording, file: Path) -> None:
    """Write it, compressed; the same recording gives the same bytes."""
    head = f"# recorded from {recording.begin} to {recording.end}\n"
    file.write_bytes(gzip.compress((head + recording.text).encode(), mtime=0))


def record(server: Server, names: list[str], begin: int, end: int) -> Recording:
    """Return all samples of these metrics between two moments, in Unix seconds."""
    lines = []
    for name in names:
        for series in server.query(f"{name}[{end - begin}s]", end):
            labels = ",".join(
                f"{key}={json.dumps(value, ensure_ascii=False)}"
                for key, value in sorted(series.labels.items())
                if key != "__name__"
            )
            head = f"{name}{{{labels}}}" if labels else name
            lines += [f"{head} {value:.10g} {at:.3f}\n" for at, value in series.points]
    return Recording("".join(lines) + "# EOF\n", begin, end)


@contextlib.contextmanager
def serving(recording: Recording | None, folder: Path) -> Iterator[Server]:
    """Run a Prometheus on a recording, or on nothing; end it. Nothing is scraped."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    data.mkdir()
    if recording is not None:
        _load(recording, folder, data)
    configuration = folder / "prometheus.yml"
    configuration.write_text("{}\n")
    server = Server(f"http://127.0.0.1:{free_port()}")
    with process(
        folder,
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",  # a recording is old
        f"--query.lookback-delta={LOOKBACK_SECONDS}s",  # it has no marks where a series ended
        f"--web.listen-address={server.url.removeprefix('http://')}",
    ):
        wait_until(server.is_ready, "Prometheus", 60)
        yield server


def _load(recording: Recording, folder: Path, data: Path) -> None:
    promtool = find_promtool()
    assert promtool is not None
    text = folder / "recording.om"
    text.write_text(recording.text)
    command = [
        promtool,
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--quiet",
        str(text),
        str(data),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"promtool: {(done.stderr or done.stdout).strip()[-500:]}")
