"""Our own runtime keeps the contract: the program by the command line, and other kinds of model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.cluster import KMeans
from sklearn.svm import LinearSVC
from tests.unit.drawn_rows import drawn
from tests.unit.serving.loopback import program_environment, served_as, serving, until
from tests.unit.serving.stored import Stored

from trimtab.cli.main import main
from trimtab.conform.container import Asked
from trimtab.conform.rows import Verdict
from trimtab.conform.run import conform
from trimtab.serving.settings import ServingSettings
from trimtab.training import publish


@contextmanager
def process(settings: ServingSettings) -> Iterator[tuple[int, str, str]]:
    """Yield id and the URLs of both ports of the program, once it is ready."""
    command = [sys.executable, "-m", "trimtab.serving"]
    one = subprocess.Popen(
        command, env=program_environment(settings), stderr=subprocess.PIPE, text=True
    )
    assert one.stderr is not None
    try:
        ports: list[str] = []
        for line in one.stderr:
            message = json.loads(line)["message"]
            if message.startswith("listening"):
                ports = re.findall(r"\d+", message)
            if message.startswith("ready"):
                break
        metrics, inference = (f"http://127.0.0.1:{port}" for port in ports)
        yield one.pid, inference, metrics
    finally:
        one.kill()
        one.communicate()


def test_the_program_keeps_the_contract(
    settings: ServingSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    with process(settings) as (pid, url, metrics_url):
        arguments = ["conform", url, "--metrics-url", metrics_url, "--drain", str(pid)]
        code = main([*arguments, "--grace", "10", "--output", "json"])
    told = json.loads(capsys.readouterr().out)
    failed = [one for one in told["checks"] if one["verdict"] != "pass"]
    assert [one["check"] for one in failed] == ["bearer"]
    assert told["conformant"] is True
    assert code == 0


@pytest.mark.parametrize("kind", ["table", "regression"])
async def test_other_models_keep_it(
    kind: str, settings: ServingSettings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stored: Stored = request.getfixturevalue(kind)
    bearer = tmp_path / "bearer"
    bearer.write_text("secret\n")
    settings = replace(served_as(settings, stored), outcomes_bearer_file=bearer)
    async with serving(settings) as client:
        asked = Asked(
            url=f"http://127.0.0.1:{client.server.inference_port}",
            metrics_url=f"http://127.0.0.1:{client.server.metrics_port}",
            bearer="secret",
        )
        rows = await conform(asked)
    others = {row.check: row for row in rows if row.verdict is not Verdict.PASS}
    skipped = {"probability sums"} if kind == "regression" else set()
    assert {name for name in others if not name.startswith("drain")} == skipped
    assert not [row for row in others.values() if row.verdict is Verdict.FAIL]


@pytest.mark.parametrize(
    ("model", "is_calibrated"),
    [(LinearSVC(), True), (KMeans(3, n_init=1, random_state=0), False)],
    ids=["calibrated", "clusters"],
)
async def test_models_without_probabilities_keep_it(
    model: Any, is_calibrated: bool, settings: ServingSettings, tmp_path: Path
) -> None:
    matrix, actual = drawn(600, 2, 0)
    made = publish(
        model,
        matrix,
        actual if is_calibrated else None,
        uri=tmp_path.as_uri(),
        model_name="digits",
        version="v1",
    )
    settings = replace(settings, artifact_uri=made.uri, artifact_digest=made.digest)
    async with serving(settings) as client:
        asked = Asked(
            url=f"http://127.0.0.1:{client.server.inference_port}",
            metrics_url=f"http://127.0.0.1:{client.server.metrics_port}",
        )
        rows = await conform(asked)
    others = {row.check for row in rows if row.verdict is not Verdict.PASS}
    assert not [row for row in rows if row.verdict is Verdict.FAIL]
    assert ("probability sums" in others) != is_calibrated


async def test_it_keeps_it_while_it_compares(
    settings: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    seal = tmp_path / "seal"
    seal.write_text("a key to seal with")
    settings = replace(
        settings,
        compare_uri=binary.uri,
        compare_digest=binary.digest,
        compare_for="outcomes",
        compare_budget=1.0,
        token_seal_key_file=seal,
    )
    async with serving(settings) as client:
        await client.back.get("/readyz")
        served = client.server.inference.served
        assert served is not None
        second = served.second
        assert second is not None
        await until(lambda: second.state == "comparing")
        rows = await conform(
            Asked(
                url=f"http://127.0.0.1:{client.server.inference_port}",
                metrics_url=f"http://127.0.0.1:{client.server.metrics_port}",
            )
        )
        counted = await client.metrics()
    others = {row.check for row in rows if row.verdict is not Verdict.PASS}
    assert {name for name in others if not name.startswith("drain")} == {"bearer"}
    assert not [row for row in rows if row.verdict is Verdict.FAIL]
    paired = [v for k, v in counted.items() if k.startswith("trimtab_paired_predicted_total")]
    assert sum(paired) > 0
