"""Load or refuse, ready or not, and a drain that fails no request. See also tests/corpus."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import joblib
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.loopback import (
    Client,
    refused,
    serving,
    until,
    vector,
)
from tests.unit.serving.stored import Stored, model_of, store, with_digest

from trimtab.serving.errors import SettingsInvalid, WarmUpFailed
from trimtab.serving.model.base import Matrix, Prediction
from trimtab.serving.settings import ServingSettings


def copied(binary: Stored, folder: Path) -> Stored:
    """Return the binary artifact in a folder of its own."""
    return store(folder, binary.estimator, binary.signature, binary.baseline, binary.rows)


def naming(settings: ServingSettings, stored: Stored, digest: str | None = None) -> ServingSettings:
    return replace(settings, artifact_uri=stored.uri, artifact_digest=digest or stored.digest)


async def test_a_pickle_is_loaded_only_where_it_is_trusted(
    settings: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    file = tmp_path / "model.joblib"
    joblib.dump(binary.estimator, file)
    stored = store(
        tmp_path / "store",
        None,
        binary.signature,
        binary.baseline,
        binary.rows,
        files={"model.joblib": file.read_bytes()},
        model_file="model.joblib",
    )
    named = naming(settings, stored)
    assert (await refused(named)).reason == "PickleNotTrusted"
    async with serving(replace(named, trust_pickle=True)) as client:
        assert (await client.infer(vector(binary.rows[:1]))).status_code == 200


async def test_a_forest_is_served(
    settings: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    forest = RandomForestClassifier(5, random_state=0)
    forest.fit(binary.rows, binary.estimator.predict(binary.rows))
    stored = store(tmp_path, forest, binary.signature, binary.baseline, binary.rows)
    async with serving(naming(settings, stored)) as client:
        answer = await client.infer(vector(binary.rows[:7]))
    assert answer.json()["outputs"][0]["data"] == forest.predict(binary.rows[:7]).tolist()


async def test_parts_that_do_not_fit_are_refused(
    settings: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    signature, baseline = binary.signature, binary.baseline
    wide = signature.inputs[0].model_copy(update={"shape": [5]})
    output = signature.outputs[1].model_copy(update={"shape": [3]})
    edges = baseline.features[0].model_copy(update={"counts": [1]})
    for index, (sign, base, reason) in enumerate(
        [
            (
                signature.model_copy(update={"classes": ["0", "2"]}),
                baseline.model_copy(update={"predicted_counts": {}}),
                "ClassesDiffer",
            ),
            (signature.model_copy(update={"classes": []}), baseline, "Malformed"),
            (signature.model_copy(update={"outputs": [output]}), baseline, "OutputsDiffer"),
            (signature.model_copy(update={"inputs": [wide]}), baseline, "BaselineMismatch"),
            (
                signature.model_copy(update={"inputs": [wide]}),
                baseline.model_copy(update={"features": []}),
                "WarmUpFailed",
            ),
            (signature, baseline.model_copy(update={"features": [edges]}), "Malformed"),
            (signature, baseline.model_copy(update={"score_counts": [1]}), "Malformed"),
            (
                signature,
                baseline.model_copy(update={"calibration": baseline.calibration * 2}),
                "Malformed",
            ),
        ]
    ):
        stored = store(
            tmp_path / str(index), binary.estimator, sign, with_digest(base), binary.rows
        )
        assert (await refused(naming(settings, stored))).reason == reason, index


async def test_other_ends_of_a_start(
    settings: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    onnx = replace(settings, artifact_format="onnx")
    assert (await refused(onnx)).reason == "FormatMismatch"
    small = replace(settings, max_artifact_bytes=100)
    assert (await refused(small)).reason == "TooLarge"
    gone = replace(settings, artifact_uri=(tmp_path / "nowhere").as_uri())
    assert (await refused(gone)).reason == "NotInStore"
    odd = replace(settings, artifact_uri="ftp://x/y")
    assert (await refused(odd)).reason == "BadLocation"
    away = replace(settings, token_key_file=tmp_path / "no-key")
    assert isinstance(await refused(away), SettingsInvalid)
    unfitted = store(
        tmp_path / "unfitted", LogisticRegression(), binary.signature, binary.baseline, binary.rows
    )
    assert isinstance(await refused(naming(settings, unfitted)), WarmUpFailed)


class Held:
    """Makes the model of a running server wait, or fail, at will."""

    def __init__(self, client: Client) -> None:
        served = client.server.inference.served
        assert served is not None
        self.joiner = served.joiner
        self.served = served
        self.calls = 0
        self.gate = threading.Event()
        self.gate.set()
        self._predict = self.joiner._predict
        self.joiner._predict = self.predict

    def busy_for(self, seconds: float) -> None:
        """Let the running call have begun so long ago."""
        self.joiner._busy_since = monotonic() - seconds

    def predict(self, rows: Matrix) -> Prediction:
        self.calls += 1
        assert self.gate.wait(20)
        return self._predict(rows)


async def test_a_hung_model_is_not_ready_but_alive(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        held = Held(client)
        held.gate.clear()
        waiting = asyncio.ensure_future(client.infer(vector(binary.rows[:1])))
        await until(lambda: held.calls == 1)
        assert (await client.back.get("/readyz")).status_code == 200
        held.busy_for(settings.hung_seconds + 1)
        ready = await client.back.get("/readyz")
        alive = await client.back.get("/healthz")
        page = await client.front.get("/v2/health/ready")
        assert (ready.status_code, alive.status_code, page.status_code) == (503, 200, 503)
        assert "has not answered" in ready.json()["error"]
        assert (await client.metrics())["trimtab_requests_started_total"] == 1
        held.busy_for(settings.hung_restart_seconds + 1)
        assert (await client.back.get("/healthz")).status_code == 503
        held.gate.set()
        assert (await waiting).status_code == 200
        assert (await client.back.get("/readyz")).status_code == 200


async def test_too_many_waiting_requests_are_sent_away(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(replace(settings, queue_requests=3)) as client:
        held = Held(client)
        held.gate.clear()
        first = asyncio.ensure_future(client.infer(vector(binary.rows[:1])))
        await until(lambda: held.calls == 1)
        others = [asyncio.ensure_future(client.infer(vector(binary.rows[:1]))) for _ in range(10)]
        await until(lambda: sum(other.done() for other in others) == 7)
        assert (await client.metrics())["trimtab_queue_depth"] == 3
        held.gate.set()
        answers = await asyncio.gather(first, *others)
    codes = Counter(answer.status_code for answer in answers)
    assert codes == {200: 4, 503: 7}
    assert {a.headers["retry-after"] for a in answers if a.status_code == 503} == {"1"}


async def test_what_would_be_begun_too_late_is_refused_unread(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(replace(settings, queue_seconds=1e-6)) as client:
        held = Held(client)
        held.gate.clear()
        first = asyncio.ensure_future(client.infer(vector(binary.rows[:1])))
        await until(lambda: held.calls == 1)
        path = "/v2/models/digits/infer"
        refused = [
            await client.front.post(path, content=b"{"),
            await client.front.post(path + "/", content=b"{"),
            await client.front.post(path, content=_pieces()),
            await client.front.post(path, content=b"{", headers={"connection": "close"}),
        ]
        for answer in refused:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json() == refused[0].json()
        assert (await client.front.get("/v2/health/live")).status_code == 200
        assert (await client.back.get("/readyz")).status_code == 200
        counted = await client.metrics()
        assert counted["trimtab_requests_started_total"] == 5
        assert counted["trimtab_requests_total{code=503}"] == 4
        held.gate.set()
        assert (await first).status_code == 200
        assert (await client.infer(vector(binary.rows[:1]))).status_code == 200


async def _pieces() -> AsyncIterator[bytes]:
    yield b"{"


async def test_the_deadline_is_kept(settings: ServingSettings, binary: Stored) -> None:
    async with serving(replace(settings, deadline_seconds=0.05)) as client:
        held = Held(client)
        held.gate.clear()
        answer = await client.infer(vector(binary.rows[:1]))
        held.gate.set()
        counted = await client.metrics()
    assert answer.status_code == 504
    assert counted["trimtab_requests_total{code=504}"] == 1


class Broken:
    """A classifier that raises."""

    def predict(self, _rows: Any) -> None:
        raise AssertionError

    def predict_proba(self, _rows: Any) -> None:
        raise KeyError("weights")


async def test_a_failing_model_is_500_and_counted(
    settings: ServingSettings, binary: Stored, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(settings) as client:
        held = Held(client)

        held._predict = model_of(binary, Broken()).predict
        answer = await client.infer(vector(binary.rows[:2]))
        counted = await client.metrics()
    assert answer.status_code == 500
    assert answer.json() == {"error": "the model failed: KeyError: 'weights'"}
    assert counted["trimtab_requests_total{code=500}"] == 1
    assert "the model failed" in caplog.text


async def test_a_drain_under_load_fails_no_request(
    settings: ServingSettings, binary: Stored
) -> None:
    """Two servers stand for two pods; clients learn of the drain a moment late, as they do."""
    # On a busy machine they need longer than a short grace to send what comes late.
    patient = replace(settings, drain_grace_seconds=3.0)
    async with serving(patient) as old, serving(settings) as new:
        target = [old.server.inference_port]
        codes: Counter[tuple[int, int]] = Counter()
        stop = asyncio.Event()

        async def user(number: int) -> None:
            async with httpx.AsyncClient(timeout=10) as http:
                while not stop.is_set():
                    port = target[0]
                    answer = await http.post(
                        f"http://127.0.0.1:{port}/v2/models/digits/infer",
                        json={"inputs": vector(binary.rows[:1])},
                    )
                    codes[port, answer.status_code] += 1
                    await asyncio.sleep(0.002 * (number % 5))

        users = [asyncio.ensure_future(user(number)) for number in range(20)]
        await until(lambda: codes.total() > 100)
        drain = asyncio.ensure_future(old.server.drain())
        await asyncio.sleep(0)
        assert (await old.back.get("/readyz")).status_code == 503
        before = codes.total()
        await until(lambda: codes.total() > before + 50)  # the Service has not noticed yet
        target[0] = new.server.inference_port
        await drain
        assert old.server.front.connections == 0
        before = codes.total()
        await until(lambda: codes.total() > before + 50)
        stop.set()
        await asyncio.gather(*users)
        counted = await old.metrics()
    assert {code for _, code in codes} == {200}
    old_port, new_port = old.server.inference_port, new.server.inference_port
    assert counted["trimtab_requests_total{code=200}"] == codes[old_port, 200]
    assert counted["trimtab_requests_started_total"] == codes[old_port, 200]
    assert codes[new_port, 200] > 0


async def test_a_drain_closes_idle_connections_at_once_and_answers_the_others(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(replace(settings, drain_linger_seconds=0.0)) as client:
        held = Held(client)
        held.gate.clear()
        idle = await client.connect()
        busy = asyncio.ensure_future(client.infer(vector(binary.rows[:1])))
        await until(lambda: held.calls == 1)
        drain = asyncio.ensure_future(client.server.drain())
        async with asyncio.timeout(10):
            assert await idle[0].read() == b""
        assert not drain.done()
        held.gate.set()
        answer = await busy
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        late = await client.infer(vector(binary.rows[:1]))
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        await drain
