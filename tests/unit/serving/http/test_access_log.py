"""The access log: one line a request, what is in it and what never is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.serving.http.wire import PAGE, Wire, infer
from tests.unit.serving.loopback import serving
from tests.unit.serving.stored import Stored

from trimtab.serving.settings import AccessLog, ServingSettings

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMED = f"traceparent: {TRACE}\r\nx-request-id: a-1\r\n".encode()
UNKNOWN = b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n"


async def written(
    settings: ServingSettings,
    capsys: pytest.CaptureFixture[str],
    level: AccessLog,
    requests: list[bytes],
) -> list[dict[str, Any]]:
    async with serving(replace(settings, access_log=level)) as client:
        wire = await Wire.to(client)
        for request in requests:
            await wire.send(request)
            await wire.answer()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_line_has_what_was_asked_and_answered_and_no_content(
    settings: ServingSettings, binary: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await written(settings, capsys, "all", [infer(binary, 3), PAGE])
    assert [line["status"] for line in lines] == [200, 200]
    assert lines[0]["path"] == "/v2/models/digits/infer"
    assert lines[0]["rows"] == 3
    assert set(lines[0]) == {
        "time", "method", "path", "status", "seconds", "rows", "bytesIn", "bytesOut",
    }  # fmt: skip


async def test_a_line_can_be_found_by_what_its_caller_knows(
    settings: ServingSettings, binary: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = b"x-request-id: " + b"x" * 129 + b"\r\ntraceparent: 00-" + b"0" * 32 + b"-1\r\n"
    sent = [infer(binary, extra=NAMED), infer(binary, extra=bad)]
    named, unnamed = await written(settings, capsys, "all", sent)
    assert (named["requestId"], named["traceparent"]) == ("a-1", TRACE)
    assert not {"requestId", "traceparent"} & set(unnamed)


@pytest.mark.parametrize(("level", "statuses"), [("off", []), ("errors", [404])])
async def test_what_was_not_asked_for_is_not_written(
    settings: ServingSettings,
    capsys: pytest.CaptureFixture[str],
    level: AccessLog,
    statuses: list[int],
) -> None:
    lines = await written(settings, capsys, level, [PAGE, UNKNOWN])
    assert [line["status"] for line in lines] == statuses
