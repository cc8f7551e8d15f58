"""Packed bodies: gzip and deflate within a bound, and what is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serving.http.wire import infer
from tests.unit.serving.loopback import Client, serving, vector
from tests.unit.serving.stored import Stored

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.coding import unpacked
from trimtab.serving.settings import ServingSettings


def bare(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKERS = {
    "gzip": (b"gzip", gzip.compress),
    "x_gzip": (b"X-Gzip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "bare_deflate": (b"deflate", bare),
    "identity": (b"identity", bytes),
}


@pytest.mark.parametrize(("coding", "pack"), PACKERS.values(), ids=PACKERS)
@given(content=st.binary(max_size=2000))
def test_what_was_packed_comes_back(coding, pack, content: bytes) -> None:
    assert unpacked(pack(content), coding, 2000) == content


@given(content=st.binary(min_size=1, max_size=300), coding=st.sampled_from([b"gzip", b"deflate"]))
def test_anything_else_is_refused_and_bounded(content: bytes, coding: bytes) -> None:
    status = 200
    try:
        assert len(unpacked(content, coding, 1000)) <= 1000
    except RequestInvalid as error:
        status = error.status
    assert status in (200, 400, 413)


@pytest.mark.parametrize(
    ("coding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)]
)
def test_damaged_bodies_are_refused(coding, pack) -> None:
    whole = pack(b'{"inputs": []}' * 50)
    flipped = bytearray(whole)
    flipped[-1] ^= 1  # of the checksum (deflate) or the length (gzip)
    for bad in (b"", whole[:-1], whole[:20], whole + b"x", whole + whole, bytes(flipped), b"{}"):
        with pytest.raises(RequestInvalid, match="the body: ") as raised:
            unpacked(bad, coding, 10_000)
        assert raised.value.status == 400


@pytest.mark.parametrize(("coding", "pack"), list(PACKERS.values())[:4], ids=list(PACKERS)[:4])
def test_the_bound_is_of_what_is_unpacked(coding, pack) -> None:
    assert len(unpacked(pack(bytes(1000)), coding, 1000)) == 1000
    with pytest.raises(RequestInvalid, match="longer than 999 bytes") as raised:
        unpacked(pack(bytes(1000)), coding, 999)
    assert raised.value.status == 413


def test_nothing_beyond_the_bound_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    bomb = gzip.compress(bytes(50 << 20))
    assert len(bomb) < 60_000
    real = zlib.decompressobj
    monkeypatch.setattr(
        "trimtab.serving.inference.coding.zlib.decompressobj",
        lambda window: _Noted(real(window), asked),
    )
    with pytest.raises(RequestInvalid):
        unpacked(bomb, b"gzip", 1 << 20)
    assert asked == [(1 << 20) + 1]


class _Noted:
    """A stream that takes note of how much it is asked for."""

    def __init__(self, stream, asked: list[int]) -> None:
        self._stream, self._asked = stream, asked

    def decompress(self, data: bytes, most: int) -> bytes:
        self._asked.append(most)
        return self._stream.decompress(data, most)


async def post(client: Client, body: bytes, coding: str, path: str = "") -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": coding}
    return await client.front.post(path or "/v2/models/digits/infer", content=body, headers=headers)


@pytest.mark.parametrize(("coding", "pack"), PACKERS.values(), ids=PACKERS)
async def test_packed_requests_are_answered_like_others(
    settings: ServingSettings, binary: Stored, coding, pack
) -> None:
    body = json.dumps({"inputs": vector(binary.rows[:5])}).encode()
    old = json.dumps({"instances": binary.rows[:5].tolist()}).encode()
    expected = binary.estimator.predict(binary.rows[:5]).tolist()
    async with serving(settings) as client:
        answer = await post(client, pack(body), coding.decode())
        first = await post(client, pack(old), coding.decode(), "/v1/models/digits:predict")
    assert answer.json()["outputs"][0]["data"] == expected
    assert first.json()["predictions"] == expected


async def test_tensors_behind_the_json_may_be_packed(
    settings: ServingSettings, binary: Stored
) -> None:
    """The length of the JSON is that of what is unpacked, as Triton has it."""
    tensor = {
        "name": "x", "datatype": "FP64", "shape": [5, 4], "parameters": {"binary_data_size": 160},
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "content-encoding": "deflate",
        "inference-header-content-length": str(len(head)),
    }
    body = zlib.compress(head + binary.rows[:5].astype("<f8").tobytes())
    async with serving(settings) as client:
        answer = await client.front.post("/v2/models/digits/infer", content=body, headers=headers)
    assert answer.json()["outputs"][0]["data"] == binary.estimator.predict(binary.rows[:5]).tolist()


async def test_bombs_damage_and_other_codings_are_refused(
    settings: ServingSettings, binary: Stored
) -> None:
    body = infer(binary).partition(b"\r\n\r\n")[2]
    bomb = gzip.compress(bytes(5 << 20))
    async with serving(replace(settings, max_body_bytes=1 << 20)) as client:
        refused = [
            (413, await post(client, bomb, "gzip")),
            (413, await post(client, bomb, "gzip", "/v1/models/digits:predict")),
            (400, await post(client, gzip.compress(body)[:-4], "gzip")),
            (400, await post(client, body, "deflate")),
        ]
        unknown = [await post(client, body, one) for one in ("br", "gzip, gzip", "zstd", "*")]
        counted = await client.metrics()
    for status, answer in refused:
        assert answer.status_code == status, answer.text
        assert "the body" in answer.json()["error"]
    for answer in unknown:
        assert answer.status_code == 415
        assert "gzip and deflate are" in answer.json()["error"]
        assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert counted["trimtab_requests_total{code=413}"] == 2
    assert counted["trimtab_requests_total{code=415}"] == 4


async def test_truths_may_be_packed(settings: ServingSettings, binary: Stored) -> None:
    async with serving(replace(settings, max_body_bytes=1 << 20)) as client:
        token = (await client.infer(vector(binary.rows[:1]))).json()["parameters"]["trimtab_token"]
        content = json.dumps([{"token": token, "actual": ["1"]}]).encode()

        async def told(body: bytes, coding: str) -> httpx.Response:
            headers = {"content-encoding": coding}
            return await client.back.post("/outcomes", content=body, headers=headers)

        assert (await told(gzip.compress(content), "gzip")).json()["counted"] == 1
        assert (await told(zlib.compress(content), "deflate")).status_code == 409
        assert (await told(gzip.compress(bytes(2 << 20)), "gzip")).status_code == 413
        assert (await told(content, "gzip")).status_code == 400
        assert (await told(content, "br")).status_code == 415
