"""Notifications over HTTP: to receivers that misbehave, and by the whole operator."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.security.answers import make_certificate
from tests.unit.notify.messages import DASHBOARD, message
from tests.unit.reconcile.machine.engines import reached
from tests.unit.reconcile.notifying.boxes import Clock, sent, within
from tests.wiring.receiver import (
    MisbehavingReceiver,
    Misbehaviour,
    cut,
    endless_body,
    endless_greeting,
    endless_head,
    endless_interim,
    garbage,
    half_a_head,
    silent,
    status,
)

from trimtab.errors import Refused, RetryLater
from trimtab.notify.message import Telling
from trimtab.notify.post import Poster
from trimtab.notify.settings import Destination, DestinationType
from trimtab.reconcile.notifying.outbox import Outbox

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 30, 13, 0, tzinfo=UTC)
QUICK, PATIENT = 0.2, 60.0
"""Seconds within which a receiver has to answer: one that never does, and on a busy machine."""


@dataclass
class Line:
    """One destination, its receiver and its queue."""

    receiver: MisbehavingReceiver
    folder: Path
    type: DestinationType = "webhook"
    clock: Clock = field(default_factory=Clock)
    fields: dict[str, Any] = field(default_factory=dict)

    async def open(self) -> None:
        url = await self.receiver.open()
        self.write("url", f"{url}/hook?token=secret")
        values = {"name": "there", "type": self.type, "insecure": True, **self.fields}
        destination = Destination.model_validate(values)
        self.poster = Poster(destination, self.folder, now=lambda: NOW, within_seconds=PATIENT)
        self.outbox = Outbox(
            destination,
            self.poster.post,
            clock=self.clock,
            dashboard_url=DASHBOARD,
            chance=lambda: 0.0,
        )

    def write(self, kind: str, text: str) -> None:
        (self.folder / f"there.{kind}").write_text(text)

    def wait_for(self, seconds: float) -> None:
        self.poster._within = seconds

    async def post(self, **of: Any) -> None:
        await self.poster.post(Telling(message(**of), self.outbox.destination, DASHBOARD))

    async def close(self) -> None:
        await self.poster.close()
        await self.receiver.close()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    found = Line(MisbehavingReceiver(), tmp_path)
    await found.open()
    yield found
    await found.close()


async def test_a_receiver_can_verify_what_it_gets(line: Line) -> None:
    line.write("key", KEY + "\n")
    line.write("token", "bearer-token")
    await line.post()
    (got,) = line.receiver.got
    assert got.path == "/hook?token=secret"
    assert got.headers["authorization"] == "Bearer bearer-token"
    signed_text = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode()
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    wanted = hmac.new(key, signed_text + got.body, hashlib.sha256).digest()
    assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(wanted).decode()}"
    assert got.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert got.headers["webhook-id"] == got.json["id"] == "u-1-7"
    assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"


@pytest.mark.parametrize("kind", ["slack", "teams", "alertmanager"])
async def test_the_others_are_posted_as_json(tmp_path: Path, kind: DestinationType) -> None:
    line = Line(MisbehavingReceiver(), tmp_path, kind)
    await line.open()
    if kind == "alertmanager":
        line.write("url", (tmp_path / "there.url").read_text().partition("/hook")[0] + "/am/")
    await line.post()
    (got,) = line.receiver.got
    assert got.headers["content-type"] == "application/json"
    assert got.path == ("/am/api/v2/alerts" if kind == "alertmanager" else "/hook?token=secret")
    assert "webhook-signature" not in got.headers
    await line.close()


async def test_an_alert_that_waited_for_its_receiver_has_not_ended_when_it_comes(
    tmp_path: Path,
) -> None:
    line = Line(MisbehavingReceiver(), tmp_path, "alertmanager")
    await line.open()
    await line.post(reason="CommandRefused", at=NOW - timedelta(hours=2))
    ((alert,),) = (got.json for got in line.receiver.got)
    assert alert["startsAt"] == "2026-11-30T11:00:00+00:00"
    assert alert["endsAt"] == "2026-11-30T14:00:00+00:00"
    await line.close()


LATER: dict[str, Misbehaviour] = {
    "500": status(500),
    "503": status(503),
    "429": status(429),
    "403": status(403),
    "silent": silent,
    "cut": cut,
    "half_a_head": half_a_head,
    "garbage": garbage,
    "endless_head": endless_head,
    "endless_interim": endless_interim,
}

UNANSWERED = {"silent"}


@pytest.mark.parametrize("name", LATER)
async def test_a_receiver_that_misbehaves_is_asked_again_in_order_and_loses_nothing(
    line: Line, name: str
) -> None:
    line.receiver.answer = LATER[name]
    line.wait_for(QUICK if name in UNANSWERED else PATIENT)
    for seq in (1, 2, 3):
        line.outbox.add(message(seq=seq))
    await within(line.outbox, line.clock, 2.5)
    tried = line.receiver.ids()
    assert tried == ["u-1-1"] * 2 or (name in UNANSWERED and set(tried) <= {"u-1-1"})
    line.receiver.answer = status(200)
    line.wait_for(PATIENT)
    await within(line.outbox, line.clock, 60)
    assert line.receiver.ids()[len(tried) :] == ["u-1-1", "u-1-2", "u-1-3"]
    assert line.outbox.waiting() == []


@pytest.mark.parametrize("code", [300, 301, 302, 307, 400, 404, 410, 422])
async def test_what_may_be_for_good_is_refused_and_no_redirect_is_followed(
    line: Line, code: int
) -> None:
    line.receiver.answer = status(code, "location: http://169.254.169.254/latest/meta-data")
    with pytest.raises(Refused, match=str(code)):
        await line.post()
    assert len(line.receiver.got) == 1


async def test_an_endless_body_of_a_success_is_a_success_and_not_read(line: Line) -> None:
    line.receiver.answer = endless_body
    await line.post()
    assert line.receiver.sent_bytes < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Mon, 30 Nov 2026 13:02:00 GMT", 120.0),
        ("Mon, 30 Nov 2026 12:00:00 GMT", 0.0),
        ("99999999999999999999", 3600.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
async def test_retry_after(line: Line, said: str, seconds: float | None) -> None:
    line.receiver.answer = status(429, f"retry-after: {said}")
    with pytest.raises(RetryLater) as later:
        await line.post()
    assert later.value.after_seconds == seconds


@pytest.mark.parametrize("answer", [endless_interim, endless_head])
async def test_an_answer_without_an_end_is_read_for_a_few_kilobytes(
    line: Line, answer: Misbehaviour
) -> None:
    line.receiver.answer = answer
    with pytest.raises(RetryLater, match="no answer: ReadError"):
        await line.post()
    assert line.receiver.sent_bytes < 16 * 1024 * 1024


async def test_a_greeting_of_tls_without_an_end_is_read_for_a_few_kilobytes(line: Line) -> None:
    line.receiver.answer = endless_greeting
    line.write("url", f"https://127.0.0.1:{line.receiver._port}/hook")
    with pytest.raises(RetryLater, match="no answer: ConnectError"):
        await line.post()
    assert line.receiver.sent_bytes < 16 * 1024 * 1024


async def test_nobody_there_is_asked_again(line: Line) -> None:
    await line.receiver.close()
    with pytest.raises(RetryLater) as later:
        await line.post()
    assert "secret" not in str(later.value)
    await line.receiver.open()
    await line.post()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "https://",
        "//example.com",
        "https://user:secret@example.com/",
        "https://example.com/#secret",
        "https://exa mple.com/secret",
        "https://example.com:99999/secret",
        "https://" + "x" * 3000,
        "http://[::1",
        "https://a/\r\nx: secret",
        "https://xn--a/secret",
        "https://xn--/secret",
    ],
)
async def test_a_url_that_is_none_waits_until_it_is_mended(
    line: Line, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    line.write("url", url)
    with caplog.at_level(logging.DEBUG):
        line.outbox.add(message())
        await sent(line.outbox)
    assert "secret" not in caplog.text
    assert "bug" not in caplog.text
    assert len(line.outbox.waiting()) == 1


async def test_without_insecure_only_https_is_spoken(tmp_path: Path) -> None:
    line = Line(MisbehavingReceiver(), tmp_path, fields={"insecure": False})
    await line.open()
    with pytest.raises(RetryLater, match="must be a URL of https"):
        await line.post()
    assert line.receiver.got == []
    await line.close()


async def test_over_tls_only_who_is_trusted_gets_anything(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    line = Line(MisbehavingReceiver(tls=context), tmp_path, fields={"insecure": False})
    await line.open()
    with pytest.raises(RetryLater, match="no answer: ConnectError"):
        await line.post()
    assert line.receiver.got == []
    line.write("ca.crt", certificate.read_text())
    await line.post()
    assert len(line.receiver.got) == 1
    line.receiver.answer = endless_interim
    with pytest.raises(RetryLater, match="no answer: ReadError"):
        await line.post()
    await line.close()


async def test_secrets_are_read_anew_for_each_try(line: Line) -> None:
    (line.folder / "there.url").unlink()
    with pytest.raises(RetryLater, match=r"no there\.url"):
        await line.post()
    line.write("url", f"http://127.0.0.1:{line.receiver._port}/new")
    line.write("key", "not a key")
    with pytest.raises(RetryLater, match=r"there\.key"):
        await line.post()
    line.write("key", KEY)
    line.write("ca.crt", "not a certificate")
    with pytest.raises(RetryLater, match=r"there\.ca\.crt"):
        await line.post()
    (line.folder / "there.ca.crt").unlink()
    await line.post()
    assert [got.path for got in line.receiver.got] == ["/new"]


@pytest.mark.parametrize("mistaken", ["", "not a certificate"])
async def test_authorities_that_were_mistaken_and_are_taken_back_are_used_again(
    line: Line, mistaken: str
) -> None:
    await line.post()
    line.write("ca.crt", mistaken)
    with pytest.raises(RetryLater, match=r"there\.ca\.crt is no certificate in PEM"):
        await line.post()
    (line.folder / "there.ca.crt").unlink()
    await line.post()
    assert len(line.receiver.got) == 2


async def test_a_name_that_is_never_answered_keeps_no_thread_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, look_up, asked = threading.Event(), socket.getaddrinfo, []

    def hanging(host: Any, *of: Any, **named: Any) -> Any:
        if "dead" in str(host):
            asked.append(host)
            answered.wait()
        return look_up("127.0.0.1", *of, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as shared:
        loop.set_default_executor(shared)
        line = Line(MisbehavingReceiver(), tmp_path)
        await line.open()
        url = (tmp_path / "there.url").read_text()
        await line.post()
        line.write("url", url.replace("127.0.0.1", "dead.example.com"))
        trying = asyncio.create_task(line.post())
        await reached(lambda: bool(asked), 20)
        try:
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 20) == "free"
        finally:
            answered.set()
        await trying
        assert len(line.receiver.got) == 2
        await line.close()


async def test_the_next_address_of_a_name_is_tried(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(host: Any, port: int, **named: Any) -> Any:
        nobody = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
        there = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        return [nobody, nobody, there]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    await line.post()
    assert len(line.receiver.got) == 1


async def test_nothing_secret_is_logged(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.write("key", KEY)
    with caplog.at_level(logging.INFO, logger="trimtab"):
        for name, answer in (*LATER.items(), ("404", status(404)), ("200", status(200))):
            line.receiver.answer = answer
            line.wait_for(QUICK if name in UNANSWERED else PATIENT)
            line.outbox.add(message())
            await within(line.outbox, line.clock, 2.5)
    text = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("trimtab"))
    assert text
    assert "secret" not in text
    assert KEY[6:] not in text


async def test_one_that_is_slow_holds_up_no_other(tmp_path: Path) -> None:
    lines = []
    for name, answer in (("slow", silent), ("quick", status(200))):
        (tmp_path / name).mkdir()
        line = Line(MisbehavingReceiver(answer), tmp_path / name)
        await line.open()
        for seq in range(1, 21):
            line.outbox.add(message(seq=seq))
        lines.append(line)
    slow, quick = lines
    under_way = asyncio.create_task(slow.outbox.step())
    await sent(quick.outbox)
    assert not under_way.done()
    assert len(quick.receiver.got) == 20
    under_way.cancel()
    await asyncio.wait([under_way])
    assert len(slow.outbox.waiting()) == 20
    for line in lines:
        await line.close()
