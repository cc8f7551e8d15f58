"""Connections: order, bounds, age and ends, over raw sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from dataclasses import replace
from math import inf

import pytest
from tests.unit.serving.http.wire import PAGE, Wire, infer
from tests.unit.serving.loopback import Client, serving, until
from tests.unit.serving.stored import Stored

from trimtab.serving.http import connection as module
from trimtab.serving.http import listener as listening
from trimtab.serving.http.connection import Connection
from trimtab.serving.settings import ServingSettings


async def test_pipelined_requests_are_answered_in_order(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        wanted = [1, 0, 2, 0, 3] * 20
        await wire.send(b"".join(infer(binary, rows) if rows else PAGE for rows in wanted))
        for rows in wanted:
            status, _, body = await wire.answer()
            assert status == 200
            content = json.loads(body)
            assert (
                content == {"live": True} if not rows else content["outputs"][0]["shape"] == [rows]
            )


async def test_nothing_more_is_answered_to_who_does_not_read(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        held = await connected(client)
        held.pause_writing()
        held.data_received(100 * PAGE)
        assert held._transport.get_write_buffer_size() == 0
        assert held.eof_received()
        held.resume_writing()
        for _ in range(100):
            assert (await wire.answer())[0] == 200
        assert await wire.ended()


async def test_what_is_written_pauses_answering(settings: ServingSettings) -> None:
    """The transport says so while the answer is being written, not a turn of the loop later."""
    async with serving(settings) as client:
        wire = await Wire.to(client)
        held = await connected(client)
        held._transport.set_write_buffer_limits(high=0)
        held._transport.write(bytes(8 << 20))  # more than the kernel takes
        assert held._stalled_since < inf
        held.data_received(100 * PAGE)
        assert len(held._waiting) == 100
        await wire.reader.readexactly(8 << 20)
        for _ in range(100):
            assert (await wire.answer())[0] == 200


async def test_too_many_requests_in_one_piece_are_refused(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    async with serving(settings) as client:
        wire = await Wire.to(client)
        held = await connected(client)
        held.pause_writing()
        held.data_received(100 * PAGE)
        held.resume_writing()
        statuses = [(await wire.answer())[0] for _ in range(21)]
        assert statuses == [200] * 20 + [503]
        assert await wire.ended()


async def connected(client: Client) -> Connection:
    await until(lambda: len(client.server.front._connections) == 1)
    return next(iter(client.server.front._connections))


async def test_head_is_answered_as_get_without_the_body(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(PAGE.replace(b"GET", b"HEAD") + PAGE)
        async with asyncio.timeout(20):
            bare = await wire.reader.readuntil(b"\r\n\r\n")
            whole = await wire.reader.readuntil(b"\r\n\r\n")
            body = await wire.reader.readexactly(len(b'{"live":true}'))
    assert undated(bare) == undated(whole)
    assert body == b'{"live":true}'


def undated(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")]


async def test_a_request_may_come_byte_by_byte_and_in_chunks(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(*(bytes([byte]) for byte in infer(binary)))
        assert (await wire.answer())[0] == 200
        body = infer(binary).partition(b"\r\n\r\n")[2]
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(body[i : i + 50]), body[i : i + 50])
            for i in range(0, len(body), 50)
        )
        await wire.send(
            b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        )
        assert (await wire.answer())[0] == 200


async def test_expect_continue_is_answered(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        head, _, body = infer(binary, extra=b"expect: 100-continue\r\n").partition(b"\r\n\r\n")
        await wire.send(head + b"\r\n\r\n")
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(body)
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
async def test_a_body_that_is_too_long_is_refused_while_it_is_sent(
    settings: ServingSettings, chunked: bool
) -> None:
    async with serving(replace(settings, max_body_bytes=1000)) as client:
        wire = await Wire.to(client)
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: 5000000"
        head = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n\r\n"
        part = b"2710\r\n" + b"x" * 10_000 + b"\r\n" if chunked else b"x" * 10_000
        await wire.send(head, *([part] * 100))
        status, headers, body = await wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert "1000 bytes" in json.loads(body)["error"]
        wire.writer.close()
        counted = await client.metrics()
    assert counted["trimtab_requests_total{code=413}"] == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /" + b"x" * 70_000, 431),
        (b"GET /v2 HTTP/1.1\r\n" + b"a: " + b"x" * 700_000, 431),
        (b"POST /v2/models/digits/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
    ids=["text", "length", "header", "tls", "url", "long_header", "chunk"],
)
async def test_what_is_not_http_is_refused(
    settings: ServingSettings, sent: bytes, status: int
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(sent)
        got, headers, body = await wire.answer()
        assert (got, headers["connection"]) == (status, "close")
        assert "error" in json.loads(body)
        assert await wire.ended()
        assert (await client.front.get("/v2")).status_code == 200


async def test_old_http_and_close_are_respected(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        for head in (b"HTTP/1.0\r\n", b"HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"):
            wire = await Wire.to(client)
            await wire.send(b"GET /v2 " + head + b"\r\n")
            status, headers, _ = await wire.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await wire.ended()
        wire = await Wire.to(client)
        await wire.send(
            b"GET /v2 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
        )
        assert (await wire.answer())[0] == 200
        await wire.send(PAGE)
        assert (await wire.answer())[0] == 200


async def test_half_closed_clients_get_their_answer(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        wire.writer.write(infer(binary))
        wire.writer.write_eof()
        assert (await wire.answer())[0] == 200
        assert await wire.ended()


async def test_an_old_connection_is_closed_with_an_answer(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(replace(settings, connection_seconds=0.05)) as client:
        wire = await Wire.to(client)
        async with asyncio.timeout(20):
            while True:
                await wire.send(infer(binary))
                status, headers, _ = await wire.answer()
                assert status == 200
                if "connection" in headers:
                    break
        assert headers["connection"] == "close"
        assert await wire.ended()


async def test_an_old_idle_connection_is_closed(settings: ServingSettings) -> None:
    young = replace(settings, connection_seconds=0.01, idle_seconds=0.01)
    async with serving(young) as client:
        wire = await Wire.to(client)
        assert await wire.ended()


async def test_a_request_that_never_ends_is_refused(settings: ServingSettings) -> None:
    async with serving(replace(settings, receive_seconds=0.05)) as client:
        wire = await Wire.to(client)
        head = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"
        await wire.send(head + b"{")
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (408, "close")


async def test_an_abandoned_upload_leaves_nothing_behind(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(
            b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 1000001\r\n\r\n",
            b" " * 1_000_000,
        )
        held = client.server.front._connections
        await until(lambda: any(one._further for one in held))
        left = weakref.ref(next(one for one in held if one._further))
        gc.disable()
        try:
            wire.writer.close()
            await until(lambda: left() is None)
        finally:
            gc.enable()


async def receives(client: Client, size: int) -> None:
    connections = client.server.front._connections
    await until(lambda: any(one.held_bytes >= size for one in connections))


def upload(size: int) -> bytes:
    head = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    return head % size


async def test_all_that_is_being_received_is_bounded(
    settings: ServingSettings, binary: Stored
) -> None:
    size = 300_000
    bounded = replace(settings, max_body_bytes=size, receive_bytes=900_000)
    async with serving(bounded) as client:
        front = client.server.front
        wires = [await Wire.to(client) for _ in range(3)]
        for wire, share in zip(wires, (200_000, 299_999, 250_000), strict=True):
            await wire.send(upload(size), b" " * share)
            await receives(client, share)
        last = await Wire.to(client)
        await last.send(upload(size), b" " * 200_000)
        status, headers, _ = await wires[1].answer()  # the largest
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        await wires[0].send(b" " * 100_000)
        assert (await wires[0].answer())[0] == 400
        await last.send(b" " * 50_000, infer(binary))  # not whole yet, and the rest of it is
        wires[2].writer.close()
        last.writer.close()
        await until(lambda: front.held_bytes == 0)
        wire = await Wire.to(client)
        await wire.send(infer(binary))
        assert (await wire.answer())[0] == 200


async def test_bodies_that_wait_for_their_turn_count(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        held = await connected(client)
        held.pause_writing()
        whole = infer(binary)
        held.data_received(3 * whole)
        body = len(whole.partition(b"\r\n\r\n")[2])
        assert client.server.front.held_bytes == 3 * body
        held.resume_writing()
        for _ in range(3):
            assert (await wire.answer())[0] == 200
        assert client.server.front.held_bytes == 0


async def test_who_holds_most_loses_what_waits_there(
    settings: ServingSettings, binary: Stored
) -> None:
    large = infer(binary, 400)
    assert len(large) < 50_000
    bounded = replace(settings, max_body_bytes=50_000, receive_bytes=1)
    async with serving(bounded) as client:
        wire = await Wire.to(client)
        held = await connected(client)
        held.pause_writing()
        held.data_received(5 * large)
        other = await Wire.to(client)
        head, body = infer(binary)[:100], infer(binary)[100:]
        await other.send(head)
        await receives(client, 1)
        await other.send(body)
        assert (await other.answer())[0] == 200
        held.resume_writing()
        assert [(await wire.answer())[0] for _ in range(5)] == [503] * 5
        await wire.send(large)
        assert (await wire.answer())[0] == 200


async def test_connections_are_bounded(settings: ServingSettings, binary: Stored) -> None:
    """Who is one too many can read why, whatever it goes on sending."""
    async with serving(replace(settings, max_connections=2)) as client:
        wires = [await Wire.to(client) for _ in range(2)]
        await until(lambda: client.server.front.connections == 2)
        third = await Wire.to(client)
        await third.send(infer(binary, 400) + PAGE, bytes(1 << 20))
        status, headers, body = await third.answer()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert json.loads(body) == {"error": "too many connections"}
        assert await third.ended()
        for wire in wires:
            await wire.send(PAGE)
            assert (await wire.answer())[0] == 200
        third.writer.close()
        await until(lambda: client.server.front.connections == 2)
        wires[0].writer.close()
        await until(lambda: client.server.front.connections == 1)
        fourth = await Wire.to(client)
        await fourth.send(PAGE)
        assert (await fourth.answer())[0] == 200
        assert (await client.metrics())["trimtab_requests_started_total"] == 0


async def test_a_silent_connection_too_many_is_told_why(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DISCARD_SECONDS", 0.01)
    async with serving(replace(settings, max_connections=1)) as client:
        first = await Wire.to(client)
        await until(lambda: client.server.front.connections == 1)
        assert (await (await Wire.to(client)).answer())[0] == 503
        await first.send(PAGE)
        assert (await first.answer())[0] == 200


async def test_few_connections_too_many_wait_for_their_answer(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_SURPLUS", 1)
    async with serving(replace(settings, max_connections=1)) as client:
        await Wire.to(client)
        await until(lambda: client.server.front.connections == 1)
        second = await Wire.to(client)
        await until(lambda: client.server.front.connections == 2)
        third = await Wire.to(client)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await third.answer()
        await second.send(PAGE)
        assert (await second.answer())[0] == 503


async def test_the_connection_that_is_idle_longest_gives_way(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "IDLE_SECONDS", 1000.0)
    async with serving(replace(settings, max_connections=3)) as client:
        wires = []
        for number in range(3):
            wires.append(await Wire.to(client))
            await wires[-1].send(PAGE)
            assert (await wires[-1].answer())[0] == 200
            held = {one._idle_since: one for one in client.server.front._connections}
            held[max(held)]._idle_since -= (5000, 9000, 0)[number]
        for gone in (1, 0):
            new = await Wire.to(client)
            await new.send(PAGE)
            assert (await new.answer())[0] == 200
            assert await wires[gone].ended()
        late = await Wire.to(client)
        await late.send(PAGE)
        assert (await late.answer())[0] == 503
        await wires[2].send(PAGE)
        assert (await wires[2].answer())[0] == 200
