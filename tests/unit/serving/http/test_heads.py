"""Heads, trailers and upgrades: what belongs to a request and what does not."""

from __future__ import annotations

import json

import pytest
from tests.unit.serving.http.wire import PAGE, Wire, infer
from tests.unit.serving.loopback import serving
from tests.unit.serving.stored import Stored

from trimtab.serving.http.heads import MOST_KNOWN, PlainHeads
from trimtab.serving.settings import ServingSettings

POST = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\n"
UPGRADE = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"


def chunked(body: bytes, size: int, extra: bytes = b"", trailers: bytes = b"") -> bytes:
    """Return a request whose body comes in chunks of `size` bytes."""
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = POST + extra + b"transfer-encoding: chunked\r\n\r\n"
    return head + framed + b"0\r\n" + trailers + b"\r\n"


def body_of(stored: Stored) -> bytes:
    return infer(stored).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("pieces", [1, 2, 1000], ids=["at_once", "head_first", "by_bytes"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
async def test_a_request_that_asks_to_upgrade_keeps_its_body(
    settings: ServingSettings, binary: Stored, pieces: int, is_chunked: bool
) -> None:
    """The Java client asks for h2c with each request; a server that has none ignores it."""
    plain = infer(binary, extra=UPGRADE)
    request = chunked(body_of(binary), 20, UPGRADE) if is_chunked else plain
    head, _, rest = request.partition(b"\r\n\r\n")
    sent = [request]
    if pieces == 2:
        sent = [head + b"\r\n\r\n", rest]
    elif pieces > 2:
        sent = [bytes([byte]) for byte in request]
    async with serving(settings) as client:
        wire = await Wire.to(client)
        for _ in range(3):
            await wire.send(*sent)
            status, _, body = await wire.answer()
            assert (status, json.loads(body)["outputs"][0]["shape"]) == (200, [1])
        await wire.send(PAGE)
        assert (await wire.answer())[0] == 200


async def test_upgrades_may_be_pipelined(settings: ServingSettings, binary: Stored) -> None:
    page = PAGE.replace(b"\r\n\r\n", b"\r\n" + UPGRADE + b"\r\n")
    one = page + infer(binary, 2, UPGRADE) + PAGE + chunked(body_of(binary), 7, UPGRADE)
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(one * 50)
        for place in range(200):
            status, _, body = await wire.answer()
            assert status == 200, (place, body)
            assert ("outputs" in json.loads(body)) == (place % 4 in (1, 3))


async def test_a_long_body_with_upgrade_is_refused_and_read_to_its_end(
    settings: ServingSettings,
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(POST + UPGRADE + b"content-length: 99999999\r\n\r\n", b"x" * 100_000)
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert await wire.ended()


async def test_trailers_are_read_over_and_change_nothing(
    settings: ServingSettings, binary: Stored
) -> None:
    trailers = b"content-type: text/plain\r\ncontent-encoding: gzip\r\nhost: b, c\r\nt: 1\r\n"
    async with serving(settings) as client:
        wire = await Wire.to(client)
        for _ in range(2):
            await wire.send(chunked(body_of(binary), 50, trailers=trailers))
            assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    "part",
    [b"".join(b"t%d: %b\r\n" % (i, b"v" * 1000) for i in range(100)), b"t: " + b"v" * 100_000],
    ids=["many", "one"],
)
async def test_trailers_are_bounded(settings: ServingSettings, binary: Stored, part: bytes) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(chunked(body_of(binary), 50)[:-2], *([part] * 8))
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert await wire.ended()


async def test_many_small_requests_in_one_burst_are_no_long_head(settings: ServingSettings) -> None:
    burst = PAGE * 20_000  # far more than a head may have, cut somewhere in a head
    async with serving(settings) as client:
        wire = await Wire.to(client)
        wire.writer.write(burst)
        for _ in range(20_000):
            assert (await wire.answer())[0] == 200


async def test_a_long_head_is_refused_even_when_it_comes_at_once(settings: ServingSettings) -> None:
    lines = b"".join(b"h%d: %b\r\n" % (i, b"v" * 1000) for i in range(100))
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(PAGE[:-2] + lines + b"\r\n")
        assert (await wire.answer())[0] == 431


async def test_a_body_may_come_in_tiny_chunks(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(chunked(body_of(binary), 1), chunked(body_of(binary), 2))
        assert [(await wire.answer())[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("sent", "status", "named"),
    [
        (b"GET http://a/v2?x=1 HTTP/1.1\r\nhost: a\r\n\r\n", 200, "name"),
        (b"GET HTTPS://a:8080/v2 HTTP/1.1\r\nhost: a\r\n\r\n", 200, "name"),
        (b"GET http://a HTTP/1.1\r\nhost: a\r\n\r\n", 404, "no such path: /"),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400, "host: is missing"),
        (b"GET /v2 HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400, "host: is not one host"),
        (b"GET /v2 HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "host: is not one host"),
        (b"GET /v2 HTTP/1.1\r\nhost: a/b\r\n\r\n", 400, "host: is not one host"),
        (b"GET /v2 HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n", 200, "name"),
        (b"GET /v2 HTTP/1.1\r\nhost:\r\n\r\n", 200, "name"),
        (b"GET /v2 HTTP/1.0\r\n\r\n", 200, "name"),
        (b"GET /v2 HTTP/1.1\r\nhost: a\r\nexpect: tea\r\n\r\n", 417, "expect"),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\nxx", 404, "no such path"),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404, "no such path: *"),
    ],
)
async def test_targets_and_hosts(
    settings: ServingSettings, sent: bytes, status: int, named: str
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(sent)
        got, _, body = await wire.answer()
    assert got == status, body
    assert named in body.decode()


async def test_a_header_that_is_given_twice_counts_twice(
    settings: ServingSettings, binary: Stored
) -> None:
    twice = b"content-type: application/json\r\n" * 2
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(infer(binary, extra=twice))
        status, _, body = await wire.answer()
    assert status == 415
    assert "application/json, application/json" in json.loads(body)["error"]


PLAIN = (
    b"POST /a HTTP/1.1\r\nHost: b:80\r\nContent-Type: application/json\r\n"
    b"Content-Length: 3\r\n\r\n{ }"
)


def test_a_plain_request_is_known_by_its_head() -> None:
    heads = PlainHeads(("/a",))
    for data in (PLAIN, PLAIN, PLAIN.lower().replace(b"post", b"POST").replace(b"http/", b"HTTP/")):
        assert heads.size(data) == 3
    assert heads.size(PLAIN.replace(b": 3", b": 12") + b"123456789") == 12
    assert heads.size(PLAIN.replace(b"Host", b"Connection: keep-alive\r\nHost")) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        PLAIN + b"x",
        PLAIN + PLAIN,
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"/a", b"/b"),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b": 3", b": +3"),
        PLAIN.replace(b": 3", b":3"),
        PLAIN.replace(b": 3", b": 3\r\nContent-Length: 3"),
        PLAIN.replace(b": 3", b": 3\r\ncontent-length:4"),
        PLAIN.replace(b"Content-Length: 3", b"X-Length: 3\r\nContent-Length: 4"),
        PLAIN.replace(b"Content-Length", b"X-Content-Length"),
        PLAIN.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        PLAIN.replace(b"Host", b"A: b\nTransfer-Encoding : chunked\r\nHost"),
        PLAIN.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        PLAIN.replace(b"Host", b"Upgrade: h2c\r\nHost"),
        PLAIN.replace(b"Host", b"Connection: close\r\nHost"),
        PLAIN.replace(b"Host", b"Connection: keep-alive, close\r\nHost"),
        PLAIN.replace(b"Host", b"A: b\nC: d\r\nHost"),
        PLAIN.replace(b"Host", b"A: b\rC: d\r\nHost"),
        PLAIN.replace(b"Host", b"A: b\r\n c\r\nHost"),
        PLAIN.replace(b"Host", b"A: \0\r\nHost"),
        PLAIN.replace(b"Host", b"Host: c\r\nHost"),
        PLAIN.replace(b"Host: b:80\r\n", b""),
        PLAIN.replace(b"b:80", b"b c"),
        PLAIN.replace(b"Host", b"A: " + bytes(5000).replace(b"\0", b"a") + b"\r\nHost"),
    ],
)
def test_all_else_is_for_the_parser(data: bytes) -> None:
    heads = PlainHeads(("/a",))
    assert heads.size(PLAIN) == 3
    assert heads.size(data) == -1


def test_few_heads_are_remembered() -> None:
    heads = PlainHeads(("/a",))
    for number in range(3 * MOST_KNOWN):
        assert heads.size(PLAIN.replace(b"Host", b"A: %d\r\nHost" % number)) == 3
        assert len(heads._known) <= MOST_KNOWN
