from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from tests.unit.quickstart.conftest import FakeModel

from trimtab.quickstart.connections import Connections
from trimtab.quickstart.control import serve_control
from trimtab.quickstart.digits import Angles, Pool
from trimtab.quickstart.load import Dials, Load

IMAGES = np.zeros((10, 64))
IMAGES[:, 0] = np.arange(10)
POOL = Pool(IMAGES, np.arange(10))


def load_on(server: FakeModel, dials: Dials, **options: Any) -> Load:
    return Load(POOL, Connections(server.url, 4), Connections(server.url, 4), dials, **options)


async def run(load: Load, seconds: float) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    await load.run(seconds, lines.append)
    await load.close()
    return lines


async def test_sends_at_the_rate_and_returns_the_truth_with_the_token(server: FakeModel) -> None:
    load = load_on(server, Dials(rate=200))
    lines = await run(load, 0.5)
    total = load.record.total.to_json()
    assert 80 <= total["sent"] <= 102
    assert total["sent"] == total["ok"] == total["labelled"] == len(server.labels)
    assert (total["errors"], total["rejected"], total["lost"], total["refused"]) == (0, 0, 0, 0)
    assert total["accuracy"] == 1.0
    assert total["versions"]["v1"]["answered"] == total["sent"]
    assert sum(line["sent"] for line in lines) == total["sent"]
    path, content = server.requests[0]
    assert path == "/v2/models/digits/infer"
    tensor = content["inputs"][0]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("image", [1, 64], "FP64")
    truths = {label["token"]: label["actual"] for label in server.labels}
    sent = [[int(content["inputs"][0]["data"][0])] for _, content in server.requests]
    assert [truths[f"token-{index + 1}"] for index in range(len(sent))] == sent


async def test_measures_accuracy_by_version(server: FakeModel) -> None:
    server.classify = lambda _image: 3
    server.version = "v2"
    load = load_on(server, Dials(rate=400, labels=0))
    await run(load, 0.5)
    total = load.record.total.to_json()
    assert 0.02 < total["versions"]["v2"]["accuracy"] < 0.25
    assert server.labels == []


@pytest.mark.parametrize(("status", "counter"), [(503, "errors"), (400, "rejected"), (200, "ok")])
async def test_answers_are_told_apart(server: FakeModel, status: int, counter: str) -> None:
    server.status = status
    load = load_on(server, Dials(rate=200))
    await run(load, 0.1)
    total = load.record.total.to_json()
    assert total[counter] == total["sent"] > 0


@pytest.mark.parametrize("garbage", [b"", b"[]", b"{}", b'{"outputs": []}', b"\xff"])
async def test_answer_that_cannot_be_read_is_counted(server: FakeModel, garbage: bytes) -> None:
    server.garbage = garbage
    load = load_on(server, Dials(rate=200))
    await run(load, 0.05)
    total = load.record.total.to_json()
    assert total["malformed"] == total["sent"] > 0
    assert total["versions"] == {}


async def test_server_that_is_gone_is_counted_as_lost() -> None:
    gone = Connections("http://127.0.0.1:9", 4)
    load = Load(POOL, gone, None, Dials(rate=200))
    await run(load, 0.1)
    total = load.record.total.to_json()
    assert total["lost"] == total["sent"] > 0
    assert total["accuracy"] is None


async def test_requests_that_never_left_are_told_apart(server: FakeModel) -> None:
    none_free = Connections(server.url, 0, timeout_seconds=0.01)
    load = Load(POOL, none_free, None, Dials(rate=100))
    await run(load, 0.1)
    total = load.record.total.to_json()
    assert total["unsent"] == total["sent"] > 0
    assert total["lost"] == 0


async def test_rotates_what_it_sends(server: FakeModel) -> None:
    load = load_on(server, Dials(rate=200, angles=Angles(90, 90)))
    server.classify = lambda image: int(max(image))
    await run(load, 0.1)
    data = server.requests[0][1]["inputs"][0]["data"]
    assert data[0] == 0
    assert max(data) in range(10)


def test_dials_refuse_and_stay_as_they_were() -> None:
    dials = Dials()
    for changes in ({"rate": 0}, {"labels": 2}, {"rotate": "15:10"}, {"speed": 1}, {"rate": "x"}):
        with pytest.raises(ValueError):
            dials.turn(changes)
    assert dials == Dials()
    dials.turn({"rate": 20, "rotate": "10:15", "labels": 0.5, "paused": True})
    assert dials.to_json() == {"rate": 20.0, "labels": 0.5, "rotate": "10:15", "paused": True}


async def ask(port: int, text: str) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body)


async def test_control_turns_dials_and_tells_what_users_saw(server: FakeModel) -> None:
    load = load_on(server, Dials(rate=100))
    listening = await serve_control(load, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    body = '{"rotate": 12, "rate": 150}'
    post = f"POST /control HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    assert await ask(port, post) == (
        200,
        {"rate": 150.0, "labels": 1.0, "rotate": "12", "paused": False},
    )
    refused = "POST /control HTTP/1.1\r\nContent-Length: 11\r\n\r\n"
    assert (await ask(port, refused + '{"rate":-1}'))[0] == 400
    assert (await ask(port, refused + '"not an ob"'))[0] == 400
    await run(load, 0.1)
    status, stats = await ask(port, "GET /stats?seconds=5 HTTP/1.1\r\n\r\n")
    assert status == 200
    assert stats["total"]["sent"] == stats["total"]["ok"] > 0
    assert stats["seconds"][-1]["rotate"] == "12"
    assert (await ask(port, "GET /healthz HTTP/1.1\r\n\r\n"))[0] == 200
    assert (await ask(port, "GET /nothing HTTP/1.1\r\n\r\n"))[0] == 404
    listening.close()


async def test_control_reads_a_body_in_chunks(server: FakeModel) -> None:
    """As `kubectl create --raw` sends it."""
    load = load_on(server, Dials())
    listening = await serve_control(load, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    head = "POST /control HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = 'a\r\n{"rotate":\r\n8\r\n"10:15"}\r\n0\r\n\r\n'
    status, dials = await ask(port, head + chunks)
    assert (status, dials["rotate"]) == (200, "10:15")
    listening.close()


async def test_pause_stops_the_users(server: FakeModel) -> None:
    load = load_on(server, Dials(rate=200, is_paused=True))
    await run(load, 0.1)
    assert load.record.total.sent == 0
