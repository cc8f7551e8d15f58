"""A pod that predicts with two versions: what its answers, tokens and counters say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.loopback import Client, served_as, serving, until, vector
from tests.unit.serving.stored import KEY, Stored, store

from trimtab.contract.pairing import Sealer
from trimtab.contract.token import read_token
from trimtab.serving import lifecycle
from trimtab.serving.comparing.marker import NAME
from trimtab.serving.comparing.second import SecondModel
from trimtab.serving.settings import ServingSettings

SEAL = b"a key to seal with"


@pytest.fixture
def other(binary: Stored, tmp_path: Path) -> Stored:
    truth = (binary.rows[:, 0] - 0.5 * binary.rows[:, 2] > 0.2).astype(int)
    estimator = LogisticRegression().fit(binary.rows, truth)
    return store(tmp_path / "other", estimator, binary.signature, binary.baseline, binary.rows)


@pytest.fixture
def told(settings: ServingSettings, other: Stored, tmp_path: Path) -> ServingSettings:
    seal = tmp_path / "seal"
    seal.write_bytes(SEAL)
    return replace(
        settings,
        compare_uri=other.uri,
        compare_digest=other.digest,
        compare_for="outcomes",
        compare_budget=1.0,
        token_seal_key_file=seal,
        warm_up_requests=0,
        warm_up_seconds=0.0,
        hung_seconds=60.0,
    )


def second_of(client: Client) -> SecondModel:
    served = client.server.inference.served
    assert served is not None
    assert served.second is not None
    return served.second


@asynccontextmanager
async def comparing(settings: ServingSettings) -> AsyncIterator[Client]:
    """Serve until the second model is there; all calls are paid for."""
    async with serving(settings) as client:
        second = second_of(client)
        assert second.state == "waiting"
        assert (await client.back.get("/readyz")).status_code == 200
        await until(lambda: second.state not in ("waiting", "loading"))
        second._budget._saved = 1e9
        second._budget._share = 0.0
        second._budget._largest = 1e9
        second._budget._last = (1, 0.0)
        second._throttled = 1 << 60
        yield client


async def test_both_answers_are_scored_on_the_same_rows(
    told: ServingSettings, binary: Stored, other: Stored
) -> None:
    rows = np.random.default_rng(5).normal(size=(60, 4))
    mine, theirs = binary.estimator.predict(rows), other.estimator.predict(rows)
    truth = (rows[:, 1] > 0).astype(int)
    tokens: list[str] = []
    async with comparing(told) as client:
        for start in range(0, 60, 10):
            second_of(client)._budget._owed = 0.0
            answer = await client.infer(vector(rows[start : start + 10]))
            assert answer.status_code == 200
            tokens.append(answer.json()["parameters"]["trimtab_token"])
        items = [
            {"token": text, "actual": truth[at * 10 : at * 10 + 10].tolist()}
            for at, text in enumerate(tokens)
        ]
        posted = await client.back.post("/outcomes", json=items)
        counted = await client.metrics()
        page = (await client.back.get("/metrics")).text
    assert posted.json()["counted"] == 6
    read = [read_token(text, KEY, Sealer(SEAL)) for text in tokens]
    assert [name for token in read for name in (token.pair and token.pair.names) or ()] == [
        str(one) for one in theirs
    ]
    against = f"against={other.digest}"
    total = 0
    for a in (0, 1):
        for b in (0, 1):
            cell = (mine == a) & (theirs == b)
            name = f"trimtab_paired_predicted_total{{{against},served={a},other={b}}}"
            assert counted.get(name, 0) == pytest.approx(cell.sum() / 10)  # of requests of 10
            difference = (mine != truth).astype(int) - (theirs != truth).astype(int)
            for value in (-1, 0, 1):
                name = (
                    f"trimtab_paired_outcomes_total{{{against},served={a},other={b},"
                    f"difference={value}}}"
                )
                rows_of_it = (cell & (difference == value)).sum()
                assert counted.get(name, 0) == pytest.approx(rows_of_it / 10)
                total += rows_of_it
    assert total == 60
    requests = [v for k, v in counted.items() if k.startswith("trimtab_paired_requests_total")]
    assert sum(requests) == 6
    assert sum(v for k, v in counted.items() if k.startswith("trimtab_outcomes_total")) == 60
    assert counted[f"trimtab_compare_state{{{against},state=comparing}}"] == 1
    assert counted[f"trimtab_compare_seconds_total{{{against}}}"] > 0
    assert counted["trimtab_aside_seconds_count"] == 6
    assert 'tokens="2"' in page


async def test_a_replica_without_the_seal_key_counts_what_was_served(
    told: ServingSettings, settings: ServingSettings, binary: Stored
) -> None:
    async with comparing(told) as pairing, serving(settings) as client:
        answer = await pairing.infer(vector(binary.rows[:4]))
        text = answer.json()["parameters"]["trimtab_token"]
        assert read_token(text, KEY, Sealer(SEAL)).pair is not None
        posted = await client.back.post("/outcomes", json=[{"token": text, "actual": [1] * 4}])
        counted = await client.metrics()
        page = (await client.back.get("/metrics")).text
    assert posted.status_code == 200
    assert sum(v for k, v in counted.items() if k.startswith("trimtab_outcomes_total")) == 4
    assert not [name for name in counted if "paired" in name or "compare" in name]
    assert 'tokens="1"' in page


async def test_a_replica_that_never_had_the_other_model_counts_pairs(
    told: ServingSettings, binary: Stored
) -> None:
    alone = replace(told, compare_uri="", compare_digest="")
    async with comparing(told) as pairing, serving(alone) as client:
        answer = await pairing.infer(vector(binary.rows[:4]))
        text = answer.json()["parameters"]["trimtab_token"]
        await client.back.post("/outcomes", json=[{"token": text, "actual": [1, None, 1, 0]}])
        counted = await client.metrics()
    paired = [v for k, v in counted.items() if k.startswith("trimtab_paired_outcomes_total")]
    assert sum(paired) == pytest.approx(1)  # one request, its labelled rows a third each
    assert not [name for name in counted if "compare" in name]


@pytest.mark.parametrize("why", ["missing", "short", "no_tokens"])
async def test_without_keys_nothing_is_paired_and_it_is_said(
    told: ServingSettings,
    binary: Stored,
    other: Stored,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    why: str,
) -> None:
    key = tmp_path / "none"
    if why == "short":
        key.write_bytes(b"short")
    settings = replace(told, token_seal_key_file=key)
    if why == "no_tokens":
        settings = replace(told, token_key_file=None)
    async with serving(settings) as client:
        assert (await client.back.get("/readyz")).status_code == 200
        assert (await client.infer(vector(binary.rows[:1]))).status_code == 200
        counted = await client.metrics()
        page = (await client.back.get("/metrics")).text
    assert counted[f"trimtab_compare_state{{against={other.digest},state=failed}}"] == 1
    assert "TOKEN" in caplog.text
    assert 'tokens="1"' in page
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("state", ["failed", "notComparable"])
async def test_a_second_model_that_cannot_be_had_changes_no_answer(
    told: ServingSettings, binary: Stored, regression: Stored, tmp_path: Path, state: str
) -> None:
    settings = replace(told, compare_uri=(tmp_path / "nowhere").as_uri())
    if state == "notComparable":
        settings = replace(told, compare_uri=regression.uri, compare_digest=regression.digest)
    async with comparing(settings) as client:
        answer = await client.infer(vector(binary.rows[:1]))
        assert second_of(client).state == state
        assert not client.server.inference.counters.is_disturbed
    assert answer.status_code == 200
    text = answer.json()["parameters"]["trimtab_token"]
    assert read_token(text, KEY, Sealer(SEAL)).pair is None


async def test_a_request_of_300_rows_is_paired_up_to_what_a_token_covers(
    told: ServingSettings, binary: Stored
) -> None:
    async with comparing(told) as client:
        answer = await client.infer(vector(binary.rows[:300]))
    content = answer.json()
    assert content["parameters"]["trimtab_token_rows"] == 256
    assert content["outputs"][0]["data"] == binary.estimator.predict(binary.rows[:300]).tolist()
    token = read_token(content["parameters"]["trimtab_token"], KEY, Sealer(SEAL))
    assert token.pair is not None
    assert token.pair.rows == 256


async def test_requests_are_aside_while_it_is_loaded(
    told: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    async with serving(told) as client:
        counters = client.server.inference.counters
        second = second_of(client)
        assert not counters.is_disturbed
        assert not (tmp_path / NAME).exists()
        await client.back.get("/readyz")
        await until(lambda: second.state == "comparing" and not counters.is_disturbed)
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()


async def test_after_a_killed_process_it_serves_alone(
    told: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_text("left over")
    async with comparing(told) as client:
        assert (await client.infer(vector(binary.rows[:1]))).status_code == 200
        assert second_of(client).state == "killed"
    assert (tmp_path / NAME).exists()


async def test_a_shadow_has_none_of_this(
    settings: ServingSettings, binary: Stored, other: Stored
) -> None:
    shadow = served_as(settings, other, compare_uri=binary.uri, compare_digest=binary.digest)
    async with serving(shadow) as client:
        served = client.server.inference.served
        assert served is not None
        assert served.second is None
        assert not [name for name in await client.metrics() if "compare_" in name]


async def test_who_is_never_asked_whether_it_is_ready_compares_all_the_same(
    told: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "COMPARE_WITHIN_SECONDS", 0.0)
    async with serving(told) as client:
        await until(lambda: second_of(client).state == "comparing")


async def test_memory_is_let_go_while_it_serves(
    told: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    async with comparing(told) as client:
        second = second_of(client)
        second._ends._until = 1.0
        await until(lambda: second.state == "ended")
        assert second._model is None
        assert (await client.infer(vector(binary.rows[:1]))).status_code == 200
        assert not (tmp_path / NAME).exists()
