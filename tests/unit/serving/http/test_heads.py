"""Heads, trailers and upgrades: what belongs to a request and what does not."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from time import time

import pytest
from tests.unit.serving.http.wire import PAGE, Wire, infer
from tests.unit.serving.loopback import serving
from tests.unit.serving.stored import Stored

from trimtab.serving.http.heads import MOST_KNOWN, PlainHeads, request_id_of, traceparent_of
from trimtab.serving.http.messages import Response
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


VERSIONS = {
    "0.9": (505, b"GET /v2 HTTP/0.9\r\nhost: a\r\n\r\n"),
    "before_0.9": (505, b"GET /v2\r\n\r\n"),
    "0.9_kept": (505, b"GET /v2 HTTP/0.9\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"),
    "2.0_kept": (505, b"GET /v2 HTTP/2.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"),
    "2.0_upgrade": (
        505,
        b"GET /v2 HTTP/2.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n",
    ),
    "1.2": (505, b"GET /v2 HTTP/1.2\r\nhost: a\r\n\r\n"),
    "2.0": (505, b"GET /v2 HTTP/2.0\r\nhost: a\r\n\r\n"),
    "3.0": (505, b"GET /v2 HTTP/3.0\r\nhost: a\r\n\r\n"),
    "prior_knowledge": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "1": (400, b"GET /v2 HTTP/1\r\nhost: a\r\n\r\n"),
    "1.10": (400, b"GET /v2 HTTP/1.10\r\nhost: a\r\n\r\n"),
    "lower": (400, b"GET /v2 http/1.1\r\nhost: a\r\n\r\n"),
    "ice": (400, b"GET /v2 ICE/1.0\r\nhost: a\r\n\r\n"),
}
CHUNKS = b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
FRAMINGS = {
    "gzip": (501, b"transfer-encoding: gzip\r\n\r\nabc"),
    "gzip_chunked": (501, b"transfer-encoding: gzip, chunked" + CHUNKS),
    "gzip_and_chunked": (501, b"transfer-encoding: gzip\r\ntransfer-encoding: chunked" + CHUNKS),
    "identity": (501, b"transfer-encoding: identity\r\n\r\nabc"),
    "prefixed": (501, b"transfer-encoding: xchunked" + CHUNKS),
    "with_parameter": (501, b"transfer-encoding: chunked;a=b" + CHUNKS),
    "chunked_twice": (400, b"transfer-encoding: chunked, chunked" + CHUNKS),
    "chunked_in_two": (
        400,
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked" + CHUNKS,
    ),
    "not_last": (400, b"transfer-encoding: chunked, gzip" + CHUNKS),
    "empty": (400, b"transfer-encoding: " + CHUNKS),
    "length_then_chunked": (400, b"content-length: 3\r\ntransfer-encoding: chunked" + CHUNKS),
    "chunked_then_length": (400, b"transfer-encoding: chunked\r\ncontent-length: 3" + CHUNKS),
    "identity_and_length": (400, b"transfer-encoding: identity\r\ncontent-length: 3\r\n\r\nabc"),
    "length_twice": (400, b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"),
    "other_length": (400, b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
    "list_of_lengths": (400, b"content-length: 3, 3\r\n\r\nabc"),
    "signed_length": (400, b"content-length: +3\r\n\r\nabc"),
    "negative_length": (400, b"content-length: -3\r\n\r\nabc"),
    "hex_length": (400, b"content-length: 0x3\r\n\r\nabc"),
    "empty_length": (400, b"content-length: \r\n\r\nabc"),
    "endless_length": (400, b"content-length: 99999999999999999999999\r\n\r\nabc"),
    "space_before_colon": (400, b"content-length : 3\r\n\r\nabc"),
    "folded": (400, b"a: 1\r\n content-length: 3\r\n\r\nabc"),
}


@pytest.mark.parametrize(("status", "sent"), VERSIONS.values(), ids=VERSIONS)
async def test_other_versions_are_refused(
    settings: ServingSettings, status: int, sent: bytes
) -> None:
    await is_refused(settings, status, sent)


@pytest.mark.parametrize(("status", "lines"), FRAMINGS.values(), ids=FRAMINGS)
async def test_a_body_that_may_end_elsewhere_is_refused(
    settings: ServingSettings, status: int, lines: bytes
) -> None:
    """Nothing behind it is taken for a request: another server in front might not see it so."""
    await is_refused(settings, status, POST + lines)


async def test_chunks_in_http_1_0_are_refused(settings: ServingSettings) -> None:
    sent = b"POST /v2/models/digits/infer HTTP/1.0\r\ntransfer-encoding: chunked" + CHUNKS
    await is_refused(settings, 400, sent)


async def is_refused(settings: ServingSettings, status: int, sent: bytes) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(sent + PAGE)
        got, headers, body = await wire.answer()
        assert (got, headers["connection"]) == (status, "close"), body
        assert "error" in json.loads(body)
        assert await wire.ended()
        assert (await client.front.get("/v2")).status_code == 200


async def test_chunked_may_be_written_in_capitals(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        await wire.send(chunked(body_of(binary), 50).replace(b": chunked", b": Chunked"))
        assert (await wire.answer())[0] == 200


async def test_answers_are_dated(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        wire = await Wire.to(client)
        began = int(time())
        for sent in (PAGE, infer(binary), b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n", b"no"):
            await wire.send(sent)
            _, headers, _ = await wire.answer()
            assert headers["date"].endswith(" gmt")
            assert began <= parsedate_to_datetime(headers["date"]).timestamp() <= time()
        assert (await client.back.get("/healthz")).headers["date"]


def test_the_date_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for now in (1_000_000_000.2, 1_000_000_000.9, 1_000_000_001.0, 1_000_000_000.5):
        monkeypatch.setattr("trimtab.serving.http.messages.time", lambda now=now: now)
        found.append(Response(200).head(close=False).partition(b"date: ")[2])
    assert found[0] == found[1] == b"Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n"
    assert found[3] == found[0]  # the clock was set back
    assert found[2] == b"Sun, 09 Sep 2001 01:46:41 GMT\r\n\r\n"


TRACE = b"0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"00-" + TRACE + b"-01", b"00-" + TRACE + b"-01"),
        (b"00-" + TRACE + b"-00", b"00-" + TRACE + b"-00"),
        (b"cc-" + TRACE + b"-01", b"00-" + TRACE + b"-01"),
        (b"cc-" + TRACE + b"-01-what-comes", b"00-" + TRACE + b"-01"),
        (b"00-" + TRACE + b"-01-more", b""),
        (b"cc-" + TRACE + b"-01.more", b""),
        (b"ff-" + TRACE + b"-01", b""),
        (b"00-" + TRACE.upper() + b"-01", b""),
        (b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b""),
        (b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01", b""),
        (b"00-" + TRACE + b"-1", b""),
        (b"00-" + TRACE, b""),
        (b"00-" + TRACE + b"-01, 00-" + TRACE + b"-01", b""),
        (b"", b""),
    ],
)
def test_a_traceparent_is_valid_or_not_there(sent: bytes, kept: bytes) -> None:
    assert traceparent_of(sent) == kept


def test_a_request_id_is_printable_and_not_long() -> None:
    assert request_id_of(b"e3b0-44#/=x") == b"e3b0-44#/=x"
    assert request_id_of(b"x" * 128) == b"x" * 128
    for bad in (b"x" * 129, b"", b"a b", b"a\tb", b"\xc3\xa4"):
        assert request_id_of(bad) == b""


async def test_what_names_a_request_names_its_answer(
    settings: ServingSettings, binary: Stored
) -> None:
    both = b"traceparent: 00-%b-01\r\nx-request-id: a-1\r\n" % TRACE
    bad = b"traceparent: 00-1-2-3\r\nx-request-id: a b\r\n"
    unknown = b"GET /none HTTP/1.1\r\nhost: a\r\n%b\r\n" % both
    long = POST + both + b"content-length: 99999999\r\n\r\n"
    async with serving(settings) as client:
        wire = await Wire.to(client)
        for sent, wanted in ((infer(binary, extra=both), 200), (unknown, 404), (long, 413)):
            await wire.send(sent)
            status, headers, _ = await wire.answer()
            assert status == wanted
            assert headers["traceparent"] == f"00-{TRACE.decode()}-01"
            assert headers["x-request-id"] == "a-1"
        wire = await Wire.to(client)
        for sent in (infer(binary, extra=bad), infer(binary)):
            await wire.send(sent)
            status, headers, _ = await wire.answer()
            assert status == 200
            assert not {"traceparent", "x-request-id"} & set(headers)


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
        PLAIN.replace(b"Host", b"Content-Encoding: gzip\r\nHost"),
        PLAIN.replace(b"Host", b"X-Request-Id: 1\r\nHost"),
        PLAIN.replace(b"Host", b"Traceparent: 1\r\nHost"),
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
