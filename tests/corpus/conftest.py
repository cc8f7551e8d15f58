"""The models of the serving tests, and a program that can be started often."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.corpus.ground import Ground
from tests.corpus.sent import MAX_BODY_BYTES, MAX_ROWS
from tests.unit.serving.conftest import binary, regression, settings, table
from tests.unit.serving.stored import KEY, Stored

from trimtab.serving.lifecycle import Server
from trimtab.serving.settings import ServingSettings

__all__ = ["binary", "regression", "settings", "table"]


@dataclass(frozen=True)
class Field:
    """Two servers on one ground: one takes a vector, the other a table."""

    ground: Ground
    vector: Server
    table: Server


Start = Callable[[dict[str, str]], dict[str, Any]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start the serving program with an environment; return its exit code and log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.corpus.starter"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    write, read = process.stdin, process.stdout

    def once(environment: dict[str, str]) -> dict[str, Any]:
        write.write(json.dumps(environment) + "\n")
        write.flush()
        found: dict[str, Any] = json.loads(read.readline())
        return found

    with process:
        yield once
        write.close()


@pytest.fixture(scope="module")
def field(
    binary: Stored, table: Stored, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("field")
    key = folder / "key"
    key.write_bytes(KEY)
    ground = Ground()
    try:
        yield Field(
            ground,
            ground.start(_settings(binary, folder, key)),
            ground.start(_settings(table, folder, key)),
        )
    finally:
        ground.close()


@pytest.fixture(scope="module")
def hasty(binary: Stored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """A server that waits half a second for a request."""
    folder = tmp_path_factory.mktemp("hasty")
    key = folder / "key"
    key.write_bytes(KEY)
    ground = Ground()
    try:
        server = ground.start(replace(_settings(binary, folder, key), receive_seconds=0.5))
        yield Field(ground, server, server)
    finally:
        ground.close()


def _settings(stored: Stored, folder: Path, key: Path) -> ServingSettings:
    return ServingSettings(
        model="digits",
        version="v1",
        artifact_uri=stored.uri,
        artifact_digest=stored.digest,
        scratch=folder,
        host="127.0.0.1",
        inference_port=0,
        metrics_port=0,
        token_key_file=key,
        max_body_bytes=MAX_BODY_BYTES,
        max_rows=MAX_ROWS,
        connection_seconds=600.0,
    )
