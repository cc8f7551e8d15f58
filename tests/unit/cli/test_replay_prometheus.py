"""replay --prometheus from the command line, against a small server of recorded samples."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.unit.replay.recorded import T0, baseline

from trimtab.cli.main import main

POLICY = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: digits}
spec:
  selector: {deployments: [digits]}
  window: 1h
  season: 1h
  signals: [{kind: inputs}]
"""
POD = {"namespace": "shop", "pod": "digits-a", "job": "pods"}
OWN = {"model": "m", "version": "v1"}
WHOLE = {**OWN, "digest": "d", "baseline": baseline().digest}


def samples(start: float, end: float) -> list[dict[str, Any]]:
    """Twenty rows a minute, half on each side of the edge; from hour two on all above it."""
    minutes = [minute for minute in range(181) if start <= T0 + 60 * minute <= end]

    def series(name: str, labels: dict[str, str], value: Any) -> dict[str, Any]:
        values = [(T0 + 60 * minute, str(value(minute))) for minute in minutes]
        return {"metric": {"__name__": name, **POD, **labels}, "values": values}

    bins = {"0": lambda m: 10 * min(m, 120), "1": lambda m: 20 * m - 10 * min(m, 120)}
    found = [
        series("trimtab_feature_bin_total", {**OWN, "feature": "x", "bin": name}, value)
        for name, value in bins.items()
    ]
    found.append(series("trimtab_model_info", WHOLE, lambda _: 1))
    return [*found, series("process_start_time_seconds", {}, lambda _: T0 - 60)] if minutes else []


class Handler(BaseHTTPRequestHandler):
    tokens: list[str | None]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.tokens.append(self.headers["authorization"])
        end = float(form["time"][0])
        seconds = float(form["query"][0].rpartition("[")[2].removesuffix("ms]")) / 1000
        data = {"resultType": "matrix", "result": samples(end - seconds, end)}
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.tokens = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as own:
        thread = threading.Thread(target=own.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{own.server_port}"
        own.shutdown()
        thread.join()


@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_stretch_of_time_is_judged(
    tmp_path: Path,
    server: str,
    where: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, known, token = (tmp_path / name for name in ("p.yaml", "baseline.json", "token"))
    policy.write_text(POLICY)
    known.write_text(baseline().model_dump_json(by_alias=True))
    usual = ["--from", "2026-01-01T00:00:00", "--to", "2026-01-01T03:00:00", "--namespace", "shop"]
    if where == "file":
        token.write_text("s3cret\n")
        usual += ["--token-file", str(token)]
    else:
        monkeypatch.setenv("TRIMTAB_PROMETHEUS_TOKEN", "s3cret")
    arguments = ["--prometheus", server, "--baseline", str(known), *usual, "--output", "json"]
    assert main(["replay", str(policy), *arguments]) == 0
    looks = json.loads(capsys.readouterr().out)["looks"]
    # The first reading of a process that is older says only from where to count.
    assert [(one["n"], one["verdict"]) for one in looks] == [
        (59 * 20, "Stable"),
        (60 * 20, "Stable"),
        (60 * 20, "Drifting"),
    ]
    assert Handler.tokens == ["Bearer s3cret"] * 3


def test_a_token_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, known, token = (tmp_path / name for name in ("p.yaml", "baseline.json", "token"))
    policy.write_text(POLICY)
    known.write_text(baseline().model_dump_json(by_alias=True))
    usual = ["--baseline", str(known), "--from", "2026-01-01", "--token-file", str(token)]
    for text, said in (("\n", "is empty"), ("a\nb", "characters that no token has")):
        token.write_text(text)
        assert main(["replay", str(policy), "--prometheus", "http://127.0.0.1:9", *usual]) == 2
        assert said in capsys.readouterr().err
    assert main(["replay", str(policy), "--prometheus", "127.0.0.1:9", *usual]) == 2
    assert "must begin with http" in capsys.readouterr().err
