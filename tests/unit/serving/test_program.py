"""The program as a container starts it: its logs, its exit codes and its last message."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import httpx
import pytest
from tests.unit.serving.loopback import program_environment, vector
from tests.unit.serving.stored import Stored

from trimtab.serving.settings import ServingSettings


async def started(settings: ServingSettings, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trimtab.serving",
        env=program_environment(settings, TRIMTAB_ACCESS_LOG="all", **more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_program_serves_and_ends_on_sigterm(
    settings: ServingSettings, binary: Stored
) -> None:
    process = await started(settings)
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            lines: dict[str, Any] = {}
            while "ready" not in lines:
                line = json.loads(await process.stderr.readline())
                lines[line["message"].partition(":")[0]] = line
        port = int(lines["listening"]["message"].rpartition(" ")[2])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            answer = await http.post(
                "/v2/models/digits/infer", json={"inputs": vector(binary.rows[:3])}
            )
            assert answer.status_code == 200
            process.send_signal(signal.SIGTERM)
            logged = json.loads(await process.stdout.readline())
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert (logged["path"], logged["status"], logged["rows"]) == ("/v2/models/digits/infer", 200, 3)
    assert not settings.termination_log.exists()


@pytest.mark.parametrize(
    ("more", "code", "reason"),
    [
        ({"TRIMTAB_ARTIFACT_DIGEST": "sha256:" + "0" * 64}, 3, "DigestMismatch"),
        ({"TRIMTAB_MODEL": ""}, 2, "SettingsInvalid"),
    ],
    ids=["digest", "settings"],
)
async def test_the_program_says_why_it_refuses(
    settings: ServingSettings, more: dict[str, str], code: int, reason: str
) -> None:
    process = await started(settings, **more)
    async with asyncio.timeout(30):
        _, log = await process.communicate()
    assert process.returncode == code
    assert json.loads(settings.termination_log.read_bytes())["reason"] == reason
    assert reason in log.decode()
