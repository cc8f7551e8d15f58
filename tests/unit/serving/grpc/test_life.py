"""Bounds of the port, and how it ends. A client's channel connects anew by itself."""

from __future__ import annotations

import asyncio
import builtins
import socket
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from tests.unit.serving.grpc.asking import channel_to, infer, raw, refusal, typed
from tests.unit.serving.grpc.test_calls import Held
from tests.unit.serving.loopback import refused, serving, until
from tests.unit.serving.stored import Stored

from trimtab.serving.errors import SettingsInvalid
from trimtab.serving.settings import ServingSettings

Code = grpc.StatusCode
MIB = 1 << 20


async def test_it_is_off_by_default(settings: ServingSettings) -> None:
    async with serving(settings) as server:
        assert server.server.grpc_port == 0
        assert server.server._grpc is None


async def test_a_port_that_is_taken_is_named(settings: ServingSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        error = await refused(replace(settings, grpc_port=number))
    assert isinstance(error, SettingsInvalid)
    assert str(error).startswith(f"TRIMTAB_GRPC_PORT: 127.0.0.1:{number} cannot be listened on")


async def test_without_the_library_it_says_so(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "grpc.aio":
            raise ImportError("No module named 'grpc'")
        return whole(name, *rest)

    monkeypatch.delitem(sys.modules, "trimtab.serving.grpc.listener", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    error = await refused(replace(settings, grpc_port=0))
    assert str(error) == "TRIMTAB_GRPC_PORT: is set, but No module named 'grpc'"


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
async def test_a_message_that_is_too_large(
    by_grpc: ServingSettings, binary: Stored, compression: grpc.Compression
) -> None:
    # Packed it is small: what counts is what it is once it was unpacked.
    request = raw(binary.rows[:1], raw_input_contents=[bytes(8 * MIB)])
    settings = replace(by_grpc, max_body_bytes=MIB)
    async with serving(settings) as server, channel_to(server) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await infer(channel)(request, compression=compression)
        assert raised.value.code() == Code.RESOURCE_EXHAUSTED
        await infer(channel)(raw(binary.rows[:1]))
        counted = await server.metrics()
    assert counted["trimtab_requests_total{code=200}"] == 1
    assert counted["trimtab_requests_total{code=413}"] == 1


async def test_a_message_that_holds_too_much(by_grpc: ServingSettings) -> None:
    async with serving(by_grpc) as server, channel_to(server) as channel:
        told = await refusal(infer(channel), b"\x2a\x00" * 4 * MIB)
        counted = await server.metrics()
    assert told == (
        Code.INVALID_ARGUMENT,
        "the message holds more than any request that is taken",
    )
    assert counted["trimtab_requests_total{code=413}"] == 1


async def streaming(channel: Any, parts: asyncio.Event) -> Any:
    """Begin a call whose message does not come before `parts`."""

    async def requests() -> Any:
        await parts.wait()
        yield b""

    return channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")(requests())


async def test_messages_that_do_not_come(by_grpc: ServingSettings) -> None:
    never = asyncio.Event()
    room = by_grpc.max_body_bytes
    settings = replace(by_grpc, receive_bytes=2 * room, receive_seconds=1.0)
    async with serving(settings) as server, channel_to(server) as channel:
        calls = [await streaming(channel, never) for _ in range(3)]
        told: list[tuple[grpc.StatusCode, str]] = []
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            told.append((raised.value.code(), raised.value.details() or ""))
        counted = await server.metrics()
    # Which of them the client sends first is its own affair.
    assert Counter(told) == {
        (Code.RESOURCE_EXHAUSTED, "too much is being received"): 1,
        (Code.DEADLINE_EXCEEDED, "the request did not arrive in time"): 2,
    }
    assert counted["trimtab_requests_total{code=503}"] == 1
    assert counted["trimtab_requests_total{code=408}"] == 2


async def test_a_call_without_a_message(by_grpc: ServingSettings) -> None:
    async with serving(by_grpc) as server, channel_to(server) as channel:

        async def nothing() -> Any:
            return
            yield

        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(nothing())
    assert (raised.value.code(), raised.value.details()) == (
        Code.INVALID_ARGUMENT,
        "the call has no message, or one that is too large",
    )


async def test_connections_are_bounded(by_grpc: ServingSettings, binary: Stored) -> None:
    settings = replace(by_grpc, max_connections=2)
    async with (
        serving(settings) as server,
        channel_to(server) as one,
        channel_to(server) as two,
        channel_to(server) as three,
    ):
        await infer(one)(raw(binary.rows[:1]))
        await infer(two)(raw(binary.rows[:1]))
        assert (await refusal(infer(three), raw(binary.rows[:1])))[0] == Code.UNAVAILABLE


async def test_connections_end_by_age_and_no_call_is_lost(
    by_grpc: ServingSettings, binary: Stored
) -> None:
    peers: set[str] = set()
    async with serving(replace(by_grpc, connection_seconds=0.3)) as server:
        service = server.server._grpc._service  # type: ignore[union-attr]
        received = service._received

        async def noting(context: Any) -> bytes:
            peers.add(context.peer())
            return await received(context)

        service._received = noting  # type: ignore[method-assign]
        async with channel_to(server) as channel:
            while len(peers) < 4:
                await infer(channel)(raw(binary.rows[:1]))


async def test_a_drain_answers_what_is_under_way_and_fails_nothing(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients know two servers, as they know the pods behind a name; one of them goes."""
    request = raw(binary.rows[:1])
    ended = asyncio.Event()
    codes: Counter[str] = Counter()
    async with serving(by_grpc) as old, serving(by_grpc) as new:
        ports = (old.server.grpc_port, new.server.grpc_port)
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)

        async def load() -> None:
            options = [
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.lb_policy_name", "round_robin"),
            ]
            async with grpc.aio.insecure_channel(target, options=options) as channel:
                while not ended.is_set():
                    try:
                        await infer(channel)(request, timeout=20)
                        codes["ok"] += 1
                    except grpc.aio.AioRpcError as error:
                        codes[str(error)] += 1

        async with channel_to(old) as slow:
            running = [asyncio.ensure_future(load()) for _ in range(4)]
            await until(lambda: codes["ok"] > 20)
            held = Held(old, monkeypatch)
            waiting = asyncio.ensure_future(infer(slow)(request))
            await until(lambda: held.calls > 0)
            drained = asyncio.ensure_future(old.server.drain())
            await until(lambda: not old.server.inference.is_ready)
            before = codes["ok"]
            asyncio.get_running_loop().call_later(0.6, held.goes.set)
            await drained
            assert (await waiting).outputs
            await until(lambda: codes["ok"] > before + 20)
            ended.set()
            await asyncio.gather(*running)
    assert set(codes) == {"ok"}


async def test_a_long_refusal_reaches_the_client(by_grpc: ServingSettings) -> None:
    request = typed(np.zeros((1, 4)), model_name="ü" * 4000)
    async with serving(by_grpc) as server, channel_to(server) as channel:
        code, details = await refusal(infer(channel), request)
        assert (code, details[:12]) == (Code.NOT_FOUND, "model 'üüüüü")
        long = typed(np.zeros((1, 4)), inputs=[{"name": "\U0001f600" * 3000}])
        code, details = await refusal(infer(channel), long)
        assert code == Code.INVALID_ARGUMENT
